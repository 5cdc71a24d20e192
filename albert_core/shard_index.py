"""`model.safetensors.index.json`: which shard holds which tensor, and whether the shards agree."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from albert_core.errors import FormatError, MissingKeys, NotFound, ResourceLimit, UnsafeContent
from albert_core.sniff import looks_like
from albert_core.strict_json import clip, parse_object

__all__ = ["INDEX_NAME", "WEIGHTS_NAME", "check_shards", "read_index", "stays_inside", "variants_in", "weight_names"]

WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
MAX_INDEX = 100_000_000  # bytes, as for a header
MAX_NAME = 255  # bytes of a file name on every common file system
_SHOWN = 10  # problems that one message lists
_VARIANT = re.compile(r"model\.(\w+)\.safetensors|model\.safetensors\.index\.(\w+)\.json")


def weight_names(variant: str | None = None) -> tuple[str, str]:
    """What the one file and the index are called; a variant stands before the last suffix, as in transformers."""
    names = (WEIGHTS_NAME, INDEX_NAME)
    one, index = (f".{variant}.".join(name.rsplit(".", 1)) for name in names) if variant else names
    return one, index


def variants_in(folder: Path) -> list[str]:
    """The variants of weights that a folder holds."""
    found = (_VARIANT.fullmatch(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted({match[1] or match[2] for match in found if match})


def read_index(path: str | Path) -> dict[str, str]:
    """Read an index and check every name in it; no shard is opened.

    Args:
        path: The index; shards lie in its folder.

    Returns:
        The shard's file name by tensor name.

    Raises:
        NotFound: It may not be read.
        FormatError: It is no index: not JSON, no `weight_map`, a name that is no string.
        ResourceLimit: It is larger than any index.
        UnsafeContent: A shard is not a plain file name, or is a link that leaves the folder.
    """
    path = Path(path)
    weight_map = _weight_map(path)
    _refuse_unsafe(path, weight_map)
    return weight_map


def _weight_map(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise FormatError(path, None, "expected an index file, got a folder or a device")
    if (size := path.stat().st_size) > MAX_INDEX:
        raise ResourceLimit(path, None, f"expected an index of at most {MAX_INDEX} bytes, got {size}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotFound(path, None, f"could not be opened: {error.strerror}") from error
    if not data.lstrip().startswith(b"{") and (found := looks_like(data[:100])) is not None:
        raise FormatError(path, None, f"expected an index in JSON, got {found[0]}", found[1])
    weight_map: Any = parse_object(data, path, "index").get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise FormatError(path, "weight_map", f"expected a map of tensors to files, got {clip(repr(weight_map))}")
    wrong = [f"{clip(k)!r}: {clip(repr(v))}" for k, v in weight_map.items() if not isinstance(v, str)]
    if wrong:
        raise FormatError(path, "weight_map", f"expected file names, got {_list(wrong)}")
    return weight_map


def _refuse_unsafe(path: Path, weight_map: Mapping[str, str]) -> None:
    shards = set(weight_map.values())
    unsafe = {shard for shard in shards if not _is_plain_name(shard) or not stays_inside(path.parent, shard)}
    faults = [(name, shard) for name, shard in weight_map.items() if shard in unsafe]
    if faults:
        listed = _list([f"{clip(name)!r} is in {clip(shard)!r}" for name, shard in faults])
        reason = f"weight_map: expected plain names of files inside of the folder, but {listed}"
        raise UnsafeContent(path, clip(faults[0][0]), reason, "no file was opened")


def _is_plain_name(name: str) -> bool:
    """Whether `name` can only mean a file in the folder itself, on any system."""
    harmless = not any(c in "/\\:" or ord(c) < 32 for c in name)
    return harmless and name not in ("", ".", "..") and len(name.encode()) <= MAX_NAME


def stays_inside(folder: Path, name: str) -> bool:
    """Whether a file is, after all links, in its folder, or where the hub's cache keeps what its links mean.

    The cache's layout is REPO/snapshots/COMMIT/... -> REPO/blobs/..., whose entries may be links into a store beside
    REPO.
    """
    root = Path(os.path.realpath(folder))
    roots = [root]
    for parent in root.parents:
        if parent.name == "snapshots" and parent.parent.name.startswith("models--"):
            roots += [parent.parent / "blobs", parent.parent.parent / "blobs"]
    target = Path(os.path.realpath(folder / name))
    return any(target.is_relative_to(allowed) for allowed in roots)


def check_shards(path: Path, weight_map: Mapping[str, str], shards: Mapping[str, Collection[str]]) -> None:
    """Hold the index against the names that each existing shard holds; raise one error for all differences.

    Raises:
        MissingKeys: Shards, or tensors of a shard, are not there.
        FormatError: A shard holds a tensor that the index does not name, or names elsewhere; wins over MissingKeys.
    """
    absent = sorted(set(weight_map.values()) - shards.keys())
    missing = [name for name, shard in weight_map.items() if shard not in shards or name not in shards[shard]]
    lost = [f"{clip(n)!r} is not in {weight_map[n]}" for n in missing if weight_map[n] in shards]
    extra = [
        f"{clip(name)!r} is in {shard}, the map says {weight_map.get(name, 'nothing of it')}"
        for shard, names in shards.items()
        for name in names
        if weight_map.get(name) != shard
    ]
    parts = [f"the shard {shard} is missing" for shard in absent] + lost
    if extra:
        raise FormatError(path, None, f"weight_map: {_list(extra + parts)}")
    if missing:
        raise MissingKeys(path, clip(missing[0]), f"weight_map: {_list(parts)}", keys=missing)


def _list(problems: list[str]) -> str:
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return "; ".join(problems[:_SHOWN]) + more
