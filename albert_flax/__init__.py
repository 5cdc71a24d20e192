"""ALBERT for JAX, in Flax NNX."""

from albert_core.backends import require

require("flax")

from albert_core.config import AlbertConfig as AlbertConfig  # noqa: E402
from albert_core.config import AutoConfig as AutoConfig  # noqa: E402
from albert_core.errors import *  # noqa: E402, F403
from albert_core.outputs import AlbertForPreTrainingOutput as FlaxAlbertForPreTrainingOutput  # noqa: E402
from albert_core.outputs import BaseModelOutputWithPooling as FlaxBaseModelOutputWithPooling  # noqa: E402
from albert_core.outputs import MaskedLMOutput as FlaxMaskedLMOutput  # noqa: E402
from albert_core.tokenizer import AlbertTokenizer as AlbertTokenizer  # noqa: E402
from albert_core.tokenizer import AlbertTokenizerFast as AlbertTokenizerFast  # noqa: E402
from albert_core.tokenizer import AutoTokenizer as AutoTokenizer  # noqa: E402
from albert_flax.base import FlaxAlbertPreTrainedModel as FlaxAlbertPreTrainedModel  # noqa: E402
from albert_flax.models import FlaxAlbertForMaskedLM as FlaxAlbertForMaskedLM  # noqa: E402
from albert_flax.models import FlaxAlbertForPreTraining as FlaxAlbertForPreTraining  # noqa: E402
from albert_flax.models import FlaxAlbertModel as FlaxAlbertModel  # noqa: E402

# By checkpoint, as code written for transformers says it: there is one architecture here.
FlaxAutoModel = FlaxAlbertModel
FlaxAutoModelForMaskedLM = FlaxAlbertForMaskedLM
FlaxAutoModelForPreTraining = FlaxAlbertForPreTraining
