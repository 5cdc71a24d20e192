"""Where the files of a model come from: a folder, the bundled model, or the hub.

The hub is reached through huggingface_hub, which is imported only when a hub model is asked for. It compares the sizes
of what it downloads over HTTP but not the contents; `_verify` does.
"""

from __future__ import annotations

import hashlib
import os
import re
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albert_core.errors import DownloadError, NotFound
from albert_core.safetensors_io import Checkpoint, read_checkpoint
from albert_core.shard_index import read_index, variants_in, weight_names
from albert_core.strict_json import clip

if TYPE_CHECKING:
    from albert_core.config import AlbertConfig

__all__ = ["BUNDLED_MODEL", "Source", "locate"]

BUNDLED_MODEL = "albert-openstax"
_BUNDLED_FOLDER = Path(__file__).parent / "bundled"
_ORGANISATION = "albert"  # what a name without an organisation belongs to
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_SHA256 = re.compile("[0-9a-f]{64}")


class Source(ABC):
    """One model's files, wherever they lie.

    Attributes:
        name: What the user asked for, with the organisation where that was left out.
        kind: "folder", "bundled" or "hub".
        folder: The folder, or None for a hub model.
    """

    kind: str
    name: str
    folder: Path | None = None

    @abstractmethod
    def file(self, filename: str) -> Path | None:
        """The path of one file, downloaded where needed; None when this model has no such file.

        Raises:
            NotFound: The hub has no such model or revision.
            DownloadError: It cannot be had: offline, gated, refused, or damaged on the way.
        """

    @abstractmethod
    def checkpoint(self, variant: str | None = None, config: AlbertConfig | None = None) -> Checkpoint:
        """The weights, downloaded where needed.

        Args:
            variant: Those of a variant, for which see `read_checkpoint`.
            config: The model's config, by which tensors of older formats are told; None reads the one beside them.

        Raises:
            NotFound, DownloadError: As `file`, or there are no weights in safetensors format.
            CheckpointError: They are malformed, unsafe or incomplete; see `read_checkpoint`.
        """


class _Folder(Source):
    def __init__(self, name: str, kind: str, folder: Path) -> None:
        self.name, self.kind, self.folder = name, kind, folder
        self._files = folder

    def file(self, filename: str) -> Path | None:
        path = self._files / filename
        return path if path.is_file() else None

    def checkpoint(self, variant: str | None = None, config: AlbertConfig | None = None) -> Checkpoint:
        there = any((self._files / name).exists() for name in weight_names(variant))
        if not (there or variant or variants_in(self._files)):
            from albert_conversion.loading import open_foreign

            if (foreign := open_foreign(self._files, config)) is not None:
                return foreign  # type: ignore[return-value]  # the same interface
        return _with_our_names(read_checkpoint(self._files, variant), config)


class _Hub(Source):
    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self.name, self.kind, self._options = name, "hub", options
        self._offline = False
        revision = f" --revision {options['revision']}" if options["revision"] else ""
        self._command = f"hf download {name}{revision}"
        self._retry = f"when online, run `{self._command}`"

    def file(self, filename: str) -> Path | None:
        path = self._download(filename)
        if path is not None:
            _verify(path, f"{self.name}/{filename}")
        return path

    def checkpoint(self, variant: str | None = None, config: AlbertConfig | None = None) -> Checkpoint:
        one, several = weight_names(variant)
        if (weights := self.file(one)) is not None:
            return _with_our_names(read_checkpoint(weights.parent, variant), config)
        if (index := self.file(several)) is not None:
            for shard in sorted(set(read_index(index).values())):
                self.file(shard)
            return _with_our_names(read_checkpoint(index.parent, variant), config)
        if variant is None and (foreign := self._foreign(config)) is not None:
            return foreign
        if self._offline:
            raise self._unreachable(one, None)
        hint = f"to convert other weights: `{self._command} --local-dir SOURCE`, then `albert convert SOURCE DEST`"
        raise NotFound(self.name, None, f"has neither {one} nor {several} on the hub", hint)

    def _foreign(self, config: AlbertConfig | None) -> Checkpoint | None:
        """Weights of older releases of transformers, which are read as they are."""
        from albert_conversion.loading import FOREIGN_FILES, open_foreign

        for name in FOREIGN_FILES:
            if (path := self.file(name)) is None:
                continue
            for shard in sorted(set(read_index(path).values())) if path.suffix == ".json" else ():
                self.file(shard)
            self.file("config.json")
            return open_foreign(path, config)  # type: ignore[return-value]  # the same interface
        return None

    def _download(self, filename: str) -> Path | None:
        from huggingface_hub import errors, hf_hub_download

        endpoint = os.environ.get("HF_ENDPOINT") or None  # huggingface_hub itself reads it once, when imported
        try:
            return Path(hf_hub_download(self.name, filename, endpoint=endpoint, **self._options))
        except errors.GatedRepoError:
            hint = f"accept its conditions on its hub page, then `hf auth login` (or pass token=), `{self._command}`"
            raise DownloadError(self.name, filename, "a refusal: access to this model is gated", hint) from None
        except errors.RepositoryNotFoundError:
            hint = "check the name; a private model needs `hf auth login` or token="
            raise NotFound(self.name, None, "is neither a folder nor a model on the hub", hint) from None
        except errors.RevisionNotFoundError:
            revision = self._options["revision"]
            raise NotFound(self.name, None, f"has no revision {revision!r} on the hub") from None
        except errors.LocalEntryNotFoundError as error:
            self._offline = True
            if self._in_cache():
                return None
            raise self._unreachable(filename, error.__cause__) from error
        except errors.EntryNotFoundError:
            return None
        except errors.HFValidationError as error:
            raise NotFound(self.name, None, f"is neither a folder nor a hub id: {error}") from None
        except Exception as error:  # the HTTP library behind huggingface_hub differs from version to version
            raise DownloadError(self.name, filename, f"{type(error).__name__}: {error}", self._retry) from error

    def _in_cache(self) -> bool:
        """Whether this revision was downloaded before, so that a file that is not there is one the model has not."""
        from huggingface_hub import try_to_load_from_cache

        path = "/".join(filter(None, [self._options["subfolder"], "config.json"]))
        where = {key: self._options[key] for key in ("cache_dir", "revision")}
        return isinstance(try_to_load_from_cache(self.name, path, **where), str)

    def _unreachable(self, filename: str, cause: BaseException | None) -> DownloadError:
        got = "neither a folder of this name, a cached file nor a connection to the hub" + (
            f": {clip(str(cause))}" if cause else ""
        )
        return DownloadError(self.name, filename, got, self._retry)


