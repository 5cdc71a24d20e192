"""Tasks from text to plain Python, over whichever backend: NumPy goes in and comes out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from albert_core.backends import BACKENDS, installed, load
from albert_core.errors import BackendMissing
from albert_core.hub import BUNDLED_MODEL
from albert_core.loader_options import LOCATE_OPTIONS
from albert_core.pipelines.fill_mask import FillMaskPipeline

__all__ = ["TASKS", "FillMaskPipeline", "pipeline", "pipeline_for"]

TASKS = {"fill-mask": FillMaskPipeline}
FRAMEWORKS = {"pt": "torch", "tf": "tf", "flax": "flax", "jax": "flax"}  # transformers' names -> ours
_IGNORED = ("num_workers", "trust_remote_code")  # nothing here takes workers or runs a model's code


def pipeline(
    task: str,
    model: Any = None,
    *,
    config: Any = None,
    tokenizer: Any = None,
    use_fast: bool = True,
    backend: str | None = None,
    framework: str | None = None,
    device: Any = None,
    device_map: Any = None,
    dtype: Any = None,
    torch_dtype: Any = None,
    attn_implementation: str | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> FillMaskPipeline:
    """A task, ready to be called with texts.

    Args:
        task: One of `TASKS`.
        model: A folder, the bundled model's name, a hub id, or a model object; the bundled model when None.
        config: As in `from_pretrained`.
        tokenizer: A tokenizer object or where to load one; the model's own when None.
        use_fast: As in `AutoTokenizer.from_pretrained`.
        backend: "torch", "tf" or "flax"; the first installed one when None.
        framework: transformers' name of the backend: "pt", "tf", "flax" or "jax".
        device: Where the model runs, for example "cpu", "cuda:0" or 0; -1 is the CPU. A model object is moved there.
        device_map: As in `from_pretrained`.
        dtype: What to compute in; float32 when None, also where the checkpoint is stored in half precision.
        torch_dtype: Another name of `dtype`.
        attn_implementation: As in `from_pretrained`.
        model_kwargs: More arguments of `from_pretrained`.
        **options: `revision`, `subfolder`, `cache_dir`, `token`, `local_files_only`, `force_download`, and what the
            task takes, for example `top_k` and `batch_size`. `num_workers` and `trust_remote_code` change nothing.

    Raises:
        TypeError: The task has no such option.
        ValueError: There is no such task or backend, a value of an option is not possible, or a model object has
            another head or backend, or comes with options that only loading can follow.
        BackendMissing: No framework is installed, or not the one asked for.
        AlbertError: The model cannot be had; see `from_pretrained`.
    """
    if task not in TASKS:
        raise ValueError(f"task: expected one of {', '.join(TASKS)}, got {task!r}")
    kind = TASKS[task]
    where = {key: options.pop(key) for key in LOCATE_OPTIONS if key in options}
    options = {key: value for key, value in options.items() if key not in _IGNORED}
    if strange := sorted(options.keys() - kind.options):
        known = ", ".join(sorted((*kind.options, *LOCATE_OPTIONS)))
        raise TypeError(f"{task} has no option {strange[0]!r}; expected one of {known}")
    device = "cpu" if device == -1 else device  # transformers' number for it
    how = {"config": config, "device_map": device_map, "dtype": dtype or torch_dtype}
    how |= {"attn_implementation": attn_implementation}
    how = {**(model_kwargs or {}), **{key: value for key, value in how.items() if value is not None}}
    model = BUNDLED_MODEL if model is None else model
    if not isinstance(model, str | Path):
        _check_object(model, backend, framework, how)
        model = model if device is None else model._finish(device)
        return kind(model, _tokenizer(tokenizer, use_fast, where), model.head_name, **options)
    if not how.keys() & {"dtype", "torch_dtype"}:
        how["dtype"] = "float32"
    loaded = _class(_backend_name(backend, framework), kind.head).from_pretrained(
        model, **{"device": device, **where, **how}
    )
    return kind(loaded, _tokenizer(model if tokenizer is None else tokenizer, use_fast, where), str(model), **options)


def pipeline_for(backend: str) -> Any:
    """`pipeline` bound to one backend, which is what the backend's package exports."""

    def bound(task: str, model: Any = None, **options: Any) -> FillMaskPipeline:
        if (given := options.pop("backend", None)) not in (None, backend):
            raise ValueError(f"backend: expected {backend!r}, that of the package, got {given!r}")
        return pipeline(task, model, backend=backend, **options)

    bound.__doc__, bound.__name__ = pipeline.__doc__, "pipeline"
    return bound


def _check_object(model: Any, backend: str | None, framework: str | None, how: Mapping[str, Any]) -> None:
    """Refuse what a model that is there already cannot follow."""
    if (backend or framework) and (name := _backend_name(backend, framework)) != model.framework:
        raise ValueError(f"model: expected one of the backend {name!r}, got {type(model).__name__}")
    for key, value in how.items():
        if value != "auto":
            raise ValueError(f"{key}: expected none beside a model object, got {value!r}; load the model with it")


def _tokenizer(tokenizer: Any, use_fast: bool, where: dict[str, Any]) -> Any:
    if tokenizer is None:
        raise ValueError("tokenizer: expected one beside a model object, got None")
    if not isinstance(tokenizer, str | Path):
        return tokenizer
    from albert_core.tokenizer import AutoTokenizer

    return AutoTokenizer.from_pretrained(tokenizer, use_fast=use_fast, **where)


def _class(backend: str, head: str) -> Any:
    return getattr(load(backend), BACKENDS[backend].prefix + head)


def _backend_name(name: str | None, framework: str | None) -> str:
    if framework is not None and framework not in FRAMEWORKS:
        raise ValueError(f"framework: expected one of {', '.join(FRAMEWORKS)}, got {framework!r}")
    if framework is not None and name not in (None, FRAMEWORKS[framework]):
        raise ValueError(f"framework: expected that of the backend {name!r}, got {framework!r}")
    if name is not None and name not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {name!r}")
    if name or framework:
        return name or FRAMEWORKS[framework or ""]
    if found := installed():
        return found[0]
    raise BackendMissing("torch", "one of torch, tensorflow and jax")
