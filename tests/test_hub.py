"""Where files come from: folders, the bundled model, and hub ids answered by a local fake hub."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from fake_hub import FakeHub, fake_hub

import albert_core.hub
from albert_core.errors import DownloadError, MissingKeys, NotFound, UnsafeContent
from albert_core.hub import BUNDLED_MODEL, locate
from albert_core.safetensors_io import save_safetensors, save_sharded

BASE = "albert/albert-base-v2"
STATE = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b.bias": np.ones(4, np.float16)}


@pytest.fixture
def hub(monkeypatch):
    with fake_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        _forget_connections()
        yield server
        _forget_connections()


def _forget_connections() -> None:
    forget = getattr(huggingface_hub, "close_session", None)  # before 1.0 it has another name
    (forget or huggingface_hub.utils.reset_sessions)()


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def _files(folder: Path, **options) -> dict[str, bytes]:
    folder.mkdir()
    save_sharded(folder, STATE, **options)
    return {path.name: path.read_bytes() for path in folder.iterdir()} | {"config.json": b'{"model_type": "albert"}'}


def _publish(hub: FakeHub, tmp_path: Path, **options) -> None:
    hub.repos[BASE] = _files(tmp_path / "published", **options)


def _assert_state(checkpoint) -> None:
    assert set(checkpoint) == set(STATE)
    for name, expected in STATE.items():
        np.testing.assert_array_equal(checkpoint[name], expected, strict=True)


# -- folders and names ---------------------------------------------------------------------------------------------


def test_a_folder_is_a_source(tmp_path):
    save_sharded(tmp_path, STATE)
    source = locate(tmp_path)
    assert (source.kind, source.folder, source.name) == ("folder", tmp_path, str(tmp_path))
    assert source.file("model.safetensors") == tmp_path / "model.safetensors"
    assert source.file("config.json") is None
    with source.checkpoint() as checkpoint:
        _assert_state(checkpoint)


def test_a_subfolder_is_looked_into(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "config.json").write_text("{}")
    assert locate(tmp_path, subfolder="deep").file("config.json") == tmp_path / "deep" / "config.json"
    with pytest.raises(NotFound, match="shallow"):
        locate(tmp_path, subfolder="shallow")


def test_a_folder_in_the_working_directory_wins_over_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("albert-base-v2").mkdir()
    assert locate("albert-base-v2").kind == "folder"


@pytest.mark.parametrize(
    "name", ["", ".missing", "./missing", "../missing", "/missing", "~/missing-folder", "a/b/c", "a b", "C:\\x", "é"]
)
def test_a_path_that_is_no_folder_is_not_found(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="expected a folder, there is none"):
        locate(name)


def test_a_name_that_no_hub_can_have_is_not_found():
    with pytest.raises(NotFound, match=r"x{90}.*is neither a folder nor a hub id"):
        locate("x" * 5000).file("config.json")


def test_a_path_object_never_means_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="albert/albert-base-v2"):
        locate(Path(BASE))


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"x")
    with pytest.raises(NotFound, match=r"weights\.bin.*got a file"):
        locate(tmp_path / "weights.bin")


def test_the_bundled_model_has_a_name_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(albert_core.hub, "_BUNDLED_FOLDER", tmp_path)
    with pytest.raises(NotFound, match=BUNDLED_MODEL):
        locate(BUNDLED_MODEL)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / BUNDLED_MODEL).mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    source = locate(BUNDLED_MODEL)
    assert (source.kind, source.name, source.folder) == ("bundled", BUNDLED_MODEL, tmp_path / BUNDLED_MODEL)


def test_contradicting_options_are_refused():
    with pytest.raises(ValueError, match=r"local_files_only.*force_download"):
        locate(BASE, local_files_only=True, force_download=True)


# -- the hub -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [BASE, "albert-base-v2"])
@pytest.mark.parametrize("size", ["5GB", 16], ids=["one file", "shards"])
def test_a_hub_model_is_downloaded_once_and_then_read_offline(hub, tmp_path, cache, name, size, monkeypatch):
    _publish(hub, tmp_path, max_shard_size=size)
    source = locate(name, cache_dir=cache)
    assert (source.kind, source.name, source.folder) == ("hub", BASE, None)
    with source.checkpoint() as checkpoint:
        _assert_state(checkpoint)
    assert source.file("config.json").read_bytes() == hub.repos[BASE]["config.json"]
    assert source.file("tokenizer.json") is None

    hub.requests.clear()
    for offline in ({"local_files_only": True}, {}):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", not offline)
        _forget_connections()
        source = locate(name, cache_dir=cache, **offline)
        with source.checkpoint() as checkpoint:
            _assert_state(checkpoint)
        assert source.file("tokenizer.json") is None
        assert source.file("never_asked_for.json") is None
    assert hub.requests == []


@pytest.mark.parametrize("size", ["5GB", 16], ids=["one file", "shards"])
@pytest.mark.parametrize("where", ["folder", "hub"])
def test_a_variant_has_names_of_its_own(hub, tmp_path, cache, where, size):
    _files(tmp_path / "m", max_shard_size=size)
    old = tmp_path / "m" / ("model.safetensors" if size == "5GB" else "model.safetensors.index.json")
    new = old.rename(old.with_suffix(f".fp16{old.suffix}"))
    hub.repos[BASE] = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    source = locate(tmp_path / "m" if where == "folder" else BASE, cache_dir=cache)
    with source.checkpoint("fp16") as checkpoint:
        _assert_state(checkpoint)
        assert checkpoint.path.name == new.name
    with pytest.raises(NotFound, match=r"neither model\.bf16\.safetensors nor model\.safetensors\.index\.bf16\.json"):
        source.checkpoint("bf16")
    if where == "folder":
        with pytest.raises(NotFound, match=r'neither model\.safetensors nor .*variant="fp16" is there'):
            source.checkpoint()


def test_a_subfolder_of_a_hub_model(hub, tmp_path, cache):
    hub.repos[BASE] = {f"deep/{name}": data for name, data in _files(tmp_path / "f", max_shard_size=16).items()}
    hub.repos[BASE] |= {name: data for name, data in _files(tmp_path / "g").items() if name != "config.json"}
    source = locate(BASE, cache_dir=cache, subfolder="deep")
    assert source.file("config.json").parent.name == "deep"


@pytest.mark.parametrize(
    ("arrange", "options", "error", "message"),
    [
        (
            lambda hub: hub.repos.clear(),
            {},
            NotFound,
            "albert/albert-base-v2: is neither a folder nor a model on the hub",
        ),
        (lambda hub: None, {"revision": "v9"}, NotFound, "albert/albert-base-v2: has no revision 'v9'"),
        (lambda hub: hub.gated.add(BASE), {}, DownloadError, "gated .*`hf download albert/albert-base-v2`"),
        (
            lambda hub: hub.damage.update({"model.safetensors": b"x"}),
            {},
            DownloadError,
            "base-v2: expected model.safetensors, got",
        ),
    ],
    ids=["no such model", "no such revision", "gated", "short download"],
)
def test_what_the_hub_refuses_has_a_name(hub, tmp_path, cache, arrange, options, error, message):
    _publish(hub, tmp_path)
    arrange(hub)
    with pytest.raises(error, match=message) as caught:
        locate(BASE, cache_dir=cache, **options).file("model.safetensors")
    assert caught.value.exit_code == 3


def test_a_model_without_safetensors_says_how_to_convert(hub, cache):
    hub.repos[BASE] = {"config.json": b"{}", "pytorch_model.bin": b"x"}
    with pytest.raises(NotFound, match=r"neither model.safetensors nor .*`albert convert SOURCE DEST`"):
        locate(BASE, cache_dir=cache).checkpoint()


def test_offline_names_the_download_command_and_asks_nobody(hub, tmp_path, cache, monkeypatch):
    _publish(hub, tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        DownloadError, match=r"albert/albert-base-v2: .*`hf download albert/albert-base-v2 --revision main`"
    ):
        locate("albert-base-v2", cache_dir=cache, revision="main").file("config.json")
    assert hub.requests == []


def test_offline_with_half_a_model_is_not_a_model_without_weights(hub, tmp_path, cache):
    _publish(hub, tmp_path)
    locate(BASE, cache_dir=cache).file("config.json")
    with pytest.raises(DownloadError, match=r"expected model\.safetensors, got neither"):
        locate(BASE, cache_dir=cache, local_files_only=True).checkpoint()


@pytest.mark.parametrize("force", [False, True])
def test_a_refused_connection_is_offline(cache, monkeypatch, force):
    with fake_hub() as closed:
        pass
    monkeypatch.setenv("HF_ENDPOINT", closed.endpoint)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # huggingface_hub tries again for half a minute
    with pytest.raises(DownloadError, match="`hf download albert/albert-base-v2`"):
        locate(BASE, cache_dir=cache, force_download=force).file("config.json")
    _forget_connections()


def test_damage_of_the_same_length_is_noticed_and_leaves_the_cache(hub, tmp_path, cache):
    _publish(hub, tmp_path)
    whole = hub.repos[BASE]["model.safetensors"]
    damaged = whole[:-1] + bytes([whole[-1] ^ 1])
    hub.damage["model.safetensors"] = damaged
    want, got = (hashlib.sha256(data).hexdigest() for data in (whole, damaged))
    with pytest.raises(DownloadError, match=f"model.safetensors: expected the sha256 {want}, got {got}"):
        locate(BASE, cache_dir=cache).checkpoint()
    assert not any(want in path.name for path in cache.rglob("blobs/*"))
    assert not list(cache.rglob("snapshots/*/model.safetensors"))

    hub.damage.clear()
    with locate(BASE, cache_dir=cache).checkpoint() as checkpoint:
        _assert_state(checkpoint)


def test_rot_in_the_cache_is_noticed(hub, tmp_path, cache):
    _publish(hub, tmp_path)
    source = locate(BASE, cache_dir=cache)
    path = source.file("model.safetensors")
    data = bytearray(path.read_bytes())
    data[-3] ^= 64
    path.resolve().write_bytes(data)
    with pytest.raises(DownloadError, match="force_download=True"):
        source.checkpoint()


def test_an_index_on_the_hub_cannot_name_other_files(hub, tmp_path, cache):
    secret = tmp_path / "secret.safetensors"
    save_safetensors(secret, STATE)
    for target in ("../../../../secret.safetensors", str(secret)):
        index = {"metadata": {}, "weight_map": {name: target for name in STATE}}
        hub.repos[BASE] = {"model.safetensors.index.json": json.dumps(index).encode()}
        hub.requests.clear()
        with pytest.raises(UnsafeContent, match=r"secret\.safetensors"):
            locate(BASE, cache_dir=cache, force_download=True).checkpoint()
        assert not any("secret" in request for request in hub.requests)


def test_a_shard_that_the_hub_does_not_have_is_named(hub, tmp_path, cache):
    _publish(hub, tmp_path, max_shard_size=16)
    del hub.repos[BASE]["model-00002-of-00002.safetensors"]
    with pytest.raises(MissingKeys, match=r"index\.json.*model-00002-of-00002\.safetensors is missing"):
        locate(BASE, cache_dir=cache).checkpoint()


# -- a fresh process -----------------------------------------------------------------------------------------------


def test_the_real_offline_switch_opens_no_socket(tmp_path):
    program = """
import socket
def refuse(*args, **kwargs): raise SystemExit("a socket was opened")
socket.socket.connect = refuse
from albert_core.errors import DownloadError
from albert_core.hub import locate
try:
    locate("albert-base-v2").file("config.json")
except DownloadError as error:
    print(error)
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert "`hf download albert/albert-base-v2`" in done.stdout


def test_importing_the_module_loads_no_http_library():
    program = "import sys, albert_core.hub; print(sorted(m for m in sys.modules if 'http' in m or 'hugging' in m))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
