"""config.json: how an AlbertConfig comes out of a file, a folder or the hub, and how it is written."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import Field
from pathlib import Path
from typing import Any, ClassVar, Self

from albert_core.errors import ConfigError, NotFound
from albert_core.loader_options import check_save_options, split_options
from albert_core.numerics import ACTIVATIONS
from albert_core.strict_json import clip, parse_object

__all__ = ["CONFIG_NAME", "KNOWN_EXTRAS", "ConfigFiles"]

logger = logging.getLogger(__name__)

CONFIG_NAME = "config.json"

# Keys that transformers and Google write into config.json and that say nothing about an ALBERT's arithmetic here.
# They are kept and come back on save without a warning. None of them is ever acted on.
KNOWN_EXTRAS = frozenset(
    "_name_or_path architectures auto_map model_type torch_dtype dtype transformers_version tie_word_embeddings "
    "use_cache net_structure_type gap_size num_memory_blocks down_scale_factor layers_to_keep chunk_size_feed_forward "
    "is_encoder_decoder is_decoder add_cross_attention pruned_heads attn_implementation "
    "cls_token_id sep_token_id mask_token_id unk_token_id decoder_start_token_id".split()
)


class ConfigFiles:
    """Base of `AlbertConfig`, whose fields are what a file holds."""

    model_type: ClassVar[str] = "albert"
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    extra: dict[str, Any]
    hidden_act: Any

    def __init__(self, **values: Any) -> None:
        """From fields by name, with the file that errors name as `_path`."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Every field and every kept key, under the names of config.json."""
        raise NotImplementedError

    @property
    def name_or_path(self) -> str:
        """Where the file says it came from."""
        return self.extra.get("_name_or_path", "")

    @property
    def architectures(self) -> list[str] | None:
        """The classes that the file says it was saved from."""
        return self.extra.get("architectures")

    @property
    def dtype(self) -> str | None:
        """The dtype that the file says its weights have, by name."""
        return self.extra.get("dtype", self.extra.get("torch_dtype"))

    @property
    def torch_dtype(self) -> str | None:
        """Another name of `dtype`."""
        return self.dtype

    def update(self, config_dict: Mapping[str, Any]) -> None:
        """Set several attributes, each as an assignment would.

        Raises:
            ConfigError: A value is out of range, or its field is read-only.
        """
        for name, value in config_dict.items():
            setattr(self, name, value)

    def to_diff_dict(self) -> dict[str, Any]:
        """What `to_dict` gives, without the fields that have their defaults."""
        defaults = type(self)().to_dict()
        own = ("model_type", "vocab_size")  # always there, as in `repr`
        return {k: v for k, v in self.to_dict().items() if k in own or k not in defaults or v != defaults[k]}

    def to_json_string(self) -> str:
        """The config.json text: sorted keys, label ids as strings.

        Raises:
            ConfigError: `hidden_act` is a callable, which no file can hold.
        """
        if not isinstance(self.hidden_act, str):
            raise ConfigError(
                None, "hidden_act", self.hidden_act, "a name when a config is saved: " + ", ".join(ACTIVATIONS)
            )
        return json.dumps(self.to_dict(), indent=2, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], path: str | Path | None = None, **overrides: Any) -> Self:
        """A config from the keys of a config.json.

        Args:
            values: The keys. Nothing in them is ever imported, evaluated or taken as a switch.
            path: The file they came from, named in errors.
            **overrides: Fields that win over `values`.

        Raises:
            ConfigError: A value is out of range, or `model_type` is not "albert".
        """
        values = dict(values)
        kind = values.pop("model_type", cls.model_type)
        if kind != cls.model_type:
            raise ConfigError(path, "model_type", kind, repr(cls.model_type))
        if "num_labels" in overrides:  # an override of the number outweighs names that came with the file
            values = {k: v for k, v in values.items() if k not in ("id2label", "label2id")}
        fields = cls.__dataclass_fields__
        known = {k: v for k, v in values.items() if k in fields and k != "extra"}
        extra = {k: v for k, v in values.items() if k not in known}
        config = cls(_path=path, **{**known, **overrides})
        config.extra.update(extra)
        if strange := sorted(extra.keys() - KNOWN_EXTRAS):
            logger.warning("%s: kept but not used: %s", path or "config", ", ".join(map(clip, strange)))
        return config

    @classmethod
    def from_json_file(cls, path: str | Path, **overrides: Any) -> Self:
        """Read a config.json.

        Raises:
            NotFound: There is no such file.
            FormatError: It is not the JSON of an object.
            ConfigError: It is not that of an ALBERT.
        """
        try:
            data = Path(path).read_bytes()
        except FileNotFoundError:
            raise NotFound(path, None, "there is no such file") from None
        return cls.from_dict(parse_object(data, path, "config"), path=path, **overrides)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Self:
        """Read the config of a folder, the bundled model or a hub model.

        Args:
            pretrained_model_name_or_path: A folder (or its config.json), the bundled model's name or a hub id.
            **options: `revision`, `subfolder`, `cache_dir`, `token`, `local_files_only`, `force_download`, and fields
                that win over the file's.

        Raises:
            NotFound: There is no config.json.
            FormatError: It is not the JSON of an object.
            ConfigError: It is not that of an ALBERT.
            DownloadError: The hub cannot be reached, or has no such model.
            ValueError: An argument of transformers asks for what is not done here; see `albert_core.loader_options`.
        """
        where, options = split_options(options)
        name = pretrained_model_name_or_path
        if Path(name).is_file():
            return cls.from_json_file(name, **options)
        from albert_core.hub import locate

        file = locate(name, **where).file(CONFIG_NAME)
        if file is None:
            raise NotFound(name, None, f"has no {CONFIG_NAME}")
        return cls.from_json_file(file, **options)

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:
        """Write config.json into a folder, atomically.

        Args:
            save_directory: Made if it does not exist; other files in it stay.
            **options: Other arguments of transformers, accepted where they change nothing.

        Raises:
            ConfigError: `hidden_act` is a callable, which no file can hold.
            ValueError: An argument of transformers asks for other files; see `albert_core.loader_options`.
        """
        from albert_core.atomic import write_file

        check_save_options(options)
        folder = Path(save_directory)
        text = self.to_json_string()
        folder.mkdir(parents=True, exist_ok=True)
        write_file(folder / CONFIG_NAME, text.encode())
