"""A source with everything that lies beside it: config, tokenizer files, other checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from albert_conversion import google_config, keras_h5
from albert_conversion.recognise import Found, find_checkpoints, is_saved_model, recognise
from albert_conversion.source import Source
from albert_core.config import CONFIG_NAME, PRESETS, AlbertConfig
from albert_core.errors import FormatError, NotFound, ResourceLimit, UnsafeContent
from albert_core.formats import FORMATS, SIDECAR_NAME
from albert_core.shard_index import stays_inside
from albert_core.strict_json import clip, parse_object

__all__ = [
    "HUB_TOKENIZER_FILES",
    "TOKENIZER_FILES",
    "Opened",
    "home_of",
    "open_checkpoint",
    "read_small",
    "with_neighbours",
]

MAX_TEXT = 100_000_000  # bytes of a config or a tokenizer file
_GOOGLE = ("tf1", "tf-models")  # have an albert_config.json
_LABELS = ("num_labels", "id2label", "label2id")

# Canonical name -> what Google's archives call the file.
TOKENIZER_FILES = {
    "spiece.model": "30k-clean.model",
    "spiece.vocab": "30k-clean.vocab",
    "tokenizer.json": "tokenizer.json",
    "tokenizer_config.json": "tokenizer_config.json",
    "special_tokens_map.json": "special_tokens_map.json",
    "added_tokens.json": "added_tokens.json",
    "vocab.txt": "vocab.txt",
}
# In a preset of keras-hub, whose own tokenizer.json is another thing.
HUB_TOKENIZER_FILES = {
    "spiece.model": "assets/tokenizer/vocabulary.spm",
    "tokenizer.json": "assets/tokenizer/tokenizer.json",
}


@dataclass
class Opened:
    """An open source and what lies beside it; a context manager.

    Attributes:
        source: The checkpoint.
        config: Its config.
        labels_known: Whether that says how many labels there are.
        filled: Canonical names that a sidecar says were made up by a writer whose format needs them.
        files: Tokenizer files by canonical name.
        others: Further checkpoints in the same folder, which were not opened.
    """

    source: Source
    config: AlbertConfig
    labels_known: bool
    filled: tuple[str, ...] = ()
    files: dict[str, Path] = field(default_factory=dict)
    others: list[Found] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()


def open_checkpoint(path: Path, config: str | Path | None = None) -> Opened:
    """Open a checkpoint of any format.

    Args:
        path: A file, a folder, or the prefix of a TensorFlow checkpoint.
        config: A config file, or the name of a published model such as "albert-base-v2", to use instead of the config
            beside it.

    Raises:
        NotFound: There is no checkpoint, or no config.
        CheckpointError: It is malformed, unsafe or damaged; see the readers.
        ConfigError: The config is not that of an ALBERT.
    """
    return with_neighbours(recognise(path), config)


def with_neighbours(found: Found, config: str | Path | None = None, source: Source | None = None) -> Opened:
    """A checkpoint that was recognised, with what lies beside it; see `open_checkpoint`.

    Args:
        found: The checkpoint.
        config: As in `open_checkpoint`.
        source: The checkpoint, where it is open already.
    """
    folder = home_of(found)
    sidecar = _sidecar(folder) if config is None and not FORMATS[found.format].whole_config else None
    settings, known = _config(found, folder, config, sidecar)
    files = _tokenizer_files(folder, found.format)
    others = [f for f in find_checkpoints(folder) if f.path != found.path]
    filled = tuple(sidecar.get("filled", ())) if sidecar else ()
    return Opened(found.open(found.path) if source is None else source, settings, known, filled, files, others)


def home_of(found: Found) -> Path:
    """The folder in which config and tokenizer lie: for a SavedModel or an orbax folder the one above, maybe."""
    if found.path.is_dir():
        return found.path if (found.path / CONFIG_NAME).is_file() else found.path.parent
    return found.path.parents[1 if is_saved_model(found.path) else 0]


def _sidecar(folder: Path) -> dict[str, Any] | None:
    path = folder / SIDECAR_NAME
    if not path.is_file():
        return None
    values = parse_object(read_small(path), path, "sidecar")
    if not isinstance(values.get("config"), dict) or not isinstance(values.get("filled", []), list):
        raise FormatError(path, "config", f"expected a config and a list, got {clip(repr(values))}")
    return values


def _config(
    found: Found, folder: Path, given: str | Path | None, sidecar: dict[str, Any] | None
) -> tuple[AlbertConfig, bool]:
    """The config, and whether it says how many labels there are."""
    if isinstance(given, str) and given in PRESETS:
        return AlbertConfig.from_preset(given), False
    kept = None if sidecar is None else AlbertConfig.from_dict(sidecar["config"], folder / SIDECAR_NAME)
    path = Path(given) if given else _config_file(found, folder)
    if path is None and kept is not None:
        return kept, True
    if path is None:
        names = google_config.NAME if found.format in _GOOGLE else CONFIG_NAME
        raise NotFound(
            folder,
            None,
            f"expected {names} beside the weights, there is none",
            "name a file, or a model such as albert-base-v2, with --config",
        )
    if not path.is_file():
        raise NotFound(path, None, "expected a config file, there is none")
    values = parse_object(read_small(path), path, "config")
    if values.get("class_name") == "AlbertBackbone":
        return keras_h5.from_keras_hub(values, path, kept), kept is not None
    if "model_type" in values or found.format not in _GOOGLE:
        return AlbertConfig.from_dict(values, path), any(name in values for name in (*_LABELS, "architectures"))
    return google_config.from_google(values, path, kept), kept is not None


def _config_file(found: Found, folder: Path) -> Path | None:
    names = [google_config.NAME, CONFIG_NAME] if found.format in _GOOGLE else [CONFIG_NAME]
    named = [folder / name for name in names if (folder / name).is_file()]
    if not named and found.format in _GOOGLE:
        named = sorted(folder.glob("*config*.json"))
    return named[0] if named else None


def _tokenizer_files(folder: Path, kind: str) -> dict[str, Path]:
    found = {}
    for name, google in TOKENIZER_FILES.items():
        names = [name, google]
        if kind == "keras-hub":
            names = [HUB_TOKENIZER_FILES.get(name, name)] + ["spiece.model"] * (name == "spiece.model")
        path = next((folder / n for n in names if (folder / n).is_file()), None)
        if path is not None:
            found[name] = path
    models = [*sorted(folder.glob("*.model")), *sorted(folder.glob("assets/*.model"))]
    if "spiece.model" not in found and len(models) == 1:
        found["spiece.model"] = models[0]
    if "vocab.txt" not in found and len(vocabularies := sorted(folder.glob("vocab*.txt"))) == 1:
        found["vocab.txt"] = vocabularies[0]
    for path in found.values():
        if not stays_inside(folder, str(path.relative_to(folder))):
            raise UnsafeContent(path, None, "expected a file of the folder, got a link that leaves it; it was not read")
    return found


def read_small(path: Path) -> bytes:
    """The bytes of a text file of a size that such files have."""
    if (size := path.stat().st_size) > MAX_TEXT:
        raise ResourceLimit(path, None, f"expected at most {MAX_TEXT} bytes, got {size}")
    return path.read_bytes()
