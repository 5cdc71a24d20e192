"""ALBERT for PyTorch."""

from albert_core.backends import require

require("torch")

from albert_core.config import AlbertConfig, AutoConfig
from albert_core.errors import *
from albert_core.outputs import AlbertForPreTrainingOutput, BaseModelOutputWithPooling, MaskedLMOutput
from albert_core.pipelines import pipeline_for
from albert_core.tokenizer import AlbertTokenizer, AlbertTokenizerFast, AutoTokenizer, BatchEncoding
from albert_torch.base import AlbertPreTrainedModel
from albert_torch.models import AlbertForMaskedLM, AlbertForPreTraining, AlbertModel

# By checkpoint, as code written for transformers says it: there is one architecture here.
AutoModel = AlbertModel
AutoModelForMaskedLM = AlbertForMaskedLM
AutoModelForPreTraining = AlbertForPreTraining
pipeline = pipeline_for("torch")
