"""The published recipe, its learning rate and its update rules against plain Python and cases worked by hand."""

from __future__ import annotations

import importlib
import math
import re

import numpy as np
import pytest

from albert_core.config import PRESETS, AlbertConfig
from albert_core.heads import ForPreTraining
from albert_core.parameters import parameter_table
from albert_core.recipes import (
    RECIPES,
    PretrainingRecipe,
    adamw_update,
    clip_by_global_norm,
    decays,
    lamb_update,
    learning_rate,
)

GOOGLE = {"peak": 0.00176, "warmup_steps": 3125, "total_steps": 125_000}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.0),
        (1, 0.00176 / 3125),
        (3124, 0.00176 * 3124 / 3125),
        (3125, 0.001716),  # the jump down from 0.00176
        (62_500, 0.00088),
        (124_999, 0.00176 / 125_000),
        (125_000, 0.0),
        (200_000, 0.0),
    ],
)
def test_google_learning_rate(step, expected):
    assert float(learning_rate(np, step, **GOOGLE)) == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.parametrize(("step", "expected"), [(3124, 0.00176 * 3124 / 3125), (3125, 0.00176), (125_000, 0.0)])
def test_learning_rate_without_the_jump(step, expected):
    rate = learning_rate(np, step, **GOOGLE, offset_by_warmup=True)
    assert float(rate) == pytest.approx(expected, rel=1e-12, abs=0)


def test_learning_rate_without_warmup_starts_at_its_peak():
    assert float(learning_rate(np, 0, peak=2.0, warmup_steps=0, total_steps=10)) == 2.0


def oracle(p, g, m, v, *, lr, beta1, beta2, epsilon, weight_decay, ratio, correction_step=None):
    """Google's LAMB and AdamW in scalars, from the formulas of lamb_optimizer.py and optimization.py."""
    m = [beta1 * a + (1 - beta1) * b for a, b in zip(m, g, strict=True)]
    v = [beta2 * a + (1 - beta2) * b * b for a, b in zip(v, g, strict=True)]
    first = 1 - beta1**correction_step if correction_step else 1
    second = 1 - beta2**correction_step if correction_step else 1
    update = [a / first / (math.sqrt(b / second) + epsilon) for a, b in zip(m, v, strict=True)]
    update = [u + weight_decay * a for u, a in zip(update, p, strict=True)]
    p_norm, u_norm = (math.sqrt(sum(x * x for x in values)) for values in (p, update))
    scale = p_norm / u_norm if ratio and p_norm > 0 and u_norm > 0 else 1.0
    return [a - lr * scale * u for a, u in zip(p, update, strict=True)], m, v


SETTINGS = {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-6}


def namespace(name):
    """An array namespace and a constructor of its float arrays."""
    if name == "numpy":
        return np, lambda values: np.array(values, np.float64)
    if name == "torch":
        torch = importlib.import_module("torch")
        return torch, lambda values: torch.tensor(values, dtype=torch.float64)
    if name == "jax":
        jnp = importlib.import_module("jax").numpy
        return jnp, lambda values: jnp.array(values, jnp.float32)
    ops = importlib.import_module("keras").ops
    return ops, lambda values: ops.convert_to_tensor(values, "float32")


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "keras"])
@pytest.mark.parametrize("correct", [False, True])
@pytest.mark.parametrize(
    ("update", "ratio", "decay"), [(lamb_update, True, 0.01), (lamb_update, False, 0.0), (adamw_update, False, 0.01)]
)
def test_updates_follow_the_formulas(name, correct, update, ratio, decay):
    xp, array = namespace(name)
    rng = np.random.default_rng(0)
    p, m, v = rng.standard_normal(5).tolist(), [0.0] * 5, [0.0] * 5
    ours = [array(x) for x in (p, m, v)]
    more = {"adapt": ratio} if update is lamb_update else {}
    for step in (1, 2, 3):
        g = rng.standard_normal(5).tolist()
        corrected = step if correct else None
        p, m, v = oracle(p, g, m, v, **SETTINGS, weight_decay=decay, ratio=ratio, correction_step=corrected)
        ours = update(
            xp, ours[0], array(g), *ours[1:], **SETTINGS, weight_decay=decay, bias_correction=correct, step=step, **more
        )
    tolerance = 1e-12 if name in ("numpy", "torch") else 1e-5
    for got, expected in zip(ours, (p, m, v), strict=True):
        np.testing.assert_allclose(np.asarray(got), expected, rtol=tolerance)


