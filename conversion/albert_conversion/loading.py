"""What `from_pretrained` does with a folder that holds no safetensors."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Self

from albert_conversion.opened import open_checkpoint
from albert_conversion.plan import Plan, State
from albert_conversion.recognise import find_checkpoints
from albert_core.errors import NotFound
from albert_core.formats import FORMATS

__all__ = ["FOREIGN_FILES", "ForeignCheckpoint", "open_foreign"]

READABLE = ("bin", "h5", "msgpack")  # what transformers wrote, with a config.json beside it
FOREIGN_FILES = tuple(
    name for kind in READABLE for name in (FORMATS[kind].weights, f"{FORMATS[kind].weights}.index.json")
)


class ForeignCheckpoint(State):
    """Tensors under canonical names with the interface of `albert_core.safetensors_io.Checkpoint`.

    Attributes:
        path: The file that is read.
        integrity: "unverified": none of these formats has digests.
    """

    def __init__(self, plan: Plan, path: Path, close: Callable[[], object]) -> None:
        super().__init__(plan.state.entries)
        self.path, self.integrity, self.close = path, "unverified", close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_foreign(path: Path) -> ForeignCheckpoint | None:
    """Open a foreign checkpoint, or that of a folder; None when there is none of any format.

    Raises:
        NotFound: It is of a format that has to be converted first; the message gives the command.
        BackendMissing: The library that reads it is not installed.
        CheckpointError: It is malformed, unsafe or not that of an ALBERT.
    """
    found = find_checkpoints(path)
    if not found:
        return None
    if found[0].format not in READABLE:
        title, name = FORMATS[found[0].format].title, found[0].path.name
        hint = f"convert it with `albert convert {shlex.quote(str(path))} {shlex.quote(f'{path}-converted')}`"
        raise NotFound(path, None, f"holds no safetensors, but {title} ({name})", hint)
    opened = open_checkpoint(path)
    try:
        plan = Plan(opened.source, opened.config, None, opened.labels_known, opened.filled, any_head=True)
        return ForeignCheckpoint(plan, opened.source.path, opened.source.close)
    except BaseException:
        opened.source.close()
        raise
