"""The weights of a folder as one file of a usual name, or as shards and their index: replaced as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from pathlib import Path

from albert_core.atomic import write_file
from albert_core.errors import AlbertError, SaveError
from albert_core.shard_index import read_index

__all__ = ["remove", "replace_weights"]


def replace_weights(
    folder: Path,
    weights: str,
    shards: Sequence[Sequence[str]],
    write: Callable[[Path, Sequence[str]], object],
    total: int,
) -> None:
    """Write the weights of a checkpoint into an existing folder, and remove the files of the one that was there.

    The old checkpoint stays whole until the new one is: shards get names that are not taken, the file that a reader
    looks for is replaced last, and only then the old files go.

    Args:
        folder: An existing folder, see `albert_core.atomic.write_folder`.
        weights: The usual name of a single file, such as "model.safetensors"; that of an index follows from it.
        shards: The names of each file's tensors.
        write: Writes the tensors of some names into a file, atomically.
        total: Bytes of all tensors, as the index tells.

    Raises:
        SaveError: The system refused; the old checkpoint still loads and nothing of the new one stays.
    """
    old = _old_files(folder, weights)
    if len(shards) == 1:
        write(folder / weights, shards[0])
        remove(folder, old - {weights})
    else:
        files = dict(zip(_reserved_names(folder, weights, len(shards)), shards, strict=True))
        _write_shards(folder, weights, files, write, total)
        remove(folder, old - files.keys() - {_index(weights)})


def remove(folder: Path, names: Iterable[str]) -> None:
    """Remove files of a folder, an index before its shards; those that are not there are no error.

    Raises:
        SaveError: The system refused.
    """
    try:
        for name in sorted(names, key=lambda name: (not name.endswith(".json"), name)):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise SaveError(error.filename, None, f"the old file could not be removed: {error.strerror}") from error


def _index(weights: str) -> str:
    return f"{weights}.index.json"


def _reserved_names(folder: Path, weights: str, number: int) -> list[str]:
    """`model-00001-of-0000N.safetensors`; `model.2-…` and so on where a file of such a name is there already.

    The first is made here, empty, so that another writer at the same time takes other names.
    """
    stem, _, suffix = weights.partition(".")
    stems = (stem if generation == 1 else f"{stem}.{generation}" for generation in count(1))
    series = ([f"{stem}-{i:05}-of-{number:05}.{suffix}" for i in range(1, number + 1)] for stem in stems)
    return next(names for names in series if _reserve(folder, names))


def _reserve(folder: Path, names: list[str]) -> bool:
    if any((folder / name).exists() for name in names):
        return False
    try:
        (folder / names[0]).touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError as error:
        raise SaveError(folder / names[0], None, f"could not be written: {error.strerror}") from error
    return True


def _write_shards(
    folder: Path,
    weights: str,
    files: dict[str, Sequence[str]],
    write: Callable[[Path, Sequence[str]], object],
    total: int,
) -> None:
    weight_map = {name: file for file, names in files.items() for name in names}
    fields = {"metadata": {"total_size": total}, "weight_map": weight_map}
    index, text = folder / _index(weights), (json.dumps(fields, indent=2, sort_keys=True) + "\n").encode()
    try:
        for file, names in files.items():
            write(folder / file, names)
        write_file(index, text)
    except BaseException:
        written = index.exists() and index.read_bytes() == text  # only its fsync failed
        if not written:
            remove(folder, files.keys())
        elif (folder / weights).exists():  # the old file is still the one that counts
            remove(folder, {index.name, *files})
        raise


def _old_files(folder: Path, weights: str) -> set[str]:
    """Weight files of the checkpoint that is being replaced; an old index that cannot be trusted names none."""
    old = {name for name in (weights, _index(weights)) if (folder / name).exists()}
    try:
        shards = set(read_index(folder / _index(weights)).values()) if _index(weights) in old else set()
    except AlbertError:
        shards = set()
    return old | {name for name in shards if Path(name).suffix == Path(weights).suffix}
