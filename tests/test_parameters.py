"""The parameter table against transformers' own classes, the published counts, and what is derived from it."""

from __future__ import annotations

import numpy as np
import pytest

from albert_core.config import PRESETS, AlbertConfig
from albert_core.heads import HEADS
from albert_core.parameters import Kind, count, encoder_size, initial_state, parameter_table, part_of, truncated_normal
from albert_core.parity_suite import GROUPS, TINY

# facts of the published models: encoder with pooler, masked-LM head, sentence-order head
PUBLISHED = {
    "base": (11_683_584, 128_688, 1_538),
    "large": (17_683_968, 161_456, 2_050),
    "xlarge": (58_724_864, 292_528, 4_098),
    "xxlarge": (222_595_584, 554_672, 8_194),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("groups", GROUPS)
def test_names_and_shapes_are_those_of_transformers(head: str, groups: str) -> None:
    import transformers

    values = {**TINY, **GROUPS[groups]}
    theirs = getattr(transformers, head)(transformers.AlbertConfig(**values))
    expected = {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    table = parameter_table(AlbertConfig(**values), HEADS[head].all_parts())
    if head == "AlbertModel":
        table = {name.removeprefix("albert."): p for name, p in table.items()}
    assert {name: p.shape for name, p in table.items()} == expected


@pytest.mark.parametrize("preset", PRESETS)
def test_published_models_have_their_published_sizes(preset: str) -> None:
    config = AlbertConfig.from_preset(preset)
    encoder, mlm, sop = PUBLISHED[preset.split("-")[1]]
    assert count(config, HEADS["AlbertModel"].all_parts()) == encoder == encoder_size(config)
    assert count(config, HEADS["AlbertForPreTraining"].all_parts()) == encoder + mlm + sop


@pytest.mark.parametrize("position", ["absolute", "relative_key", "relative_key_query"])
def test_relative_positions_add_one_table_per_layer(position: str) -> None:
    config = AlbertConfig(**TINY, **GROUPS["2x2"], position_embedding_type=position)
    names = [n for n in parameter_table(config, HEADS["AlbertModel"].all_parts()) if "distance_embedding" in n]
    assert len(names) == (0 if position == "absolute" else 4)
    assert encoder_size(config) == count(config, HEADS["AlbertModel"].all_parts())


def test_decay_is_googles_exclusion_list() -> None:
    table = parameter_table(AlbertConfig(**TINY), HEADS["AlbertForPreTraining"].all_parts())
    for name, p in table.items():
        excluded = name.endswith("bias") or "LayerNorm" in name or "layer_norm" in name
        assert p.decay is not excluded, name


def test_every_name_has_a_part_and_strangers_have_none() -> None:
    for head in HEADS.values():
        for name in parameter_table(AlbertConfig(**TINY), head.all_parts()):
            assert part_of(name) is not None
    for name in ("albert.pooler.weight.x", "bert.pooler.weight", "predictions.weight", "albert.embeddings.LayerNorm"):
        assert part_of(name) is None


def test_initial_state_is_cut_at_two_deviations_and_independent_of_the_head() -> None:
    config = AlbertConfig(**{**TINY, "vocab_size": 999, "embedding_size": 40})
    encoder = initial_state(config, HEADS["AlbertModel"].all_parts(), seed=3)
    whole = initial_state(config, HEADS["AlbertForPreTraining"].all_parts(), seed=3)
    assert all(np.array_equal(whole[name], value) for name, value in encoder.items())
    words = whole["albert.embeddings.word_embeddings.weight"]
    assert np.abs(words).max() <= 2 * config.initializer_range
    assert words[1:].std() == pytest.approx(0.8796 * config.initializer_range, rel=0.02)  # of a normal cut at two
    assert not words[0].any()
    assert whole["predictions.decoder.weight"] is words
    other = initial_state(config, HEADS["AlbertModel"].all_parts(), seed=4)
    assert not np.array_equal(words, other["albert.embeddings.word_embeddings.weight"])


def test_truncated_normal_has_no_value_outside() -> None:
    assert np.abs(truncated_normal(np.random.default_rng(0), (10_000,), 1.0)).max() <= 2.0


def test_tf1_paths_follow_from_the_row() -> None:
    from albert_core.parameters import rows

    config = AlbertConfig(**TINY, **GROUPS["2x2"])
    found = {row.path: row.tf1 for row in rows(config, HEADS["AlbertModel"].all_parts())}
    path = "albert.encoder.albert_layer_groups.1.albert_layers.0.attention.query"
    assert found[path] == "bert/encoder/transformer/group_1/inner_group_0/attention_1/self/query"
    assert {row.kind for row in rows(config, ("predictions",))} == {Kind.VECTOR, Kind.NORM, Kind.LINEAR}
