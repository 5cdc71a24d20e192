"""The building blocks of ALBERT in JAX; what each computes stands in `albert_core.reference`.

Reading order: modules, masks, embeddings, attention, transformer, heads. `how` stands for what every layer of nnx is
built with: rngs, dtype (computed in) and param_dtype (stored in).
"""

from albert_flax.layers.attention import gathered
from albert_flax.layers.embeddings import AlbertEmbeddings
from albert_flax.layers.heads import AlbertMLMHead, AlbertSOPHead
from albert_flax.layers.masks import attention_bias, head_mask_rows
from albert_flax.layers.modules import linear
from albert_flax.layers.transformer import AlbertTransformer

__all__ = [
    "AlbertEmbeddings",
    "AlbertMLMHead",
    "AlbertSOPHead",
    "AlbertTransformer",
    "attention_bias",
    "gathered",
    "head_mask_rows",
    "linear",
]
