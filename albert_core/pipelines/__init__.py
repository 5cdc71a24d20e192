"""Tasks from text to plain Python, over whichever backend: NumPy goes in and comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from albert_core.backends import BACKENDS, installed, load
from albert_core.errors import BackendMissing
from albert_core.hub import BUNDLED_MODEL
from albert_core.pipelines.fill_mask import FillMaskPipeline

__all__ = ["TASKS", "FillMaskPipeline", "pipeline", "pipeline_for"]

TASKS = {"fill-mask": FillMaskPipeline}


def pipeline(
    task: str,
    model: Any = None,
    *,
    tokenizer: Any = None,
    backend: str | None = None,
    device: Any = None,
    dtype: Any = None,
    torch_dtype: Any = None,
    attn_implementation: str | None = None,
    **options: Any,
) -> FillMaskPipeline:
    """A task, ready to be called with texts.

    Args:
        task: One of `TASKS`.
        model: A folder, the bundled model's name, a hub id, or a model object; the bundled model when None.
        tokenizer: A tokenizer object or where to load one; the model's own when None.
        backend: "torch", "tf" or "flax"; the first installed one when None.
        device: Where the model runs, for example "cpu", "cuda:0" or 0; -1 is the CPU.
        dtype: What to compute in; float32 when None, also where the checkpoint is stored in half precision.
        torch_dtype: Another name of `dtype`.
        attn_implementation: As in `from_pretrained`.
        **options: `revision`, `subfolder`, `cache_dir`, `token`, `local_files_only`, `force_download`.

    Raises:
        ValueError: There is no such task or backend.
        BackendMissing: No framework is installed, or not the one asked for.
        AlbertError: The model cannot be had; see `from_pretrained`.
    """
    if task not in TASKS:
        raise ValueError(f"task: expected one of {', '.join(TASKS)}, got {task!r}")
    kind = TASKS[task]
    device = "cpu" if device == -1 else device  # transformers' number for it
    model = BUNDLED_MODEL if model is None else model
    name = str(model) if isinstance(model, str | Path) else model.head_name
    if isinstance(model, str | Path):
        package = load(_backend_name(backend))
        cls = getattr(package, BACKENDS[_backend_name(backend)].prefix + kind.head)
        tokenizer = model if tokenizer is None else tokenizer
        dtype = dtype or torch_dtype or "float32"
        model = cls.from_pretrained(
            model,
            dtype=dtype,
            device=device,
            attn_implementation=attn_implementation,
            **options,
        )
    if isinstance(tokenizer, str | Path):
        from albert_core.tokenizer import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(tokenizer, **options)
    if tokenizer is None:
        raise ValueError("tokenizer: expected one beside a model object, got None")
    return kind(model, tokenizer, name)


def pipeline_for(backend: str) -> Any:
    """`pipeline` bound to one backend, which is what the backend's package exports."""

    def bound(task: str, model: Any = None, **options: Any) -> FillMaskPipeline:
        return pipeline(task, model, backend=backend, **options)

    bound.__doc__, bound.__name__ = pipeline.__doc__, "pipeline"
    return bound


def _backend_name(name: str | None) -> str:
    if name is not None and name not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {name!r}")
    if name is not None:
        return name
    if found := installed():
        return found[0]
    raise BackendMissing("torch", "one of torch, tensorflow and jax")
