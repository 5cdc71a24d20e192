"""The classes of `albert_core.heads` in Flax NNX."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx

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
from albert_flax.base import FlaxAlbertPreTrainedModel
from albert_flax.layers import (
    AlbertEmbeddings,
    AlbertMLMHead,
    AlbertSOPHead,
    AlbertTransformer,
    attention_bias,
    gathered,
    head_mask_rows,
    linear,
)
from albert_flax.losses import cross_entropy, sequence_loss, span_loss


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
        input_shape: Any = None,  # what transformers' classes were initialised with
        seed: int = 0,
        _do_init: bool = True,
    ) -> None:
        super().__init__(config, dtype, param_dtype, attn_implementation)
        how = self._how(rngs, seed)
        self.embeddings = AlbertEmbeddings(config, **how)
        self.encoder = AlbertTransformer(config, **how)
        self.pooler = linear(config.hidden_size, config.hidden_size, **how) if add_pooling_layer else None
        self._begin(how["rngs"], None, _do_init)

    def compute(self, inputs: Inputs) -> BaseModelOutputWithPooling:
        x = self.embeddings(inputs)  # [B, S, E]
        bias = attention_bias(inputs.attention_mask, x.dtype)
        rows = head_mask_rows(self.config, inputs.head_mask, x)
        wanted = (inputs.output_hidden_states, inputs.output_attentions)
        x, hidden_states, attentions = self.encoder(x, bias, rows, *wanted, inputs.last_queries(self.config))
        x = self.picked(gathered, inputs, x)  # [B, P, H]
        return BaseModelOutputWithPooling(
            last_hidden_state=x,
            pooler_output=None if self.pooler is None else jnp.tanh(self.pooler(x[:, 0])),  # [B, H]
            hidden_states=hidden_states,
            attentions=attentions,
        )


class FlaxAlbertHeadModel(FlaxAlbertPreTrainedModel):
    def __init__(
        self,
        config: AlbertConfig,
        *,
        rngs: nnx.Rngs | None = None,
        dtype: Any = None,
        param_dtype: Any = None,
        attn_implementation: str | None = None,
        input_shape: Any = None,  # what transformers' classes were initialised with
        seed: int = 0,
        _do_init: bool = True,
    ) -> None:
        super().__init__(config, dtype, param_dtype, attn_implementation)
        how = self._how(rngs, seed)
        self.albert = FlaxAlbertModel(
            config, add_pooling_layer=self.pooling, attn_implementation=attn_implementation, **how
        )
        self.build_head(config, **how)
        self._begin(how["rngs"], self.parts, _do_init)


class FlaxAlbertForPreTraining(heads.ForPreTraining, FlaxAlbertHeadModel):
    def build_head(self, config: AlbertConfig, **how: Any) -> None:
        self.predictions = AlbertMLMHead(config, **how)
        self.sop_classifier = AlbertSOPHead(config, **how)

    def compute(self, inputs: Inputs) -> AlbertForPreTrainingOutput:
        encoded = self.encode(jnp, inputs)
        rows = self.masked_rows(inputs, encoded.last_hidden_state)  # [B, P, H]
        logits = self.predictions(rows, self.word_matrix())  # [B, P, V]
        order = self.sop_classifier(encoded.pooler_output)  # [B, 2]
        masked, swapped = cross_entropy(logits, inputs.labels), cross_entropy(order, inputs.sentence_order_label)
        loss = None if masked is None or swapped is None else masked + swapped
        return AlbertForPreTrainingOutput(loss, logits, order, encoded.hidden_states, encoded.attentions)


class FlaxAlbertForMaskedLM(heads.ForMaskedLM, FlaxAlbertHeadModel):
    def build_head(self, config: AlbertConfig, **how: Any) -> None:
        self.predictions = AlbertMLMHead(config, **how)

    def compute(self, inputs: Inputs) -> MaskedLMOutput:
        encoded = self.encode(jnp, inputs)
        rows = self.masked_rows(inputs, encoded.last_hidden_state)  # [B, P, H]
        logits = self.predictions(rows, self.word_matrix())  # [B, P, V]
        loss = cross_entropy(logits, inputs.labels)
        return MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class FlaxAlbertForSequenceClassification(heads.ForSequenceClassification, FlaxAlbertHeadModel):
    def build_head(self, config: AlbertConfig, **how: Any) -> None:
        self.dropout = nnx.Dropout(config.classifier_dropout_prob, rngs=how["rngs"])
        self.classifier = linear(config.hidden_size, config.num_labels, **how)

    def compute(self, inputs: Inputs) -> SequenceClassifierOutput:
        encoded = self.encode(jnp, inputs)
        logits = self.classifier(self.dropout(encoded.pooler_output))  # [B, K]
        loss = sequence_loss(self.config, logits, inputs.labels)
        return SequenceClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class FlaxAlbertForMultipleChoice(heads.ForMultipleChoice, FlaxAlbertHeadModel):
    def build_head(self, config: AlbertConfig, **how: Any) -> None:
        self.dropout = nnx.Dropout(config.classifier_dropout_prob, rngs=how["rngs"])
        self.classifier = linear(config.hidden_size, 1, **how)

    def compute(self, inputs: Inputs) -> MultipleChoiceModelOutput:
        encoded = self.encode(jnp, flat_choices(jnp, inputs))
        scores = self.classifier(self.dropout(encoded.pooler_output))  # [B * C, 1]
        logits = scores.reshape(inputs.lead.shape[:2])  # [B, C]
        loss = cross_entropy(logits, inputs.labels)
        return MultipleChoiceModelOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class FlaxAlbertForTokenClassification(heads.ForTokenClassification, FlaxAlbertHeadModel):
    def build_head(self, config: AlbertConfig, **how: Any) -> None:
        self.dropout = nnx.Dropout(config.classifier_dropout_prob, rngs=how["rngs"])
        self.classifier = linear(config.hidden_size, config.num_labels, **how)

    def compute(self, inputs: Inputs) -> TokenClassifierOutput:
        encoded = self.encode(jnp, inputs)
        logits = self.classifier(self.dropout(encoded.last_hidden_state))  # [B, S, K]
        loss = cross_entropy(logits, inputs.labels)
        return TokenClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class FlaxAlbertForQuestionAnswering(heads.ForQuestionAnswering, FlaxAlbertHeadModel):
    def build_head(self, config: AlbertConfig, **how: Any) -> None:
        self.qa_outputs = linear(config.hidden_size, 2, **how)

    def compute(self, inputs: Inputs) -> QuestionAnsweringModelOutput:
        encoded = self.encode(jnp, inputs)
        start, end = jnp.unstack(self.qa_outputs(encoded.last_hidden_state), axis=-1)  # [B, S] each
        loss = span_loss(start, end, inputs.start_positions, inputs.end_positions)
        return QuestionAnsweringModelOutput(loss, start, end, encoded.hidden_states, encoded.attentions)
