"""Narrow dtypes: no further from the float64 reference than transformers' PyTorch class with the same weights.

transformers 5 knows no relative positions, so they are absolute here. The three layouts are taken together: a head of
a few logits alone would compare one rounding with another.
"""

from __future__ import annotations

import functools
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from conftest import UNIT_ROUNDOFF_FLOAT32, Adapter

from albert_core.config import AlbertConfig
from albert_core.heads import HEADS
from albert_core.parity import GATE, LANES, ZERO_IN_THEORY, Case, rho
from albert_core.parity_suite import GROUPS, TINY, batch, drawn_state, labels_for, with_choices

TOGETHER = {head: pytest.mark.xdist_group(f"lanes of {head}") for head in HEADS}  # which share oracle and peer
NARROW = [lane for lane in LANES if "times_peer" in GATE[lane]]


@functools.cache
def cases(head: str, lane: str, layouts: tuple[str, ...] = tuple(GROUPS), rows: int = 64) -> list[Case]:
    found = []
    for groups in layouts:
        config = AlbertConfig(**TINY, **GROUPS[groups])
        inputs = batch(config, batch_size=rows, length=16)
        inputs = with_choices(inputs) if HEADS[head].signature.choices else inputs
        inputs |= labels_for(config, head, inputs)
        found.append(Case(head, config, drawn_state(config, head), inputs, lane))
    return found


def transformers_run(case: Case, backward: bool = False) -> dict[str, np.ndarray]:
    """What transformers' class gives in the same dtype, as NumPy: outputs, or the gradients of its loss."""
    import torch
    import transformers

    from albert_torch.base import from_numpy, to_numpy

    layout = {name: getattr(case.config, name) for name in ("num_hidden_groups", "inner_group_num")}
    config = transformers.AlbertConfig(**TINY, **layout, attn_implementation="eager")
    theirs = getattr(transformers, case.head)(config)
    prefix = "albert." if case.head == "AlbertModel" else ""
    theirs.load_state_dict({name.removeprefix(prefix): from_numpy(v) for name, v in case.state.items()})
    theirs = theirs.to(getattr(torch, case.lane)).eval()
    out = theirs(**{name: torch.from_numpy(value) for name, value in case.inputs.items()})
    if not backward:
        return {name: to_numpy(value) for name, value in out.items()}
    out.loss.backward()
    return {name: to_numpy(p.grad) for name, p in theirs.named_parameters() if p.grad is not None}


@functools.cache
def peer_errors(head: str, lane: str) -> dict[str, float]:
    return errors(cases(head, lane), [transformers_run(case) for case in cases(head, lane)])


def errors(cases: list[Case], outputs: list[dict[str, Any]]) -> dict[str, float]:
    """rho of each output over all cases together."""
    names = [name for name in outputs[0] if name != "loss"]
    together = lambda each: np.concatenate([np.asarray(x, np.float64).ravel() for x in each])  # noqa: E731
    return {n: rho(together(o[n] for o in outputs), together(c.oracle[n] for c in cases)) for n in names}


@pytest.mark.parametrize(
    ("head", "attention"),
    [
        pytest.param(head, attention, marks=TOGETHER[head])
        for head, attention in (*((head, "sdpa") for head in HEADS), ("AlbertForMaskedLM", "eager"))
    ],
)
@pytest.mark.parametrize("lane", NARROW)
def test_as_exact_as_transformers(backend: Adapter, lane: str, head: str, attention: str) -> None:
    mine = []
    for case in cases(head, lane):
        model = case.model(backend.name, backend.device, attn_implementation=attention)
        with backend.precision(lane):
            mine.append(backend.run(model, case.inputs))
    ours, theirs = errors(cases(head, lane), mine), peer_errors(head, lane)
    gate = GATE[lane]
    slack = 4 * UNIT_ROUNDOFF_FLOAT32 if lane == "float32" else 0.0
    assert ours.keys() == theirs.keys()
    for name, error in ours.items():
        bound = min(gate["times_peer"] * theirs[name] + slack, gate["forward"])
        assert error <= bound, f"{name}: rho {error:.3g} > {bound:.3g} (transformers {theirs[name]:.3g})"
    assert all(np.isfinite(out["loss"]) for out in mine if "loss" in out)


@functools.cache
def gradient_cases(head: str, lane: str) -> list[Case]:
    """Two batches: of one alone the roundings scatter by half of what they are."""
    return [case for rows in (8, 32) for case in cases(head, lane, ("2x2",), rows)]


def gradient_error(cases: list[Case], got: list[dict[str, np.ndarray]]) -> float:
    """Root mean square of the gradients' rho over all cases, without those that are zero in theory."""
    squares = []
    for case, found in zip(cases, got, strict=True):
        sizes = {name: np.abs(gradient).max() for name, gradient in case.gradients.items()}
        names = [name for name, size in sizes.items() if size > ZERO_IN_THEORY * max(sizes.values())]
        squares += [rho(found[name], case.gradients[name]) ** 2 for name in names]
    return float(np.sqrt(np.mean(squares)))


@functools.cache
def peer_gradient_error(head: str, lane: str) -> float:
    given = gradient_cases(head, lane)
    return gradient_error(given, [transformers_run(case, backward=True) for case in given])


@pytest.mark.parametrize("lane", NARROW)
@pytest.mark.parametrize("head", [pytest.param(head, marks=TOGETHER[head]) for head in HEADS if head != "AlbertModel"])
def test_gradients_as_exact_as_transformers(backend: Adapter, lane: str, head: str) -> None:
    given = gradient_cases(head, lane)
    with backend.precision(lane):
        got = [backend.gradients(case.model(backend.name, backend.device), case.inputs) for case in given]
    ours, theirs = gradient_error(given, got), peer_gradient_error(head, lane)
    assert ours <= min(GATE[lane]["times_peer"] * theirs, GATE[lane]["gradient"])


@pytest.mark.parametrize(
    ("lane", "bound"), [("float64", 1e-25), ("float32", 1e-11), ("bfloat16", 1e-3), ("float16", 1e-3)]
)
def test_probabilities(backend: Adapter, lane: str, bound: float) -> None:
    """Kullback-Leibler divergence from the reference's at the worst position; attention rows sum to one."""
    (case,) = cases("AlbertForMaskedLM", lane, ("3x1",), 8)
    with backend.precision(lane):
        got = backend.run(case.model(backend.name, backend.device), case.inputs, output_attentions=True)
    ours, theirs = (log_softmax(x.astype(np.float64)) for x in (got["logits"], case.oracle["logits"]))
    ratio = ours - theirs  # both sum to one, so that expm1 adds nothing but takes the first order away
    assert (np.exp(ours) * (ratio + np.expm1(-ratio))).sum(-1).max() <= bound
    unit = float(ml_dtypes.finfo(got["attentions"][0].dtype).eps) / 2
    for probabilities in got["attentions"]:
        assert np.abs(probabilities.astype(np.float64).sum(-1) - 1).max() <= 8 * unit


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))
