"""ALBERT for JAX, on Flax NNX."""

from albert_core.backends import require

require("flax")

from albert_core.config import AlbertConfig, AutoConfig
from albert_core.errors import *
from albert_core.outputs import (
    AlbertForPreTrainingOutput as FlaxAlbertForPreTrainingOutput,
)
from albert_core.outputs import (
    BaseModelOutputWithPooling as FlaxBaseModelOutputWithPooling,
)
from albert_core.outputs import (
    MaskedLMOutput as FlaxMaskedLMOutput,
)
from albert_core.pipelines import pipeline_for
from albert_core.tokenizer import AlbertTokenizer, AlbertTokenizerFast, AutoTokenizer, BatchEncoding
from albert_flax.base import FlaxAlbertPreTrainedModel
from albert_flax.models import FlaxAlbertForMaskedLM, FlaxAlbertForPreTraining, FlaxAlbertModel

# By checkpoint, as code written for transformers says it: there is one architecture here.
FlaxAutoModel = FlaxAlbertModel
FlaxAutoModelForMaskedLM = FlaxAlbertForMaskedLM
FlaxAutoModelForPreTraining = FlaxAlbertForPreTraining
pipeline = pipeline_for("flax")