def locate(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    subfolder: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Source:
    """Find a model by folder, by the bundled model's name, or by hub id, in this order.

    Args:
        name_or_path: Where or what it is. A name without an organisation means `albert/<name>` on the hub.
        revision: Branch, tag or commit of a hub model.
        subfolder: The folder inside of the model's that holds the files.
        cache_dir: Where hub files are kept, if not in huggingface_hub's usual place.
        token: Hub token, or True for the one that is logged in.
        local_files_only: Never use the network.
        force_download: Download even what is cached.

    Raises:
        NotFound: A path that is no folder. Whether a hub model exists shows when its first file is asked for.
        ValueError: `local_files_only` and `force_download` contradict each other.
    """
    if local_files_only and force_download:
        raise ValueError("local_files_only=True and force_download=True contradict each other")
    name = os.fspath(name_or_path)
    path = Path(name).expanduser()
    if name and os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
        return _folder(name, "folder", path, subfolder)
    if name == BUNDLED_MODEL:
        return _folder(name, "bundled", _BUNDLED_FOLDER / name, None)
    hub_id = name if "/" in name else f"{_ORGANISATION}/{name}"
    if isinstance(name_or_path, Path) or path.is_absolute() or name[:1] in (".", "~") or not _HUB_ID.fullmatch(hub_id):
        kind = "got a file" if os.path.isfile(path) else "there is none"  # noqa: PTH113 - as above
        raise NotFound(name, None, f"expected a folder, {kind}")
    options = {"revision": revision, "subfolder": subfolder, "cache_dir": cache_dir, "token": token}
    return _Hub(hub_id, options | {"local_files_only": local_files_only, "force_download": force_download})


def _with_our_names(checkpoint: Checkpoint, config: AlbertConfig | None) -> Checkpoint:
    """What transformers 4's TensorFlow and Flax classes wrote is read as their other files are."""
    if checkpoint.layout not in ("tf", "flax"):
        return checkpoint
    from albert_conversion.loading import open_foreign

    checkpoint.close()
    return open_foreign(checkpoint.path, config)  # type: ignore[return-value]  # the same interface


def _folder(name: str, kind: str, folder: Path, subfolder: str | None) -> Source:
    folder = folder / (subfolder or "")
    if not folder.is_dir():
        raise NotFound(folder, None, "expected a folder, there is none")
    return _Folder(name, kind, folder)


def _verify(path: Path, url: str) -> None:
    """Hold a cached file against its sha256, which is the name of its blob where the hub told one; drop what differs.

    Raises:
        DownloadError: The contents are not those that the hub promised.
    """
    if not path.is_symlink() or not _SHA256.fullmatch(want := path.readlink().name):
        return
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != want:
        with suppress(OSError):  # a cache may be read-only
            (path.parent / path.readlink()).unlink()
            path.unlink()
        raise DownloadError(
            url, f"the sha256 {want}", got, "damaged on the way or in the cache: use force_download=True"
        )
