"""ALBERT for TensorFlow, in Keras 3; with Keras set to its JAX backend the same classes run there."""

from albert_core.backends import require

require("tf")

from albert_core.config import AlbertConfig as AlbertConfig  # noqa: E402
from albert_core.config import AutoConfig as AutoConfig  # noqa: E402
from albert_core.errors import *  # noqa: E402, F403
from albert_core.outputs import AlbertForPreTrainingOutput as TFAlbertForPreTrainingOutput  # noqa: E402
from albert_core.outputs import BaseModelOutputWithPooling as TFBaseModelOutputWithPooling  # noqa: E402
from albert_core.outputs import MaskedLMOutput as TFMaskedLMOutput  # noqa: E402
from albert_core.tokenizer import AlbertTokenizer as AlbertTokenizer  # noqa: E402
from albert_core.tokenizer import AlbertTokenizerFast as AlbertTokenizerFast  # noqa: E402
from albert_core.tokenizer import AutoTokenizer as AutoTokenizer  # noqa: E402
from albert_tf.base import TFAlbertPreTrainedModel as TFAlbertPreTrainedModel  # noqa: E402
from albert_tf.models import TFAlbertForMaskedLM as TFAlbertForMaskedLM  # noqa: E402
from albert_tf.models import TFAlbertForPreTraining as TFAlbertForPreTraining  # noqa: E402
from albert_tf.models import TFAlbertModel as TFAlbertModel  # noqa: E402

# By checkpoint, as code written for transformers says it: there is one architecture here.
TFAutoModel = TFAlbertModel
TFAutoModelForMaskedLM = TFAlbertForMaskedLM
TFAutoModelForPreTraining = TFAlbertForPreTraining
