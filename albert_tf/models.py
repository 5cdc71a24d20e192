"""The model and its heads. Documentation, inputs and outputs come from `albert_core.heads`."""

from __future__ import annotations

from typing import Any

from keras import ops

from albert_core import heads
from albert_core.config import AlbertConfig
from albert_core.outputs import AlbertForPreTrainingOutput, BaseModelOutputWithPooling, MaskedLMOutput
from albert_core.signature import Inputs
from albert_tf.base import TFAlbertPreTrainedModel
from albert_tf.layers import (
    AlbertEmbeddings,
    AlbertMLMHead,
    AlbertSOPHead,
    AlbertTransformer,
    attention_bias,
    dense,
    head_mask_rows,
)
from albert_tf.losses import cross_entropy


class TFAlbertModel(heads.Model, TFAlbertPreTrainedModel):
    def __init__(
        self,
        config: AlbertConfig,
        add_pooling_layer: bool = True,
        attn_implementation: str | None = None,
        dtype: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(config, attn_implementation, dtype, name)
        policy, width = self.dtype_policy, config.hidden_size
        self.embeddings = AlbertEmbeddings(config, policy)
        self.encoder = AlbertTransformer(config, policy)
        self.pooler = dense(config, width, width, "pooler", policy) if add_pooling_layer else None
        self.built = True

    def compute(self, inputs: Inputs) -> BaseModelOutputWithPooling:
        self._check_ids(inputs)
        x = self.embeddings(
            inputs.input_ids, inputs.token_type_ids, inputs.position_ids, inputs.inputs_embeds
        )  # [B, S, E]
        bias = attention_bias(inputs.attention_mask, x.dtype)
        rows = head_mask_rows(self.config, inputs.head_mask, x.dtype)
        fused = self.attn_implementation == "sdpa" and not inputs.output_attentions
        x, hidden_states, attentions = self.encoder(x, bias, rows, fused=fused)
        return BaseModelOutputWithPooling(
            last_hidden_state=x,
            pooler_output=None if self.pooler is None else ops.tanh(self.pooler(x[:, 0])),  # [B, H]
            hidden_states=tuple(hidden_states) if inputs.output_hidden_states else None,
            attentions=tuple(attentions) if inputs.output_attentions else None,
        )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"add_pooling_layer": self.pooler is not None}


class TFAlbertForPreTraining(heads.ForPreTraining, TFAlbertPreTrainedModel):
    def __init__(
        self, config: AlbertConfig, attn_implementation: str | None = None, dtype: Any = None, name: str | None = None
    ) -> None:
        super().__init__(config, attn_implementation, dtype, name)
        policy = self.dtype_policy
        self.albert = TFAlbertModel(config, attn_implementation=attn_implementation, dtype=policy, name="albert")
        self.predictions = AlbertMLMHead(config, policy)
        self.sop_classifier = AlbertSOPHead(config, policy)
        self.built = True

    def compute(self, inputs: Inputs) -> AlbertForPreTrainingOutput:
        encoded = self.albert(**inputs.for_encoder())
        logits = self.predictions(encoded.last_hidden_state, self.word_matrix(), inputs.masked_positions)
        order = self.sop_classifier(encoded.pooler_output)
        masked, swapped = cross_entropy(logits, inputs.labels), cross_entropy(order, inputs.sentence_order_label)
        loss = None if masked is None or swapped is None else masked + swapped
        return AlbertForPreTrainingOutput(loss, logits, order, encoded.hidden_states, encoded.attentions)


class TFAlbertForMaskedLM(heads.ForMaskedLM, TFAlbertPreTrainedModel):
    def __init__(
        self, config: AlbertConfig, attn_implementation: str | None = None, dtype: Any = None, name: str | None = None
    ) -> None:
        super().__init__(config, attn_implementation, dtype, name)
        policy = self.dtype_policy
        self.albert = TFAlbertModel(config, False, attn_implementation, policy, name="albert")
        self.predictions = AlbertMLMHead(config, policy)
        self.built = True

    def compute(self, inputs: Inputs) -> MaskedLMOutput:
        encoded = self.albert(**inputs.for_encoder())
        logits = self.predictions(encoded.last_hidden_state, self.word_matrix(), inputs.masked_positions)
        loss = cross_entropy(logits, inputs.labels)
        return MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)
