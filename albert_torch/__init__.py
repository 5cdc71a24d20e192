"""ALBERT for PyTorch."""

from albert_core.backends import require

require("torch")

from albert_core.config import AlbertConfig as AlbertConfig  # noqa: E402
from albert_core.config import AutoConfig as AutoConfig  # noqa: E402
from albert_core.errors import *  # noqa: E402, F403
from albert_core.outputs import AlbertForPreTrainingOutput as AlbertForPreTrainingOutput  # noqa: E402
from albert_core.outputs import BaseModelOutputWithPooling as BaseModelOutputWithPooling  # noqa: E402
from albert_core.outputs import MaskedLMOutput as MaskedLMOutput  # noqa: E402
from albert_core.tokenizer import AlbertTokenizer as AlbertTokenizer  # noqa: E402
from albert_core.tokenizer import AlbertTokenizerFast as AlbertTokenizerFast  # noqa: E402
from albert_core.tokenizer import AutoTokenizer as AutoTokenizer  # noqa: E402
from albert_torch.base import AlbertPreTrainedModel as AlbertPreTrainedModel  # noqa: E402
from albert_torch.models import AlbertForMaskedLM as AlbertForMaskedLM  # noqa: E402
from albert_torch.models import AlbertForPreTraining as AlbertForPreTraining  # noqa: E402
from albert_torch.models import AlbertModel as AlbertModel  # noqa: E402

# By checkpoint, as code written for transformers says it: there is one architecture here.
AutoModel = AlbertModel
AutoModelForMaskedLM = AlbertForMaskedLM
AutoModelForPreTraining = AlbertForPreTraining
from albert_core.pipelines import pipeline_for  # noqa: E402

pipeline = pipeline_for("torch")
from albert_torch import training as training  # noqa: E402
