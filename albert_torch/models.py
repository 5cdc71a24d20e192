"""The classes of `albert_core.heads` in torch."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from albert_core import heads
from albert_core.config import AlbertConfig
from albert_core.outputs import (
    AlbertForPreTrainingOutput,
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from albert_core.signature import Inputs, flat_choices
from albert_torch.base import AlbertPreTrainedModel
from albert_torch.layers import (
    AlbertEmbeddings,
    AlbertMLMHead,
    AlbertSOPHead,
    AlbertTransformer,
    attention_bias,
    gathered,
    head_mask_rows,
    loses_gradients,
    loses_time,
)
from albert_torch.losses import cross_entropy, sequence_loss, span_loss

_XP = SimpleNamespace(
    shape=lambda x: x.shape,
    reshape=torch.reshape,
    broadcast_to=torch.broadcast_to,
    zeros_like=torch.zeros_like,
    concatenate=torch.cat,
    int32=torch.int32,
)


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
        x = self.embeddings(inputs)  # [B, S, E]
        bias = attention_bias(inputs.attention_mask, x.dtype)
        rows = head_mask_rows(self.config, inputs.head_mask, x)
        fused = self.attn_implementation == "sdpa" and not inputs.output_attentions
        fused = fused and not loses_gradients(inputs.attention_mask) and not loses_time(x)
        x, hidden_states, attentions = self.encoder(x, bias, rows, fused, inputs.last_queries(self.config))
        x = self.picked(gathered, inputs, x)  # [B, P, H]
        return BaseModelOutputWithPooling(
            last_hidden_state=x,
            pooler_output=None if self.pooler is None else self.pooler(x[:, 0]).tanh(),  # [B, H]
            hidden_states=tuple(hidden_states) if inputs.output_hidden_states else None,
            attentions=tuple(attentions) if inputs.output_attentions else None,
        )


class AlbertHeadModel(AlbertPreTrainedModel):
    def __init__(self, config: AlbertConfig, attn_implementation: str | None = None) -> None:
        super().__init__(config, attn_implementation)
        self.albert = AlbertModel(config, self.pooling, attn_implementation)
        self.build_head(config)
        self.init_weights(self.parts)
        self.tie_weights()


class AlbertForPreTraining(heads.ForPreTraining, AlbertHeadModel):
    def build_head(self, config: AlbertConfig) -> None:
        self.predictions = AlbertMLMHead(config)
        self.sop_classifier = AlbertSOPHead(config)

    def compute(self, inputs: Inputs) -> AlbertForPreTrainingOutput:
        encoded = self.encode(_XP, inputs)
        logits = self.predictions(self.masked_rows(inputs, encoded.last_hidden_state))  # [B, P, V]
        order = self.sop_classifier(encoded.pooler_output)  # [B, 2]
        masked, swapped = cross_entropy(logits, inputs.labels), cross_entropy(order, inputs.sentence_order_label)
        loss = None if masked is None or swapped is None else masked + swapped
        return AlbertForPreTrainingOutput(loss, logits, order, encoded.hidden_states, encoded.attentions)


class AlbertForMaskedLM(heads.ForMaskedLM, AlbertHeadModel):
    def build_head(self, config: AlbertConfig) -> None:
        self.predictions = AlbertMLMHead(config)

    def compute(self, inputs: Inputs) -> MaskedLMOutput:
        encoded = self.encode(_XP, inputs)
        logits = self.predictions(self.masked_rows(inputs, encoded.last_hidden_state))  # [B, P, V]
        loss = cross_entropy(logits, inputs.labels)
        return MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class AlbertForSequenceClassification(heads.ForSequenceClassification, AlbertHeadModel):
    def build_head(self, config: AlbertConfig) -> None:
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def compute(self, inputs: Inputs) -> SequenceClassifierOutput:
        encoded = self.encode(_XP, inputs)
        logits = self.classifier(self.dropout(encoded.pooler_output))  # [B, K]
        loss = sequence_loss(self.config, logits, inputs.labels)
        return SequenceClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class AlbertForMultipleChoice(heads.ForMultipleChoice, AlbertHeadModel):
    def build_head(self, config: AlbertConfig) -> None:
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, 1)

    def compute(self, inputs: Inputs) -> MultipleChoiceModelOutput:
        encoded = self.encode(_XP, flat_choices(_XP, inputs))
        scores = self.classifier(self.dropout(encoded.pooler_output))  # [B * C, 1]
        logits = scores.reshape(inputs.lead.shape[:2])  # [B, C]
        loss = cross_entropy(logits, inputs.labels)
        return MultipleChoiceModelOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class AlbertForTokenClassification(heads.ForTokenClassification, AlbertHeadModel):
    def build_head(self, config: AlbertConfig) -> None:
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def compute(self, inputs: Inputs) -> TokenClassifierOutput:
        encoded = self.encode(_XP, inputs)
        logits = self.classifier(self.dropout(encoded.last_hidden_state))  # [B, S, K]
        loss = cross_entropy(logits, inputs.labels)
        return TokenClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class AlbertForQuestionAnswering(heads.ForQuestionAnswering, AlbertHeadModel):
    def build_head(self, config: AlbertConfig) -> None:
        self.qa_outputs = nn.Linear(config.hidden_size, 2)

    def compute(self, inputs: Inputs) -> QuestionAnsweringModelOutput:
        encoded = self.encode(_XP, inputs)
        start, end = _ends(self.qa_outputs(encoded.last_hidden_state))  # [B, S] each
        loss = span_loss(start, end, inputs.start_positions, inputs.end_positions)
        return QuestionAnsweringModelOutput(loss, start, end, encoded.hidden_states, encoded.attentions)


def _ends(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Both ends' scores, contiguous, [B, S] each."""
    start, end = scores.movedim(-1, 0).contiguous()
    return start, end
