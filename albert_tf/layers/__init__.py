"""The building blocks of ALBERT in Keras; what each computes stands in `albert_core.reference`.

Written in `keras.ops`, so that the same classes run on every Keras backend. Reading order: modules, masks, embeddings,
attention, transformer, heads.
"""

from albert_tf.layers.attention import gathered
from albert_tf.layers.embeddings import AlbertEmbeddings
from albert_tf.layers.heads import AlbertMLMHead, AlbertSOPHead
from albert_tf.layers.masks import attention_bias, head_mask_rows
from albert_tf.layers.modules import dense
from albert_tf.layers.transformer import AlbertTransformer

__all__ = [
    "AlbertEmbeddings",
    "AlbertMLMHead",
    "AlbertSOPHead",
    "AlbertTransformer",
    "attention_bias",
    "dense",
    "gathered",
    "head_mask_rows",
]
