"""ALBERT for JAX, on Flax NNX."""

from albert_core.backends import require

require("flax")

from albert_core.config import AlbertConfig, AutoConfig
from albert_core.errors import *
from albert_core.outputs import (
    AlbertForPreTrainingOutput as FlaxAlbertForPreTrainingOutput,
    BaseModelOutputWithPooling as FlaxBaseModelOutputWithPooling,
    MaskedLMOutput as FlaxMaskedLMOutput,
    MultipleChoiceModelOutput as FlaxMultipleChoiceModelOutput,
    QuestionAnsweringModelOutput as FlaxQuestionAnsweringModelOutput,
    SequenceClassifierOutput as FlaxSequenceClassifierOutput,
    TokenClassifierOutput as FlaxTokenClassifierOutput,
)
from albert_core.pipelines import pipeline_for
from albert_core.tokenizer import (
    AddedToken,
    AlbertTokenizer,
    AlbertTokenizerFast,
    AutoTokenizer,
    BatchEncoding,
    WordPieceTokenizer,
)
from albert_flax.base import FlaxAlbertPreTrainedModel
from albert_flax.models import (
    FlaxAlbertForMaskedLM,
    FlaxAlbertForMultipleChoice,
    FlaxAlbertForPreTraining,
    FlaxAlbertForQuestionAnswering,
    FlaxAlbertForSequenceClassification,
    FlaxAlbertForTokenClassification,
    FlaxAlbertModel,
)

# By checkpoint, as code written for transformers says it: there is one architecture here.
FlaxAutoModel = FlaxAlbertModel
FlaxAutoModelForPreTraining = FlaxAlbertForPreTraining
FlaxAutoModelForMaskedLM = FlaxAlbertForMaskedLM
FlaxAutoModelForSequenceClassification = FlaxAlbertForSequenceClassification
FlaxAutoModelForMultipleChoice = FlaxAlbertForMultipleChoice
FlaxAutoModelForTokenClassification = FlaxAlbertForTokenClassification
FlaxAutoModelForQuestionAnswering = FlaxAlbertForQuestionAnswering
pipeline = pipeline_for("flax")
