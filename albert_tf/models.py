"""The classes of `albert_core.heads` in Keras."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from keras import layers, ops

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
from albert_tf.base import TFAlbertPreTrainedModel
from albert_tf.layers import (
    AlbertEmbeddings,
    AlbertMLMHead,
    AlbertSOPHead,
    AlbertTransformer,
    attention_bias,
    dense,
    gathered,
    head_mask_rows,
)
from albert_tf.losses import cross_entropy, sequence_loss, span_loss

_XP = SimpleNamespace(
    shape=ops.shape,
    reshape=ops.reshape,
    broadcast_to=ops.broadcast_to,
    zeros_like=ops.zeros_like,
    concatenate=ops.concatenate,
    int32="int32",
)


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
        given = (inputs.input_ids, inputs.token_type_ids, inputs.position_ids, inputs.inputs_embeds)
        x = self.embeddings(*given)  # [B, S, E]
        bias = attention_bias(inputs.attention_mask, x.dtype)
        rows = head_mask_rows(self.config, inputs.head_mask, x)
        fused = self.attn_implementation == "sdpa" and not inputs.output_attentions
        queries = inputs.last_queries(self.config)
        x, hidden_states, attentions = self.encoder(x, bias, rows, fused=fused, queries=queries)
        x = self.picked(gathered, inputs, x)  # [B, P, H]
        return BaseModelOutputWithPooling(
            last_hidden_state=x,
            pooler_output=None if self.pooler is None else ops.tanh(self.pooler(x[:, 0])),  # [B, H]
            hidden_states=tuple(hidden_states) if inputs.output_hidden_states else None,
            attentions=tuple(attentions) if inputs.output_attentions else None,
        )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"add_pooling_layer": self.pooler is not None}


class TFAlbertHeadModel(TFAlbertPreTrainedModel):
    def __init__(
        self, config: AlbertConfig, attn_implementation: str | None = None, dtype: Any = None, name: str | None = None
    ) -> None:
        super().__init__(config, attn_implementation, dtype, name)
        self.albert = TFAlbertModel(config, self.pooling, attn_implementation, self.dtype_policy, name="albert")
        self.build_head(config, self.dtype_policy)
        self.built = True


class TFAlbertForPreTraining(heads.ForPreTraining, TFAlbertHeadModel):
    def build_head(self, config: AlbertConfig, dtype: Any) -> None:
        self.predictions = AlbertMLMHead(config, dtype)
        self.sop_classifier = AlbertSOPHead(config, dtype)

    def compute(self, inputs: Inputs) -> AlbertForPreTrainingOutput:
        encoded = self.encode(_XP, inputs)
        rows = self.masked_rows(inputs, encoded.last_hidden_state)  # [B, P, H]
        logits = self.predictions(rows, self.word_matrix())  # [B, P, V]
        order = self.sop_classifier(encoded.pooler_output)  # [B, 2]
        masked, swapped = cross_entropy(logits, inputs.labels), cross_entropy(order, inputs.sentence_order_label)
        loss = None if masked is None or swapped is None else masked + swapped
        return AlbertForPreTrainingOutput(loss, logits, order, encoded.hidden_states, encoded.attentions)


class TFAlbertForMaskedLM(heads.ForMaskedLM, TFAlbertHeadModel):
    def build_head(self, config: AlbertConfig, dtype: Any) -> None:
        self.predictions = AlbertMLMHead(config, dtype)

    def compute(self, inputs: Inputs) -> MaskedLMOutput:
        encoded = self.encode(_XP, inputs)
        rows = self.masked_rows(inputs, encoded.last_hidden_state)  # [B, P, H]
        logits = self.predictions(rows, self.word_matrix())  # [B, P, V]
        loss = cross_entropy(logits, inputs.labels)
        return MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class TFAlbertForSequenceClassification(heads.ForSequenceClassification, TFAlbertHeadModel):
    def build_head(self, config: AlbertConfig, dtype: Any) -> None:
        self.dropout = layers.Dropout(config.classifier_dropout_prob, dtype=dtype)
        self.classifier = dense(config, config.hidden_size, config.num_labels, "classifier", dtype)

    def compute(self, inputs: Inputs) -> SequenceClassifierOutput:
        encoded = self.encode(_XP, inputs)
        logits = self.classifier(self.dropout(encoded.pooler_output))  # [B, K]
        loss = sequence_loss(self.config, logits, inputs.labels)
        return SequenceClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class TFAlbertForMultipleChoice(heads.ForMultipleChoice, TFAlbertHeadModel):
    def build_head(self, config: AlbertConfig, dtype: Any) -> None:
        self.dropout = layers.Dropout(config.classifier_dropout_prob, dtype=dtype)
        self.classifier = dense(config, config.hidden_size, 1, "classifier", dtype)

    def compute(self, inputs: Inputs) -> MultipleChoiceModelOutput:
        encoded = self.encode(_XP, flat_choices(_XP, inputs))
        scores = self.classifier(self.dropout(encoded.pooler_output))  # [B * C, 1]
        logits = ops.reshape(scores, ops.shape(inputs.lead)[:2])  # [B, C]
        loss = cross_entropy(logits, inputs.labels)
        return MultipleChoiceModelOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class TFAlbertForTokenClassification(heads.ForTokenClassification, TFAlbertHeadModel):
    def build_head(self, config: AlbertConfig, dtype: Any) -> None:
        self.dropout = layers.Dropout(config.classifier_dropout_prob, dtype=dtype)
        self.classifier = dense(config, config.hidden_size, config.num_labels, "classifier", dtype)

    def compute(self, inputs: Inputs) -> TokenClassifierOutput:
        encoded = self.encode(_XP, inputs)
        logits = self.classifier(self.dropout(encoded.last_hidden_state))  # [B, S, K]
        loss = cross_entropy(logits, inputs.labels)
        return TokenClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class TFAlbertForQuestionAnswering(heads.ForQuestionAnswering, TFAlbertHeadModel):
    def build_head(self, config: AlbertConfig, dtype: Any) -> None:
        self.qa_outputs = dense(config, config.hidden_size, 2, "qa_outputs", dtype)

    def compute(self, inputs: Inputs) -> QuestionAnsweringModelOutput:
        encoded = self.encode(_XP, inputs)
        start, end = ops.unstack(self.qa_outputs(encoded.last_hidden_state), 2, axis=-1)  # [B, S] each
        loss = span_loss(start, end, inputs.start_positions, inputs.end_positions)
        return QuestionAnsweringModelOutput(loss, start, end, encoded.hidden_states, encoded.attentions)
