"""from_pretrained and save_pretrained, once for every backend.

Decided here: which tensor of a checkpoint goes where, what may be missing, what is refused. What a backend supplies
stands in `albert_core.core_model`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np

from albert_core.atomic import write_folder
from albert_core.config import AlbertConfig
from albert_core.dtypes import DTYPES, dtype_by_name
from albert_core.errors import IntegrityError, NotFound, SaveError
from albert_core.hub import locate
from albert_core.load_plan import LoadPlan, LoadReport, check_ties
from albert_core.loader_options import check_save_options, split_options
from albert_core.parameters import PREFIX, TIED
from albert_core.safetensors_io import MAX_SHARD_SIZE, save_sharded
from albert_core.surgery import Surgery
from albert_core.walker import Leaf

__all__ = ["PreTrained", "check_attn_implementation", "checkpoint_dtype"]

logger = logging.getLogger(__name__)

ATTN_IMPLEMENTATIONS = ("eager", "sdpa")


def check_attn_implementation(name: str | None) -> str:
    """The attention a model runs; fused where nothing is said.

    Raises:
        ValueError: There is no such implementation.
    """
    name = "sdpa" if name is None else name
    if name not in ATTN_IMPLEMENTATIONS:
        raise ValueError(f"attn_implementation: expected one of {', '.join(ATTN_IMPLEMENTATIONS)}, got {name!r}")
    return name


class PreTrained(Surgery):
    """What every model class of every backend can do with files.

    Attributes:
        build_options: Keywords of `from_pretrained` that go to `_prepare`.
    """

    build_options: ClassVar[tuple[str, ...]] = ("add_pooling_layer",)

    def load_numpy_state(
        self, state: Mapping[str, np.ndarray], path: str | Path = "", check_finite: bool = False, **options: Any
    ) -> LoadReport:
        """Overwrite this model's arrays. Everything is read and checked before the first one changes.

        Args:
            state: Arrays by canonical name, with or without the encoder's prefix; may be lazy.
            path: Where they came from, for errors.
            check_finite: Refuse NaN and infinity, which otherwise are only reported.
            **options: `ignore_mismatched_sizes`.

        Raises:
            CheckpointError: Missing, unexpected, wrong-shaped or wrong-typed tensors, all in one error.
            IntegrityError: A tensor is not finite, with `check_finite`.
        """
        plan = LoadPlan(self.parameter_table, state, path, **options)
        staged = []
        for parameter, key in plan.sources.items():
            leaf = self.leaf(parameter)
            current = self._dtype_of(leaf)
            array = np.asarray(state[key])
            with np.errstate(invalid="ignore"):  # a signalling NaN of bfloat16 is to be counted, not to warn
                bad = int(array.size - np.isfinite(array).sum())
            if bad:
                plan.report.non_finite_keys[key] = bad
            plan.report.cast |= array.dtype != current
            array = (array.T if leaf.transposed else array).astype(current, copy=False)
            staged.append((leaf, self._stage(leaf, array)))
        if check_finite and plan.report.non_finite_keys:
            raise IntegrityError(
                path, next(iter(plan.report.non_finite_keys)), "expected finite values, got NaN or inf"
            )
        for leaf, array in staged:
            self._set_array(leaf, array)
        return plan.report

    def set_attn_implementation(self, name: str) -> None:
        """Run another attention, as `attn_implementation` of `from_pretrained` does.

        Raises:
            ValueError: There is no such implementation.
        """
        self.attn_implementation = self.base_model.attn_implementation = check_attn_implementation(name)
        self._changed()

    def _dtype_of(self, leaf: Leaf) -> np.dtype:
        return DTYPES[dtype_by_name(leaf.value.dtype)]

    # -- files ---------------------------------------------------------------------------------------------------

    @classmethod
    def from_config(cls, config: AlbertConfig, **options: Any) -> Self:
        """A freshly initialised model, as the Auto classes of transformers make one.

        Args:
            config: Its hyper-parameters.
            **options: Those of the class; `dtype`, or `torch_dtype`, is what its arrays are stored and computed in.
        """
        dtypes = [options.pop(name, None) for name in ("dtype", "torch_dtype")]
        dtype = next((dtype for dtype in dtypes if dtype is not None), None)
        name, plain = cls._dtype_name(dtype), cast(Any, cls)  # whose constructor only the backend knows
        return plain(config, **options) if name is None else cls._construct(config, name, **options)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        config: AlbertConfig | str | Path | None = None,
        dtype: Any = None,
        device: Any = None,
        device_map: Any = None,
        attn_implementation: str | None = None,
        ignore_mismatched_sizes: bool = False,
        check_finite: bool = False,
        output_loading_info: bool = False,
        variant: str | None = None,
        **options: Any,
    ) -> Any:
        """Load a model from a folder, the bundled model's name or a hub id, in evaluation mode.

        Args:
            pretrained_model_name_or_path: Where it is. A name without an organisation means `albert/<name>` on the hub.
            config: Used instead of the checkpoint's config.json; an object, or where one is.
            dtype: A name such as "float32", the framework's own dtype, or "auto"; None or "auto" keeps the
                checkpoint's. `torch_dtype` is its other name.
            device: Where the model goes; the framework's default when None.
            device_map: "auto", a device, or {"": device}; another name of `device`.
            attn_implementation: "eager" or "sdpa" (fused, the default); in JAX, XLA fuses both.
            ignore_mismatched_sizes: Initialise head tensors whose shape differs instead of raising.
            check_finite: Refuse weights that hold NaN or infinity.
            output_loading_info: Return (model, report) instead of the model.
            variant: "fp16" loads `model.fp16.safetensors`, or the shards of its index, in place of `model.safetensors`.
            **options: `revision`, `subfolder`, `cache_dir`, `token`, `local_files_only`, `force_download`,
                `add_pooling_layer`, and config fields that win over the checkpoint's. Other arguments of transformers
                are dropped where they change nothing.

        Raises:
            NotFound: There is no such folder, or it holds no weights.
            DownloadError: The hub cannot be reached, or has no such model.
            CheckpointError: The weights are malformed, unsafe, damaged, or not this model's; see its subclasses.
            ConfigError: The config.json is not that of an ALBERT.
            ValueError: An argument of transformers asks for what is not done here; see `albert_core.loader_options`.
        """
        where, options = split_options(options)
        given = options.pop("torch_dtype", None)
        dtype = given if dtype is None else dtype
        build = {key: options.pop(key) for key in cls.build_options if key in options}
        source = locate(pretrained_model_name_or_path, **where)
        if isinstance(config, str | Path):
            config = AlbertConfig.from_pretrained(config, **where)
        config = _config_of(source, config, options)
        with source.checkpoint(variant, config) as checkpoint:
            name = cls._dtype_name(dtype) or checkpoint_dtype(checkpoint)
            device = _device_of(device, device_map)
            model = cls._prepare(config, name, device, attn_implementation=attn_implementation, **build)
            report = model.load_numpy_state(
                checkpoint, checkpoint.path, check_finite, ignore_mismatched_sizes=ignore_mismatched_sizes
            )
            report.integrity, report.dtype = checkpoint.integrity, name
        _log(report, cls.__name__, pretrained_model_name_or_path)
        model = model._finish(device)
        return (model, asdict(report)) if output_loading_info else model

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        max_shard_size: int | str = MAX_SHARD_SIZE,
        state: Mapping[str, np.ndarray] | None = None,
        is_main_process: bool = True,
        **options: Any,
    ) -> None:
        """Write config.json and model.safetensors, atomically; the folder opens in every backend and in transformers.

        Args:
            save_directory: The folder. A new one is built beside its place and renamed; in an existing one each file
                is replaced atomically and other files stay.
            max_shard_size: Largest file, in bytes or as "200MB"; more shards are written where needed.
            state: Arrays by canonical name to write in place of the model's, where several devices hold those.
            is_main_process: False writes nothing.
            **options: Other arguments of transformers, accepted where they change nothing.

        Raises:
            ConfigError: `hidden_act` is a callable, which no file can hold.
            ValueError: The model has parameters of its own, which the files would not hold (`state=numpy_state()` does
                without them), or an argument of transformers asks for other files; see `albert_core.loader_options`.
            OSError: The disk refused; what was there before is intact.
            SaveError: The masked-LM decoder is not the word embeddings any more, which no file of ours can hold.
        """
        check_save_options(options)
        if not is_main_process:
            return
        if state is None:
            if others := self._beside_the_table():
                raise ValueError(f"{', '.join(others)}: is no part of ALBERT and would not be saved")
            state = self.numpy_state()
        ties = [(name, used) for name, used in TIED.items() if name in state and used in state]
        check_ties(state, ties, save_directory, SaveError)
        state = {n: a for n, a in state.items() if not n.endswith("decoder.weight")}
        if self.head_name == "AlbertModel":
            state = {n.removeprefix(PREFIX): a for n, a in state.items()}
        dtype = next(iter(state.values())).dtype.name
        extra = {**self.config.extra, "architectures": [self.head_name], "torch_dtype": dtype}
        if "tie_word_embeddings" in extra:
            extra["tie_word_embeddings"] = True  # what is written; without it transformers would draw a decoder
        config = self.config.replace(extra=extra)
        config.to_json_string()  # refuses before anything is written
        with write_folder(Path(save_directory)) as folder:
            save_sharded(folder, state, max_shard_size=max_shard_size)
            config.save_pretrained(folder)


def checkpoint_dtype(checkpoint: Any) -> str:
    """The floating-point dtype of a checkpoint; the widest where it mixes several."""
    names = {checkpoint.dtype(key).name for key in checkpoint.keys()} & DTYPES.keys()
    if len(names) == 1:
        return names.pop()
    return "float64" if "float64" in names else "float32"


def _config_of(source: Any, config: AlbertConfig | None, overrides: dict[str, Any]) -> AlbertConfig:
    if config is None:
        file = source.file("config.json")
        if file is None:
            raise NotFound(source.name, None, "has no config.json")
        return AlbertConfig.from_json_file(file, **overrides)
    return config.replace(**overrides) if overrides else config


def _device_of(device: Any, device_map: Any) -> Any:
    if device is not None or device_map is None:
        return device
    if device_map in ("balanced", "balanced_low_0", "sequential"):  # what accelerate also does with several devices
        return "auto"
    return device_map.get("", next(iter(device_map.values()), None)) if isinstance(device_map, Mapping) else device_map


def _log(report: LoadReport, name: str, path: Any) -> None:
    fresh = report.missing_keys + [key for key, _, _ in report.mismatched_keys]
    if fresh:
        logger.warning("%s: %s of %s are not in the checkpoint and start untrained", path, ", ".join(fresh), name)
    if report.non_finite_keys:
        logger.warning("%s: NaN or infinity in %s", path, ", ".join(report.non_finite_keys))
    if report.unexpected_keys:
        logger.info("%s: %s not used by %s", path, ", ".join(report.unexpected_keys), name)
