"""ALBERT for TensorFlow, on Keras 3."""

from albert_core.backends import require

require("tf")

from albert_core.config import AlbertConfig, AutoConfig
from albert_core.errors import *
from albert_core.outputs import (
    AlbertForPreTrainingOutput as TFAlbertForPreTrainingOutput,
    BaseModelOutputWithPooling as TFBaseModelOutputWithPooling,
    MaskedLMOutput as TFMaskedLMOutput,
    MultipleChoiceModelOutput as TFMultipleChoiceModelOutput,
    QuestionAnsweringModelOutput as TFQuestionAnsweringModelOutput,
    SequenceClassifierOutput as TFSequenceClassifierOutput,
    TokenClassifierOutput as TFTokenClassifierOutput,
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
from albert_tf import optim  # a `.keras` file of a compiled model names its optimizer
from albert_tf.base import TFAlbertPreTrainedModel
from albert_tf.models import (
    TFAlbertForMaskedLM,
    TFAlbertForMultipleChoice,
    TFAlbertForPreTraining,
    TFAlbertForQuestionAnswering,
    TFAlbertForSequenceClassification,
    TFAlbertForTokenClassification,
    TFAlbertModel,
)

# By checkpoint, as code written for transformers says it: there is one architecture here.
TFAutoModel = TFAlbertModel
TFAutoModelForPreTraining = TFAlbertForPreTraining
TFAutoModelForMaskedLM = TFAlbertForMaskedLM
TFAutoModelForSequenceClassification = TFAlbertForSequenceClassification
TFAutoModelForMultipleChoice = TFAlbertForMultipleChoice
TFAutoModelForTokenClassification = TFAlbertForTokenClassification
TFAutoModelForQuestionAnswering = TFAlbertForQuestionAnswering
pipeline = pipeline_for("tf")
