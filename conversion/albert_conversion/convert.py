"""One checkpoint into another format: plan, refuse what would be lost, write, report."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from albert_conversion import google_config, keras_h5
from albert_conversion.opened import HUB_TOKENIZER_FILES, TOKENIZER_FILES, Opened, open_checkpoint, read_small
from albert_conversion.plan import PROJECTION, Line, Plan, State
from albert_conversion.recognise import taken_before
from albert_conversion.source import Stored
from albert_conversion.writers import WRITERS, Model
from albert_core.atomic import write_file, write_folder
from albert_core.config import CONFIG_NAME, AlbertConfig
from albert_core.dtypes import DTYPES, dtype_by_name
from albert_core.errors import FormatError
from albert_core.formats import FORMATS, SIDECAR_NAME, Format, losses
from albert_core.heads import HEADS
from albert_core.parameters import POOLER_PART, parameter_table

__all__ = ["Report", "convert", "plan_of"]

Progress = Callable[[str, int], None]


@dataclass
class Report:
    """What a conversion did, or would do.

    Attributes:
        source: The file that was read.
        source_format: Its format.
        integrity: "verified" where checksums were held against every tensor, else "unverified".
        target: The folder that was written.
        target_format: Its format.
        head: The class name.
        dtype: The dtypes written, sorted.
        lines: What became of every tensor.
        lost: What the target cannot hold and was left out (`allow_loss`).
        remarks: What the readers of either format compute a little differently.
        files: Names of the other files that were written.
        others: Further checkpoints of the source's folder, which were not read.
        taken_before: Checkpoints of the target's folder that whoever opens the folder reads instead of this one.
        written: False for a dry run.
    """

    source: str
    source_format: str
    integrity: str
    target: str
    target_format: str
    head: str
    dtype: list[str]
    lines: list[Line]
    lost: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    taken_before: list[str] = field(default_factory=list)
    written: bool = False


def plan_of(opened: Opened, head: str | None = None) -> Plan:
    """The plan for an opened source.

    Args:
        opened: The source.
        head: A class name; None to find it by its tensors.

    Raises:
        CheckpointError: As `Plan`.
        ValueError: There is no such class.
    """
    if head is not None and head not in HEADS:
        raise ValueError(f"head: expected auto or one of {', '.join(HEADS)}, got {head!r}")
    return Plan(opened.source, opened.config, head, opened.labels_known, opened.filled)


def convert(
    source: str | Path,
    target: str | Path,
    to: str = "safetensors",
    *,
    head: str | None = None,
    dtype: str | None = None,
    config: str | Path | None = None,
    allow_loss: bool = False,
    dry_run: bool = False,
    max_shard_size: int | str = "5GB",
    progress: Progress = lambda name, nbytes: None,
) -> Report:
    """Convert a checkpoint.

    Args:
        source: A file, a folder, or the prefix of a TensorFlow checkpoint.
        target: A folder; a new one appears whole, in an existing one each file is replaced atomically.
        to: A name of `albert_core.formats.FORMATS`.
        head: A class name such as "AlbertForQuestionAnswering"; None to find it by the tensors.
        dtype: Convert values to this dtype; None keeps every tensor's own.
        config: A config file, or a published model's name, to use instead of the config beside the source.
        allow_loss: Leave out what the target cannot hold instead of refusing.
        dry_run: Plan and report, write nothing.
        max_shard_size: Most bytes in one file, where the format has shards.
        progress: Called with each tensor's name and bytes when it has been read.

    Raises:
        CheckpointError: The source is not a complete, intact, safe checkpoint of an ALBERT; see its subclasses.
        FormatError: The target cannot hold all of it; the message lists what would be lost.
        BackendMissing: A library of the convert extra is not installed.
        ValueError: There is no such format, class or dtype.
        SaveError: The system refused; nothing half-written stays.
    """
    if to not in WRITERS:
        raise ValueError(f"to: expected one of {', '.join(WRITERS)}, got {to!r}")
    cast = DTYPES[dtype_by_name(dtype)] if dtype is not None else None
    with open_checkpoint(Path(source), config) as opened:
        plan = plan_of(opened, head)
        state = _watched(_cast(plan.state, cast, opened.source.path), progress)
        model = Model(plan.config, plan.head, plan.pooling, state, max_shard_size)
        model, lost = _fitted(model, FORMATS[to], opened, allow_loss)
        report = _report(opened, plan, model, Path(target), to, lost)
        if not dry_run:
            report.files = _write(Path(target), to, model, opened)
            report.written = True
        return report


# -- what a format cannot hold -------------------------------------------------------------------------------------


def _fitted(model: Model, target: Format, opened: Opened, allow_loss: bool) -> tuple[Model, list[str]]:
    """The model cut down to what a format holds, and what was cut."""
    model = _completed(model, target)
    dtypes = sorted({model.state.dtype(name).name for name in model.state})
    lost = [loss for dtype in dtypes for loss in losses(target, model.config, model.head, dtype)]
    model, projection = _without_identity(model, target)
    lost = list(dict.fromkeys(lost + projection))
    if not lost:
        return model, lost
    if not allow_loss:
        reason = f"{target.title} cannot hold {'; '.join(lost)}"
        hint = "--allow-loss leaves it out" + (", --dtype float32 keeps the values" if "the dtype" in reason else "")
        raise FormatError(opened.source.path, None, reason, hint)
    return _cut(model, target), lost


def _completed(model: Model, target: Format) -> Model:
    """With a pooler of zeros where the format demands one and the model has none; a sidecar says so."""
    if target.name != "keras-hub" or model.pooling:
        return model
    dtype, zeros = DTYPES[dtype_of(model)], {}
    for name, p in parameter_table(model.config, (POOLER_PART,)).items():
        zeros[name] = Stored(dtype, p.shape, partial(np.zeros, p.shape, dtype))
    return replace(model, pooling=True, state=State({**model.state.entries, **zeros}), filled=tuple(zeros))


def _without_identity(model: Model, target: Format) -> tuple[Model, list[str]]:
    """Where E == H Google's graph has no projection: the identity is left out, and any other is a loss."""
    if target.scheme != "tf1" or model.config.embedding_size != model.config.hidden_size:
        return model, []
    weight, bias = (model.state[PROJECTION + leaf] for leaf in ("weight", "bias"))
    if weight.tobytes() != np.eye(len(weight)).astype(weight.dtype).tobytes() or np.any(bias.view(np.uint8)):
        return model, ["the projection between equal widths, which its readers have not"]
    kept = {name: stored for name, stored in model.state.entries.items() if not name.startswith(PROJECTION)}
    return replace(model, state=State(kept)), []


