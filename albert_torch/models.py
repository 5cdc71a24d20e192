"""The model and its heads. Documentation, inputs and outputs come from `albert_core.heads`."""

from __future__ import annotations

from torch import nn

from albert_core import heads
from albert_core.config import AlbertConfig
from albert_core.outputs import AlbertForPreTrainingOutput, BaseModelOutputWithPooling, MaskedLMOutput
from albert_core.signature import Inputs
from albert_torch.base import AlbertPreTrainedModel
from albert_torch.layers import (
    AlbertEmbeddings,
    AlbertMLMHead,
    AlbertSOPHead,
    AlbertTransformer,
    attention_bias,
    head_mask_rows,
    loses_gradients,
)
from albert_torch.losses import cross_entropy


class AlbertModel(heads.Model, AlbertPreTrainedModel):
    def __init__(
        self, config: AlbertConfig, add_pooling_layer: bool = True, attn_implementation: str | None = None
    ) -> None:
        super().__init__(config, attn_implementation)
        self.embeddings = AlbertEmbeddings(config)
        self.encoder = AlbertTransformer(config)
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size) if add_pooling_layer else None
        self.init_weights()

    def compute(self, inputs: Inputs) -> BaseModelOutputWithPooling:
        self._check_ids(inputs)
        x = self.embeddings(inputs)  # [B, S, E]
        bias = attention_bias(inputs.attention_mask, x.dtype)
        rows = head_mask_rows(self.config, inputs.head_mask, x.dtype)
        fused = self.attn_implementation == "sdpa" and not inputs.output_attentions
        fused = fused and not loses_gradients(inputs.attention_mask)
        x, hidden_states, attentions = self.encoder(x, bias, rows, fused)
        return BaseModelOutputWithPooling(
            last_hidden_state=x,
            pooler_output=None if self.pooler is None else self.pooler(x[:, 0]).tanh(),  # [B, H]
            hidden_states=tuple(hidden_states) if inputs.output_hidden_states else None,
            attentions=tuple(attentions) if inputs.output_attentions else None,
        )


class AlbertForPreTraining(heads.ForPreTraining, AlbertPreTrainedModel):
    def __init__(self, config: AlbertConfig, attn_implementation: str | None = None) -> None:
        super().__init__(config, attn_implementation)
        self.albert = AlbertModel(config, attn_implementation=attn_implementation)
        self.predictions = AlbertMLMHead(config)
        self.sop_classifier = AlbertSOPHead(config)
        self.init_weights()
        self.tie_weights()

    def compute(self, inputs: Inputs) -> AlbertForPreTrainingOutput:
        encoded = self.albert(**inputs.for_encoder())
        logits = self.predictions(encoded.last_hidden_state, inputs.masked_positions)
        order = self.sop_classifier(encoded.pooler_output)
        masked, swapped = cross_entropy(logits, inputs.labels), cross_entropy(order, inputs.sentence_order_label)
        loss = None if masked is None or swapped is None else masked + swapped
        return AlbertForPreTrainingOutput(loss, logits, order, encoded.hidden_states, encoded.attentions)


class AlbertForMaskedLM(heads.ForMaskedLM, AlbertPreTrainedModel):
    def __init__(self, config: AlbertConfig, attn_implementation: str | None = None) -> None:
        super().__init__(config, attn_implementation)
        self.albert = AlbertModel(config, add_pooling_layer=False, attn_implementation=attn_implementation)
        self.predictions = AlbertMLMHead(config)
        self.init_weights()
        self.tie_weights()

    def compute(self, inputs: Inputs) -> MaskedLMOutput:
        encoded = self.albert(**inputs.for_encoder())
        logits = self.predictions(encoded.last_hidden_state, inputs.masked_positions)
        loss = cross_entropy(logits, inputs.labels)
        return MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)
