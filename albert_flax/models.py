"""The model and its heads. Documentation, inputs and outputs come from `albert_core.heads`."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx

from albert_core import heads
from albert_core.config import AlbertConfig
from albert_core.outputs import AlbertForPreTrainingOutput, BaseModelOutputWithPooling, MaskedLMOutput
from albert_core.signature import Inputs
from albert_flax.base import FlaxAlbertPreTrainedModel
from albert_flax.layers import (
    AlbertEmbeddings,
    AlbertMLMHead,
    AlbertSOPHead,
    AlbertTransformer,
    attention_bias,
    head_mask_rows,
    linear,
)
from albert_flax.losses import cross_entropy


class FlaxAlbertModel(heads.Model, FlaxAlbertPreTrainedModel):
    def __init__(
        self,
        config: AlbertConfig,
        *,
        rngs: nnx.Rngs | None = None,
        dtype: Any = None,
        param_dtype: Any = None,
        add_pooling_layer: bool = True,
        attn_implementation: str | None = None,
    ) -> None:
        super().__init__(config, dtype, param_dtype, attn_implementation)
        how = self._how(rngs)
        self.embeddings = AlbertEmbeddings(config, **how)
        self.encoder = AlbertTransformer(config, **how)
        self.pooler = linear(config.hidden_size, config.hidden_size, **how) if add_pooling_layer else None
        self.init_weights(how["rngs"])

    def compute(self, inputs: Inputs) -> BaseModelOutputWithPooling:
        x = self.embeddings(inputs)  # [B, S, E]
        bias = attention_bias(inputs.attention_mask, x.dtype)
        rows = head_mask_rows(self.config, inputs.head_mask, x.dtype)
        fused = self.attn_implementation == "sdpa" and not inputs.output_attentions
        wanted = (inputs.output_hidden_states, inputs.output_attentions)
        x, hidden_states, attentions = self.encoder(x, bias, rows, fused, *wanted)
        return BaseModelOutputWithPooling(
            last_hidden_state=x,
            pooler_output=None if self.pooler is None else jnp.tanh(self.pooler(x[:, 0])),  # [B, H]
            hidden_states=hidden_states,
            attentions=attentions,
        )


class FlaxAlbertForPreTraining(heads.ForPreTraining, FlaxAlbertPreTrainedModel):
    def __init__(
        self,
        config: AlbertConfig,
        *,
        rngs: nnx.Rngs | None = None,
        dtype: Any = None,
        param_dtype: Any = None,
        attn_implementation: str | None = None,
    ) -> None:
        super().__init__(config, dtype, param_dtype, attn_implementation)
        how = self._how(rngs)
        self.albert = FlaxAlbertModel(config, attn_implementation=attn_implementation, **how)
        self.predictions = AlbertMLMHead(config, **how)
        self.sop_classifier = AlbertSOPHead(config, **how)
        self.init_weights(how["rngs"], self.parts)

    def compute(self, inputs: Inputs) -> AlbertForPreTrainingOutput:
        encoded = self.albert(**inputs.for_encoder())
        words = self.get_input_embeddings().embedding[...]
        logits = self.predictions(encoded.last_hidden_state, words, inputs.masked_positions)
        order = self.sop_classifier(encoded.pooler_output)
        masked, swapped = cross_entropy(logits, inputs.labels), cross_entropy(order, inputs.sentence_order_label)
        loss = None if masked is None or swapped is None else masked + swapped
        return AlbertForPreTrainingOutput(loss, logits, order, encoded.hidden_states, encoded.attentions)


class FlaxAlbertForMaskedLM(heads.ForMaskedLM, FlaxAlbertPreTrainedModel):
    def __init__(
        self,
        config: AlbertConfig,
        *,
        rngs: nnx.Rngs | None = None,
        dtype: Any = None,
        param_dtype: Any = None,
        attn_implementation: str | None = None,
    ) -> None:
        super().__init__(config, dtype, param_dtype, attn_implementation)
        how = self._how(rngs)
        self.albert = FlaxAlbertModel(config, add_pooling_layer=False, attn_implementation=attn_implementation, **how)
        self.predictions = AlbertMLMHead(config, **how)
        self.init_weights(how["rngs"], self.parts)

    def compute(self, inputs: Inputs) -> MaskedLMOutput:
        encoded = self.albert(**inputs.for_encoder())
        words = self.get_input_embeddings().embedding[...]
        logits = self.predictions(encoded.last_hidden_state, words, inputs.masked_positions)
        loss = cross_entropy(logits, inputs.labels)
        return MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)
