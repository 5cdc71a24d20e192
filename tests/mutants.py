"""Faults that the tests must notice: each is one change to one line of the project.

`old` stands exactly once in its file. The tests named are those that are to catch it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MUTANTS", "Mutant"]

NUMBERS, HEADS, DROPOUT, SURGERY = "test_golden.py", "test_heads.py", "test_dropout.py", "test_surgery.py"
T, K, F, C = "albert_torch/", "albert_tf/", "albert_flax/", "albert_core/"


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        name: What is wrong.
        file: Where.
        old: The text that is right, once in the file.
        new: What stands there instead.
        tests: The file of tests that has to fail.
        backend: The backend that the tests run; that of the file, and PyTorch for a file of the core, when None.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str = NUMBERS
    backend: str | None = None

    @property
    def backends(self) -> str:
        """What the tests' `--backends` gets."""
        package = self.file.split("/")[0].removeprefix("albert_")
        return self.backend or ("torch" if package == "core" else package)


# fmt: off
MUTANTS = (
    # numerics
    Mutant("gelu is the tanh form", T + "layers/modules.py", '"gelu": F.gelu,', '"gelu": lambda x: F.gelu(x, approximate="tanh"),'),
    Mutant("gelu_new is the erf form", F + "layers/modules.py", "partial(jax.nn.gelu, approximate=True)", "partial(jax.nn.gelu, approximate=False)"),
    Mutant("gelu_new cut after four digits", C + "numerics.py", "math.sqrt(2.0 / math.pi) * (x + 0.044715", "0.7979 * (x + 0.044715", "test_reference.py"),
    Mutant("PyTorch's epsilon", T + "layers/transformer.py", "self.full_layer_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)", "self.full_layer_layer_norm = nn.LayerNorm(config.hidden_size)"),
    Mutant("Flax's epsilon", F + "layers/modules.py", "epsilon=config.layer_norm_eps, use_fast_variance=False", "use_fast_variance=False"),
    Mutant("Keras' epsilon", K + "layers/modules.py", "epsilon=config.layer_norm_eps, gamma", "gamma"),
    Mutant("a weak mask", C + "numerics.py", "else -1e30", "else -1e2"),
    Mutant("scores scaled by the hidden size", T + "layers/attention.py", "1.0 / math.sqrt(config.head_size)", "1.0 / math.sqrt(config.hidden_size)"),
    Mutant("a scale that went through 32 bits", K + "layers/attention.py", "(0, 1, 3, 2))) * self.scale, wide)", "(0, 1, 3, 2))) * ops.cast(ops.cast(self.scale, \"float32\"), q.dtype), wide)"),
    Mutant("softmax over the queries", F + "layers/attention.py", "jax.nn.softmax(scores).astype", "jax.nn.softmax(scores, axis=-2).astype"),
    # encoder
    Mutant("norm before the residual", T + "layers/attention.py", "return self.LayerNorm(own + self.output_dropout(through(self.dense, context))), probabilities", "return own + self.LayerNorm(self.output_dropout(through(self.dense, context))), probabilities"),
    Mutant("no residual around the feed-forward", K + "layers/transformer.py", "self.full_layer_layer_norm(rows + dropped(", "self.full_layer_layer_norm(dropped("),
    Mutant("query and key swapped", T + "layers/attention.py", "parts = (self.query, self.key, self.value)\n        if not", "parts = (self.key, self.query, self.value)\n        if not"),
    Mutant("key and value swapped", F + "layers/attention.py", "q, k, v = self._project(own, x, pack)", "q, v, k = self._project(own, x, pack)"),
    Mutant("groups in turns", C + "config.py", "return layer * self.num_hidden_groups // self.num_hidden_layers", "return layer % self.num_hidden_groups"),
    Mutant("one inner layer", T + "layers/transformer.py", "in enumerate(zip(self.albert_layers, packs, strict=True)):", "in enumerate(list(zip(self.albert_layers, packs, strict=True))[:1]):"),
    Mutant("one layer too few", F + "layers/transformer.py", "self.group_of.count(g)", "max(self.group_of.count(g) - 1, 1)"),
    Mutant("the first inner layer for what is read", T + "layers/transformer.py", "queries if inner == last else None", "queries if inner == 0 else None", HEADS),
    Mutant("the last layer for the pooler alone", C + "heads.py", "return first if masked is None else xp.concatenate([first, masked], 1)", "return first", HEADS),
    Mutant("the pooler's row is scored", C + "heads.py", "return x[:, 1:] if", "return x[:, :-1] if", HEADS),
    Mutant("early under a mask by rows", C + "signature.py", "len(self.attention_mask.shape) == 2", "len(self.attention_mask.shape) >= 2", HEADS),
    Mutant("distances the other way round", T + "layers/attention.py", "place[:, None] - place[None, :] +", "place[None, :] - place[:, None] +"),
    Mutant("relative positions scaled", K + "layers/attention.py", "bias = relative if bias is None", "relative = relative * self.scale\n            bias = relative if bias is None"),
    Mutant("no relative scores of the keys", F + "layers/attention.py", 'if self.position_embedding_type == "relative_key_query"', 'if self.position_embedding_type == "never"'),
    Mutant("positions ignored", T + "layers/embeddings.py", "if ids is None and is_plain(table, nn.Embedding)", "if first > 1 or (ids is None and is_plain(table, nn.Embedding))"),
    Mutant("no segment when none is given", F + "layers/embeddings.py", "x = x + self._rows(self.token_type_embeddings, inputs.token_type_ids, 1)", "x = x if inputs.token_type_ids is None else x + self._rows(self.token_type_embeddings, inputs.token_type_ids, 1)"),
    Mutant("no bias of the projection", T + "layers/transformer.py", "x = self.embedding_hidden_mapping_in(x)", "x = F.linear(x, self.embedding_hidden_mapping_in.weight)"),
    Mutant("head mask of the first layer everywhere", T + "layers/transformer.py", "else head_mask[layer]", "else head_mask[0]"),
    Mutant("head mask of the first group everywhere", F + "layers/transformer.py", "a[first : first + count]", "a[:count]"),
    Mutant("hidden states without the first", K + "layers/transformer.py", "hidden_states, attentions, last = [x], []", "hidden_states, attentions, last = [], []"),
    Mutant("the last position pooled", T + "models.py", "self.pooler(x[:, 0])", "self.pooler(x[:, -1])"),
    Mutant("pooler without tanh", F + "models.py", "jnp.tanh(self.pooler(x[:, 0]))", "self.pooler(x[:, 0])"),
    Mutant("the pad row learns from its lookup", T + "layers/embeddings.py", "nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)", "nn.Embedding(config.vocab_size, width)"),
    Mutant("the pad row of Flax learns", F + "layers/embeddings.py", "jax.lax.stop_gradient(x), x)", "x, x)"),
    Mutant("fused attention for an empty row", T + "layers/masks.py", "return rows is None or bool((rows == 0).all(-1).any())", "return rows is None"),
    # heads
    Mutant("decoder not tied", T + "base.py", "decoder.weight = self.get_input_embeddings().weight", "pass"),
    Mutant("no bias of the decoder", F + "layers/heads.py", "x @ words.astype(x.dtype).T + self.bias.astype(x.dtype)", "x @ words.astype(x.dtype).T"),
    Mutant("norm before the activation", K + "layers/heads.py", "self.LayerNorm(self.activation(self.dense(as_rows(x))))", "self.activation(self.LayerNorm(self.dense(as_rows(x))))"),
    Mutant("mean over ignored labels too", T + "losses.py", "(labels != ignored).sum().clamp(min=1)", "labels.numel()"),
    Mutant("ignored labels count", K + "losses.py", "ops.where(counted, losses, 0.0)", "losses"),
    Mutant("no sentence-order loss", F + "models.py", "masked + swapped", "masked"),
    Mutant("answers outside are moved inside", T + "losses.py", "place.clamp(0, length)", "place.clamp(0, length - 1)"),
    Mutant("losses of both ends added", K + "losses.py", "for logits, place in ends) / 2", "for logits, place in ends)"),
    Mutant("start and end swapped", F + "models.py", "start, end = jnp.unstack", "end, start = jnp.unstack"),
    Mutant("absolute error", T + "losses.py", "F.mse_loss", "F.l1_loss"),
    Mutant("multi label as single", C + "problem_types.py", 'else "multi_label_classification"', 'else "single_label_classification"', HEADS),
    Mutant("choices and rows mixed up", C + "signature.py", "x = xp.broadcast_to(x[:, None], (batch, choices,", "x = xp.broadcast_to(x[None], (choices, batch,", HEADS),
    # training
    Mutant("no dropout after the feed-forward", T + "layers/transformer.py", "x + self.dropout(through(self.ffn_output, inner))", "x + through(self.ffn_output, inner)", DROPOUT),
    Mutant("dropout in evaluation", T + "layers/attention.py", "self.attention_dropout.p if self.training else 0.0", "self.attention_dropout.p", DROPOUT),
    Mutant("every layer drops the same", F + "layers/transformer.py", "(lambda a: a[:many], (rows, keys))", "(lambda a: a[:many], (rows, keys if keys is None else jnp.broadcast_to(keys[:1], keys.shape)))", DROPOUT),
    Mutant("another dropout when computed again", K + "layers/transformer.py", "seeds = group.draw_seeds() if training else None", "seeds = None", SURGERY),
    Mutant("LAMB with bias correction", C + "recipes.py", "update, m, v = _adam_direction(xp, g, m, v, beta1, beta2, epsilon, step if bias_correction else None)\n    update = update + weight_decay * p\n    if adapt", "update, m, v = _adam_direction(xp, g, m, v, beta1, beta2, epsilon, 1 if step is None else step)\n    update = update + weight_decay * p\n    if adapt", "test_recipes.py"),
    Mutant("LAMB adapts everything", C + "recipes.py", "return _EXCLUDED.search(name) is None", "return True", "test_recipes.py"),
    Mutant("no jump after warm-up", C + "recipes.py", "start = warmup_steps if offset_by_warmup else 0", "start = warmup_steps", "test_recipes.py"),
    # weights
    Mutant("kernels not transposed", C + "walker.py", '"kernel", True', '"kernel", False', "test_walker.py", "flax"),
    Mutant("new rows of zeros", C + "surgery.py", "np.broadcast_to(old.mean(0, dtype=np.float64), shape)", "np.zeros(shape)", SURGERY),
    Mutant("another head pruned", C + "surgery.py", "columns[:, head * size : (head + 1) * size] = 0", "columns[:, (head - 1) * size : head * size] = 0", SURGERY),
    Mutant("pruned heads forgotten", C + "numerics.py", "float(head not in found)", "1.0", SURGERY),
)
# fmt: on
