"""Writing that is whole or not at all: temporary name, fsync, rename, fsync of the folder.

A reader, a kill or a full disk at any moment leaves either the old file or the new one.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from albert_core.errors import AlbertError, SaveError

__all__ = ["make_folder", "write_file", "write_folder"]


def write_file(path: str | Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Create or replace one file atomically and durably.

    A symbolic link stays and the file it points to is replaced. The mode is that of the replaced file, or follows the
    umask. A process that has the old file open or mapped keeps the old bytes.

    Args:
        path: The file; its folder must exist.
        content: The bytes, or a function that writes them into a seekable binary file.

    Raises:
        SaveError: The system refused (disk full, no permission, a folder in the way). No temporary file stays, and the
            old file is untouched, unless the very last step failed: then the new one is whole but may not outlive a
            power cut.
    """
    target = Path(os.path.realpath(path))
    with _os_errors_as_save_error(target):
        _write(target, content if callable(content) else lambda file: file.write(content))


def make_folder(path: str | Path) -> None:
    """Make a folder where there is none, and see whether it can be written into.

    Raises:
        SaveError: The system refused, or a file stands in its place.
    """
    target = Path(path)
    with _os_errors_as_save_error(target):
        target.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=target).close()


@contextmanager
def write_folder(path: str | Path) -> Iterator[Path]:
    """Yield a folder to write into with `write_file`.

    A new folder is built beside its place and renamed when the block ends, or removed when the block fails. An existing
    folder is yielded itself: its files are replaced one by one in the order they are written, so the file that names
    the others comes last. Of two who build one new folder at once the last to end counts as the first to write: what
    the other has stays, and what it has not is added.

    Raises:
        SaveError: The system refused, or a file stands in the folder's place.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        yield target
        return
    if target.exists():
        raise SaveError(target, None, "expected a folder or nothing, got a file")
    with _os_errors_as_save_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = _temporary(target)
        staging.mkdir()
    try:
        yield staging
        with _os_errors_as_save_error(target):
            _sync_tree(staging)
            _move(staging, target)
            _sync(target.parent)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _move(staging: Path, target: Path) -> None:
    """Rename a folder; into one that another writer has made meanwhile, what that one has not."""
    try:
        staging.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        for path in sorted(staging.iterdir(), key=lambda path: path.suffix == ".json"):  # an index names the others
            if not (target / path.name).exists():
                path.rename(target / path.name)
        shutil.rmtree(staging)
        _sync(target)


@contextmanager
def _os_errors_as_save_error(target: Path) -> Iterator[None]:
    try:
        yield
    except AlbertError:
        raise
    except OSError as error:
        raise SaveError(target, None, f"could not be written: {error.strerror or error}") from error


def _write(target: Path, writer: Callable[[BinaryIO], object]) -> None:
    temporary = _temporary(target)
    try:
        # 0o666 and not tempfile's 0o600: the kernel takes the umask off.
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with os.fdopen(descriptor, "w+b") as file:
            with suppress(FileNotFoundError):
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            writer(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(target.parent)


def _temporary(target: Path) -> Path:
    """A name beside `target` that no other writer has, hidden, and short enough for any file system."""
    return target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.tmp")


def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    """Fsync a file or folder; skipped where the system lets nobody open a folder (Windows)."""
    with suppress(PermissionError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
