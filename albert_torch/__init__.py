"""ALBERT for PyTorch."""

from albert_core.backends import require

require("torch")

from albert_core.config import AlbertConfig, AutoConfig
from albert_core.errors import *
from albert_core.outputs import (
    AlbertForPreTrainingOutput,
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
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
from albert_torch.base import AlbertPreTrainedModel
from albert_torch.models import (
    AlbertForMaskedLM,
    AlbertForMultipleChoice,
    AlbertForPreTraining,
    AlbertForQuestionAnswering,
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
    AlbertModel,
)

# By checkpoint, as code written for transformers says it: there is one architecture here.
AutoModel = AlbertModel
AutoModelForPreTraining = AlbertForPreTraining
AutoModelForMaskedLM = AlbertForMaskedLM
AutoModelForSequenceClassification = AlbertForSequenceClassification
AutoModelForMultipleChoice = AlbertForMultipleChoice
AutoModelForTokenClassification = AlbertForTokenClassification
AutoModelForQuestionAnswering = AlbertForQuestionAnswering
pipeline = pipeline_for("torch")
