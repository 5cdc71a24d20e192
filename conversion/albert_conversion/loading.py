"""What `from_pretrained` does with weights whose names or layouts are not those of PyTorch's classes."""

from __future__ import annotations

import shlex
from collections import defaultdict
from pathlib import Path
from typing import Self

from albert_conversion.plan import State
from albert_conversion.recognise import find_checkpoints, recognise
from albert_conversion.source import Source
from albert_core.config import CONFIG_NAME, AlbertConfig
from albert_core.errors import IntegrityError, NotFound
from albert_core.foreign_names import ignored, key_of, places
from albert_core.formats import FORMATS
from albert_core.heads import HEADS
from albert_core.strict_json import clip

__all__ = ["FOREIGN_FILES", "ForeignCheckpoint", "open_foreign"]

READABLE = ("bin", "h5", "msgpack")  # what transformers wrote, with a config.json beside it
FOREIGN_FILES = tuple(
    name for kind in READABLE for name in (FORMATS[kind].weights, f"{FORMATS[kind].weights}.index.json")
)


class ForeignCheckpoint(State):
    """Tensors under canonical names with the interface of `albert_core.safetensors_io.Checkpoint`.

    Attributes:
        path: The file that is read.
        integrity: "unverified", but for safetensors with digests.
    """

    def __init__(self, source: Source, config: AlbertConfig) -> None:
        layout = _layout(source, config)
        super().__init__(State(source.tensors).renamed(layout).entries)
        self.path, self.integrity, self.close = source.path, source.integrity, source.close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_foreign(path: Path, config: AlbertConfig | None = None) -> ForeignCheckpoint | None:
    """Open a foreign checkpoint, or that of a folder; None when there is none of any format.

    Which tensors a model needs is not judged here but where safetensors are, by `albert_core.load_plan`.

    Args:
        path: A file or a folder.
        config: The model's config; None reads the one beside the weights.

    Raises:
        NotFound: It is of a format that has to be converted first; the message gives the command.
        BackendMissing: The library that reads it is not installed.
        CheckpointError: It is malformed or unsafe.
    """
    if not find_checkpoints(path):
        return None
    found = recognise(path)
    if found.format not in (*READABLE, "safetensors"):
        title, name = FORMATS[found.format].title, found.path.name
        hint = f"convert it with `albert convert {shlex.quote(str(path))} {shlex.quote(f'{path}-converted')}`"
        raise NotFound(path, None, f"holds no safetensors, but {title} ({name})", hint)
    config = config or AlbertConfig.from_json_file(found.path.parent / CONFIG_NAME)
    source = found.open(found.path)
    try:
        return ForeignCheckpoint(source, config)
    except BaseException:
        source.close()
        raise


def _layout(source: Source, config: AlbertConfig) -> dict[str, tuple[str, bool, tuple[int, ...]]]:
    """Canonical name -> the source's own, whether to transpose, and shape; what no class has keeps its name.

    Raises:
        IntegrityError: Two tensors for one parameter differ.
    """
    scheme = source.scheme
    known = {
        place.name: (name, rank, place)
        for head in HEADS.values()
        for name, several in places(scheme, config, head.all_parts(True)).items()
        for rank, place in enumerate(several)
    }
    found, layout = defaultdict(list), {}
    for raw in source:
        key = None if scheme == "torch" else key_of(scheme, known, raw)  # whose names are the canonical ones
        if key is not None:
            name, rank, place = known[key]
            found[name].append((rank, raw, place))
        elif ignored(scheme, raw) is None:
            layout[raw] = (raw, False, source.shape(raw))
    for name, several in found.items():
        (_, raw, place), *copies = sorted(several, key=lambda each: each[0])
        for _, copy, other in copies:
            if other.decides and not source.same(raw, copy):
                raise IntegrityError(source.path, clip(copy), f"differs from {clip(raw)}, to which it is tied")
        shape = source.shape(raw)
        layout[name] = (raw, place.transposed, shape[::-1] if place.transposed else shape)
    return layout
