"""The building blocks of ALBERT in torch; what each computes stands in `albert_core.reference`.

Reading order: modules, masks, embeddings, attention, transformer, heads.
"""

from albert_torch.layers.attention import gathered
from albert_torch.layers.embeddings import AlbertEmbeddings
from albert_torch.layers.heads import AlbertMLMHead, AlbertSOPHead
from albert_torch.layers.masks import attention_bias, head_mask_rows, known, loses_gradients, loses_time
from albert_torch.layers.transformer import AlbertTransformer

__all__ = [
    "AlbertEmbeddings",
    "AlbertMLMHead",
    "AlbertSOPHead",
    "AlbertTransformer",
    "attention_bias",
    "gathered",
    "head_mask_rows",
    "known",
    "loses_gradients",
    "loses_time",
]