def _cut(model: Model, target: Format) -> Model:
    head, config = model.head, model.config
    if head not in target.heads:
        head = "AlbertModel"
    if config.position_embedding_type != "absolute" and not target.relative_positions:
        config = config.replace(position_embedding_type="absolute")
    kept = {n for n, p in parameter_table(config, HEADS[head].all_parts(model.pooling)).items() if n in model.state}
    state = State({n: _entry(model.state, n, target) for n in model.state if n in kept})
    pooling = any(p.part == POOLER_PART for n, p in parameter_table(config, (POOLER_PART,)).items() if n in kept)
    return replace(model, config=config, head=head, pooling=pooling, state=state)


def _entry(state: State, name: str, target: Format) -> Stored:
    """An array in its own dtype, or in float32 where the format has no such dtype."""
    dtype = state.dtype(name)
    held = dtype if dtype.name in target.dtypes else np.dtype(np.float32)
    return Stored(held, state.shape(name), lambda: state[name].astype(held, copy=False))


def _cast(state: State, dtype: np.dtype | None, path: Path) -> State:
    """Every array in another dtype; values that are too large for it are an error, not an infinity."""
    if dtype is None:
        return state

    def read(name: str) -> np.ndarray:
        array = state[name]
        with np.errstate(invalid="ignore", over="ignore"):
            cast = array.astype(dtype, copy=False)
            lost = int(np.isfinite(array).sum() - np.isfinite(cast).sum())
        if lost:
            raise FormatError(path, name, f"expected values that fit {dtype.name}, got {lost} too large for it")
        return cast

    return State({n: Stored(dtype, state.shape(n), partial(read, n)) for n in state})


def _watched(state: State, progress: Progress) -> State:
    def read(name: str) -> np.ndarray:
        array = state[name]
        progress(name, array.nbytes)
        return array

    return State({n: Stored(state.dtype(n), state.shape(n), partial(read, n)) for n in state})


# -- writing -------------------------------------------------------------------------------------------------------


def _write(target: Path, to: str, model: Model, opened: Opened) -> list[str]:
    texts = _texts(to, model, opened)
    with write_folder(target) as folder:
        WRITERS[to](folder, model)
        for name, content in texts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_file(folder / name, content)
    return sorted(texts)


def _texts(to: str, model: Model, opened: Opened) -> dict[str, bytes]:
    """Config and tokenizer files under the names the target's users look for."""
    config = described(model)
    texts = {name: read_small(path) for name, path in opened.files.items()}
    if FORMATS[to].whole_config:
        return {**texts, CONFIG_NAME: config.to_json_string().encode()}
    sidecar = {"config": config.to_dict(), "filled": list(model.filled)}
    texts[SIDECAR_NAME] = (json.dumps(sidecar, indent=2, sort_keys=True) + "\n").encode()
    if to == "tf1":
        google = {TOKENIZER_FILES.get(name, name): text for name, text in texts.items()}
        return {**google, google_config.NAME: google_config.google_json(config)}
    hub = {HUB_TOKENIZER_FILES.get(name, name): text for name, text in texts.items()}
    files = keras_h5.keras_hub_json(config, model.head, dtype_of(model))
    return {**hub, **keras_h5.hub_tokenizer("spiece.model" in texts), **files}


def dtype_of(model: Model) -> str:
    """The dtype of a model's arrays; float32 where they have several."""
    names = {model.state.dtype(name).name for name in model.state}
    return names.pop() if len(names) == 1 else "float32"


def described(model: Model) -> AlbertConfig:
    """The config with the keys by which a reader knows the class and the dtype."""
    key = "dtype" if "dtype" in model.config.extra else "torch_dtype"  # transformers changed the name
    return model.config.replace(extra={**model.config.extra, "architectures": [model.head], key: dtype_of(model)})


def _report(opened: Opened, plan: Plan, model: Model, target: Path, to: str, lost: list[str]) -> Report:
    source = opened.source
    return Report(
        source=str(source.path),
        source_format=source.format.name,
        integrity=source.integrity,
        target=str(target),
        target_format=to,
        head=model.head,
        dtype=sorted({model.state.dtype(name).name for name in model.state}),
        lines=plan.lines,
        lost=lost,
        remarks=[f.remarks[model.head] for f in (source.format, FORMATS[to]) if model.head in f.remarks],
        others=[str(found.path) for found in opened.others],
        taken_before=[str(found.path) for found in taken_before(target, to)],
    )
