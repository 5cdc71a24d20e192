"""The keyword arguments of transformers' `from_pretrained` and `save_pretrained`, and what becomes of each here.

Source: the signatures of transformers 4.57 (its PyTorch, TensorFlow and Flax classes) and 5.23.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["LOCATE_OPTIONS", "check_save_options", "split_options"]

LOCATE_OPTIONS = ("revision", "subfolder", "cache_dir", "token", "local_files_only", "force_download")

# They say how to load, and the result is the same without: weights are always safetensors or converted, code is never
# loaded, huggingface_hub finds a proxy by itself.
_DROPPED_ON_LOAD = frozenset(
    "_commit_hash _fast_init _from_auto _from_pipeline adapter_kwargs adapter_name allow_all_kernels code_revision "
    "config disable_mmap experts_implementation from_flax from_pt from_slow from_tf generation_config kernel_config "
    "low_cpu_mem_usage max_memory mirror offload_buffers offload_folder offload_state_dict proxies resume_download "
    "tokenizer_type tqdm_class trust_remote_code use_fast use_kernels use_safetensors variant weights_only".split()
)
_QUANTISE = "quantise the model after it is loaded"
_PARALLEL = "ParallelTrainer spreads a model over devices"
_REFUSED_ON_LOAD = {  # argument -> what to do instead
    "device_mesh": _PARALLEL,
    "distributed_config": _PARALLEL,
    "fusion_config": "nothing here is fused by name",
    "gguf_file": "no ALBERT is kept in this format",
    "key_mapping": "`albert convert` reads other names",
    "load_in_4bit": _QUANTISE,
    "load_in_8bit": _QUANTISE,
    "quantization_config": _QUANTISE,
    "return_unused_kwargs": "an unknown keyword is kept in the config's `extra`",
    "state_dict": "load_numpy_state puts arrays into a model",
    "tp_plan": _PARALLEL,
    "tp_size": _PARALLEL,
}
_DROPPED_ON_SAVE = frozenset(
    "commit_message legacy_format private repo_id save_function save_jinja_files save_original_format "
    "save_peft_format token use_auth_token version".split()
)
_ONE_VALUE_ON_SAVE = {  # argument -> what alone can be done
    "create_pr": False,
    "distributed_checkpoint": False,
    "filename_prefix": None,
    "push_to_hub": False,
    "safe_serialization": True,
    "saved_model": False,
    "signatures": None,
    "variant": None,
}


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sort the keyword arguments of a `from_pretrained`.

    Returns:
        Those of `albert_core.hub.locate`, and those that are no loader's: fields of a config, options of a tokenizer.

    Raises:
        ValueError: One asks for a result that nothing here gives.
    """
    options = dict(options)
    for name, instead in _REFUSED_ON_LOAD.items():
        if (value := options.pop(name, None)) is not None and value is not False:
            raise ValueError(f"{name}: expected none, got one of type {type(value).__name__}; {instead}")
    if (token := options.pop("use_auth_token", None)) is not None:  # its name before transformers 4.32
        options.setdefault("token", token)
    where = {name: options.pop(name) for name in LOCATE_OPTIONS if name in options}
    return where, {name: value for name, value in options.items() if name not in _DROPPED_ON_LOAD}


def check_save_options(options: Mapping[str, Any]) -> None:
    """Accept what changes nothing about how files are written here, and refuse everything else.

    Raises:
        ValueError: It asks for files that nothing here writes.
        TypeError: No `save_pretrained` has such an argument.
    """
    for name, value in options.items():
        if name in _ONE_VALUE_ON_SAVE:
            if value is not None and value is not (wanted := _ONE_VALUE_ON_SAVE[name]):
                raise ValueError(f"{name}: expected {wanted}, got {value!r}; files are safetensors in a folder")
        elif name not in _DROPPED_ON_SAVE:
            raise TypeError(f"save_pretrained() got an unexpected keyword argument {name!r}")
