"""Two checkpoints of any formats against each other: every tensor, then what both compute on text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from albert_conversion.convert import plan_of
from albert_conversion.opened import Opened, open_checkpoint
from albert_conversion.plan import Plan
from albert_core import reference
from albert_core.config import AlbertConfig

__all__ = ["TEXTS", "Difference", "Verified", "verify"]

TEXTS = (
    "Plants create [MASK] through a process known as photosynthesis.",
    "The cell is the basic unit of [MASK]; the first cells arose more than three billion years ago, in water.",
)
_ARITHMETIC = "hidden_act layer_norm_eps position_embedding_type num_hidden_layers num_attention_heads".split()
_LONGEST = 48  # pieces of a text that are run


@dataclass(frozen=True)
class Difference:
    """Something that is not the same in both.

    Attributes:
        name: A tensor's canonical name, a config field, or an output field.
        reason: What differs.
    """

    name: str
    reason: str


@dataclass
class Verified:
    """The result.

    Attributes:
        first: The first file.
        second: The second file.
        head: The class both were run as.
        tensors: How many tensors were compared.
        outputs: Largest absolute difference of every output field on the texts; empty when the models cannot be run
            side by side.
        differences: What is not the same; empty when the checkpoints are the same model.
    """

    first: str
    second: str
    head: str
    tensors: int = 0
    outputs: dict[str, float] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)


def verify(
    first: str | Path,
    second: str | Path,
    head: str | None = None,
    configs: tuple[str | Path | None, str | Path | None] = (None, None),
    texts: tuple[str, ...] = TEXTS,
) -> Verified:
    """Compare two checkpoints byte by byte and by what the reference computes with them, in float32.

    Args:
        first: A checkpoint of any format.
        second: Another.
        head: The class to read both as; None to find it by the tensors of each.
        configs: Configs to use instead of those beside the checkpoints.
        texts: What both are run on.

    Raises:
        CheckpointError: One of them is not a complete, intact, safe checkpoint of an ALBERT.
    """
    with open_checkpoint(Path(first), configs[0]) as a, open_checkpoint(Path(second), configs[1]) as b:
        one, two = plan_of(a, head), plan_of(b, head)
        result = Verified(str(a.source.path), str(b.source.path), one.head)
        if one.head != two.head:
            result.differences.append(Difference("head", f"{one.head} against {two.head}"))
        result.differences += _config_differences(one.config, two.config)
        result.differences += _tensor_differences(one, two, result)
        if one.head == two.head and one.pooling == two.pooling:
            result.outputs = _output_differences(one, two, _inputs((one, two), (a, b), texts))
            result.differences += [Difference(n, f"differs by {d:.3g}") for n, d in result.outputs.items() if d]
        return result


def _config_differences(one: AlbertConfig, two: AlbertConfig) -> list[Difference]:
    pairs = ((name, getattr(one, name), getattr(two, name)) for name in _ARITHMETIC)
    return [Difference(name, f"{mine!r} against {theirs!r}") for name, mine, theirs in pairs if mine != theirs]


def _tensor_differences(one: Plan, two: Plan, result: Verified) -> list[Difference]:
    found = []
    for name in sorted({*one.state, *two.state}):
        if name not in one.state or name not in two.state:
            found.append(Difference(name, f"only in the {'first' if name in one.state else 'second'}"))
            continue
        result.tensors += 1
        if reason := _different(one.state[name], two.state[name]):
            found.append(Difference(name, reason))
    return found


def _different(mine: np.ndarray, theirs: np.ndarray) -> str:
    if (mine.dtype, mine.shape) != (theirs.dtype, theirs.shape):
        return f"{mine.dtype} {list(mine.shape)} against {theirs.dtype} {list(theirs.shape)}"
    if mine.tobytes() == theirs.tobytes():
        return ""
    raw = [np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}") for array in (mine, theirs)]
    with np.errstate(invalid="ignore"):
        largest = np.nanmax(np.abs(mine.astype(np.float64) - theirs.astype(np.float64)), initial=0.0)
    return f"{int((raw[0] != raw[1]).sum())} of {mine.size} values differ, by up to {largest:.3g}"


def _inputs(plans: tuple[Plan, Plan], opened: tuple[Opened, Opened], texts: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The texts, one padded, as ids below both vocabularies; the first tokenizer that lies beside a checkpoint."""
    from albert_core.hub import BUNDLED_MODEL, locate
    from albert_core.tokenizer import AlbertTokenizer

    beside = (o.files["spiece.model"] for o in opened if "spiece.model" in o.files)
    path = next((file.parent for file in beside if file.name == "spiece.model"), locate(BUNDLED_MODEL).folder)
    tokenizer = AlbertTokenizer.from_pretrained(path or BUNDLED_MODEL)
    length = min(_LONGEST, *(plan.config.max_position_embeddings for plan in plans))
    encoded = tokenizer(list(texts), padding=True, truncation=True, max_length=length, return_tensors="np")
    inputs = {name: np.asarray(values) for name, values in encoded.items()}
    inputs["input_ids"] = inputs["input_ids"] % min(plan.config.vocab_size for plan in plans)
    if plans[0].head == "AlbertForMultipleChoice":
        inputs = {name: values[None] for name, values in inputs.items()}
    return inputs


def _output_differences(one: Plan, two: Plan, inputs: Mapping[str, np.ndarray]) -> dict[str, float]:
    mine, theirs = (_run(plan, inputs) for plan in (one, two))
    found = {}
    for name in mine:
        if mine[name].shape != theirs[name].shape:
            found[name] = float("inf")
        elif mine[name].tobytes() != theirs[name].tobytes():
            with np.errstate(invalid="ignore"):
                difference = np.abs(mine[name] - theirs[name])
            found[name] = float(np.nanmax(difference, initial=0.0)) or float("nan")  # NaN against a number
        else:
            found[name] = 0.0
    return found


def _run(plan: Plan, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    state = {name: plan.state[name].astype(np.float32) for name in plan.state}
    with np.errstate(all="ignore"):  # a model may hold NaN or overflow; that is compared, not judged
        outputs = reference.forward(plan.config, state, inputs, plan.head, plan.pooling)
    return {name: np.asarray(value) for name, value in outputs.items() if not isinstance(value, tuple)}