def test_lamb_by_hand():
    """p = (3, 4) with gradient (1, 0): m = .1, v = .001, so u = (.1 / sqrt(.001), 0), and the ratio is 5 / |u|."""
    p, g, zero = np.array([3.0, 4.0]), np.array([1.0, 0.0]), np.zeros(2)
    new, m, v = lamb_update(np, p, g, zero, zero, lr=0.1, epsilon=0.0 + 1e-300, weight_decay=0.0)
    np.testing.assert_allclose(new, [3.0 - 0.1 * 5.0, 4.0], rtol=1e-12)
    np.testing.assert_allclose((m[0], v[0]), (0.1, 0.001), rtol=1e-12)


@pytest.mark.parametrize(("p", "g"), [([0.0, 0.0], [1.0, 2.0]), ([1.0, 2.0], [0.0, 0.0])])
def test_trust_ratio_is_one_where_a_length_is_zero(p, g):
    p, g, zero = np.array(p), np.array(g), np.zeros(2)
    adapted, _, _ = lamb_update(np, p, g, zero, zero, lr=0.1, weight_decay=0.0)
    plain, _, _ = lamb_update(np, p, g, zero, zero, lr=0.1, weight_decay=0.0, adapt=False)
    np.testing.assert_array_equal(adapted, plain)


@pytest.mark.parametrize(("limit", "factor"), [(2.5, 0.5), (5.0, 1.0), (10.0, 1.0)])
def test_clip_by_global_norm(limit, factor):
    clipped, norm = clip_by_global_norm(np, [np.array([3.0]), np.array([[0.0], [4.0]])], limit)
    assert norm == 5.0
    np.testing.assert_array_equal(clipped[0], [3.0 * factor])
    np.testing.assert_array_equal(clipped[1], [[0.0], [4.0 * factor]])


def test_decay_agrees_with_the_parameter_table():
    config = AlbertConfig(
        num_hidden_groups=2, inner_group_num=2, num_hidden_layers=2, position_embedding_type="relative_key"
    )
    table = parameter_table(config, ForPreTraining().all_parts())
    wrong = [p.name for p in table.values() if p.decay != decays(p.name)]
    assert not wrong
    assert len({p.decay for p in table.values()}) == 2


def test_every_preset_has_a_recipe():
    assert RECIPES.keys() == PRESETS.keys()
    assert {r.total_steps for r in RECIPES.values()} == {125_000, 1_500_000, 3_000_000, 10_000_000}


@pytest.mark.parametrize(("length", "expected"), [(5, 1), (64, 10), (512, 77), (10, 2), (30, 4)])
def test_predictions_are_rounded_as_google_does(length, expected):
    assert PretrainingRecipe(max_predictions=None).predictions(length) == expected
    assert PretrainingRecipe().predictions(length) == min(20, expected)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_size", 0),
        ("sequence_length", 4),
        ("masking_probability", 0.0),
        ("masking_probability", 1.5),
        ("max_predictions", 0),
        ("learning_rate", -1.0),
        ("warmup_steps", -1),
        ("beta2", 1.0),
        ("optimizer", "sgd"),
        ("seed", True),
        ("seed", 2**32),
        ("batch_size", 2.5),
        ("warmup_steps", 1.5),
        ("learning_rate", "1e-3"),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("original", 1),
        ("max_predictions", 2.5),
    ],
)
def test_a_wrong_value_is_named(field, value):
    with pytest.raises(ValueError, match=f"^{field}: expected .*, got {re.escape(repr(value))}"):
        PretrainingRecipe(**{field: value})


def test_torch_optimizers_call_the_rules():
    torch = importlib.import_module("torch")
    from albert_torch.optim import make_optimizer

    rng = np.random.default_rng(1)
    start = {
        "dense.weight": rng.standard_normal((3, 2)),
        "LayerNorm.weight": rng.standard_normal(3),
        "dense.bias": np.zeros(3),
    }
    for kind, rule in (("lamb", lamb_update), ("adamw", adamw_update)):
        recipe = PretrainingRecipe(optimizer=kind, learning_rate=0.1)
        named = [(name, torch.nn.Parameter(torch.tensor(value))) for name, value in start.items()]
        optimizer = make_optimizer(recipe, named)
        expected = {name: (value, np.zeros_like(value), np.zeros_like(value)) for name, value in start.items()}
        for _ in range(3):
            for name, p in named:
                g = rng.standard_normal(p.shape)
                p.grad = torch.tensor(g)
                applies = decays(name)
                more = {"adapt": applies} if kind == "lamb" else {}
                old, m, v = expected[name]
                expected[name] = rule(np, old, g, m, v, lr=0.1, weight_decay=0.01 if applies else 0.0, **more)
            optimizer.step()
        for name, p in named:
            np.testing.assert_allclose(p.detach().numpy(), expected[name][0], rtol=1e-12)
