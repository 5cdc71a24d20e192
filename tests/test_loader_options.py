"""Code written for transformers passes its own arguments: each is done, dropped or refused; none gets into a file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Adapter

from albert_core.config import AlbertConfig, AutoConfig
from albert_core.hub import BUNDLED_MODEL
from albert_core.loader_options import split_options
from albert_core.parity_suite import TINY
from albert_core.tokenizer import AlbertTokenizer, AlbertTokenizerFast, AutoTokenizer

CONFIG = AlbertConfig(**TINY)
HEAD = "AlbertForMaskedLM"
SECRET = "hf_SECRET"
HARMLESS = {
    "use_auth_token": SECRET,
    "proxies": {"https": f"http://user:{SECRET}@proxy"},
    "resume_download": True,
    "trust_remote_code": True,
    "_commit_hash": SECRET,
    "offload_folder": SECRET,
    "max_memory": {0: "1GB"},
    "weights_only": True,
    "state_dict": None,
    "load_in_8bit": False,
    "quantization_config": None,
}
REFUSED = {
    "state_dict": {"a": 1},
    "quantization_config": object(),
    "load_in_8bit": True,
    "load_in_4bit": True,
    "key_mapping": {"a": "b"},
    "return_unused_kwargs": True,
}
OPENERS: dict[str, Callable[..., Any]] = {
    "AlbertConfig": AlbertConfig.from_pretrained,
    "AutoConfig": AutoConfig.from_pretrained,
    "AlbertTokenizer": AlbertTokenizer.from_pretrained,
    "AlbertTokenizerFast": AlbertTokenizerFast.from_pretrained,
    "AutoTokenizer": AutoTokenizer.from_pretrained,
}


@pytest.fixture
def folder(backend: Adapter, tmp_path: Path) -> Path:
    backend.model(HEAD, CONFIG, "float32").save_pretrained(tmp_path / "m")
    return tmp_path / "m"


def written(folder: Path) -> str:
    return "".join(path.read_text(errors="ignore") for path in folder.iterdir())


def test_a_loaders_arguments_are_in_no_file_of_a_model(backend: Adapter, folder: Path, tmp_path: Path) -> None:
    model = backend.cls(HEAD).from_pretrained(folder, **HARMLESS)
    assert not model.config.extra.keys() & HARMLESS.keys()
    model.save_pretrained(tmp_path / "again")
    assert SECRET not in written(tmp_path / "again")


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_change_a_model_is_refused(backend: Adapter, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected none, got one of type {type(REFUSED[name]).__name__}; "):
        backend.cls(HEAD).from_pretrained("nowhere", **{name: REFUSED[name]})


@pytest.mark.parametrize("kind", OPENERS)
def test_configs_and_tokenizers_treat_them_alike(kind: str, tmp_path: Path) -> None:
    opened = OPENERS[kind](BUNDLED_MODEL, **HARMLESS)
    assert not opened.extra.keys() & HARMLESS.keys()
    opened.save_pretrained(tmp_path)
    assert SECRET not in written(tmp_path)
    with pytest.raises(ValueError, match="state_dict: expected none, got one of type dict"):
        OPENERS[kind](BUNDLED_MODEL, state_dict={})


SAVED = {  # arguments of save_pretrained -> what a refusal says
    "harmless": ({"safe_serialization": True, "push_to_hub": False, "save_function": print, "variant": None}, None),
    "of TensorFlow": ({"saved_model": False, "version": 1, "signatures": None, "create_pr": False}, None),
    "of a tokenizer": ({"legacy_format": False, "filename_prefix": None, "push_to_hub": False}, None),
    "pickle": ({"safe_serialization": False}, "safe_serialization: expected True, got False"),
    "push": ({"push_to_hub": True}, "push_to_hub: expected False, got True"),
    "SavedModel": ({"saved_model": True}, "saved_model: expected False, got True"),
    "variant": ({"variant": "fp16"}, "variant: expected None, got 'fp16'"),
    "typo": ({"max_shard": "5GB"}, "unexpected keyword argument 'max_shard'"),
}


def check_saving(thing: Any, folder: Path, case: str) -> None:
    options, message = SAVED[case]
    with pytest.raises((ValueError, TypeError), match=message) if message else nullcontext():
        thing.save_pretrained(save_directory=folder, **options)
    assert folder.exists() is (message is None)


@pytest.mark.parametrize("case", SAVED)
def test_a_model_is_saved_or_an_argument_is_refused(backend: Adapter, case: str, tmp_path: Path) -> None:
    check_saving(backend.model(HEAD, CONFIG, "float32"), tmp_path / "m", case)


@pytest.mark.parametrize("case", SAVED)
@pytest.mark.parametrize("kind", ["AlbertConfig", "AutoTokenizer"])
def test_a_config_or_a_tokenizer_likewise(kind: str, case: str, tmp_path: Path) -> None:
    check_saving(OPENERS[kind](pretrained_model_name_or_path=BUNDLED_MODEL), tmp_path / "m", case)


def test_only_the_main_process_writes(backend: Adapter, tmp_path: Path) -> None:
    model = backend.model(HEAD, CONFIG, "float32")
    model.save_pretrained(tmp_path / "m", is_main_process=False)
    if backend.name == "torch":
        model.save_pretrained(tmp_path / "m", False)  # second in transformers' order
    assert not (tmp_path / "m").exists()


def test_a_variant_is_loaded_rather_than_what_lies_beside_it(backend: Adapter, folder: Path) -> None:
    model = backend.cls(HEAD).from_pretrained(folder)
    half = {name: array.astype(np.float16) for name, array in model.numpy_state().items()}
    model.save_pretrained(folder / "half", state=half)
    (folder / "half" / "model.safetensors").rename(folder / "model.fp16.safetensors")
    for variant, dtype in ((None, "float32"), ("fp16", "float16")):
        _, report = backend.cls(HEAD).from_pretrained(folder, variant=variant, output_loading_info=True)
        assert report["dtype"] == dtype


@pytest.mark.parametrize("name", ["", "config.json"])
def test_a_config_is_opened_where_it_is(backend: Adapter, folder: Path, name: str, tmp_path: Path) -> None:
    CONFIG.replace(layer_norm_eps=0.5).save_pretrained(tmp_path / "other")
    where = str(tmp_path / "other" / name)
    model = backend.cls(HEAD).from_pretrained(pretrained_model_name_or_path=folder, config=where, num_labels=5)
    assert (model.config.layer_norm_eps, model.config.num_labels) == (0.5, 5)


def test_the_old_name_of_the_token_is_the_token() -> None:
    assert split_options({"use_auth_token": "a"}) == ({"token": "a"}, {})
    assert split_options({"use_auth_token": "a", "token": "b", "num_labels": 3}) == ({"token": "b"}, {"num_labels": 3})


def test_a_config_file_takes_no_loaders_arguments(tmp_path: Path) -> None:
    CONFIG.save_pretrained(tmp_path)
    assert AlbertConfig.from_pretrained(tmp_path / "config.json", revision="main", token=SECRET) == CONFIG
