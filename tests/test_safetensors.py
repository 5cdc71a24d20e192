"""Safetensors in and out: bit-exact for any memory layout, equal bytes for equal weights, shards and their index."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Mapping

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given, settings, strategies as st

from albert_core.errors import FormatError, MissingKeys, NotFound, SaveError
from albert_core.safetensors_io import open_safetensors, read_checkpoint, save_safetensors, save_sharded

BFLOAT16 = ml_dtypes.bfloat16
DTYPES = ["f8", "f4", "f2", BFLOAT16, "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?", "c8"]
VIEWS = {
    "as it is": lambda a: a,
    "transposed": lambda a: a.T,
    "Fortran order": np.asfortranarray,
    "every second": lambda a: a[::2] if a.ndim else a,
    "last axis reversed": lambda a: a[..., ::-1] if a.ndim else a,
    "broadcast": lambda a: np.broadcast_to(a, (3, *a.shape)),
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "other byte order": lambda a: a if a.dtype == BFLOAT16 else a.astype(a.dtype.newbyteorder(">")),
}


@st.composite
def arrays(draw) -> np.ndarray:
    """An array of random bits: NaNs with payloads, infinities, negative zeros and subnormals are among them."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    raw = np.random.default_rng(draw(st.integers(0, 2**32))).bytes(int(np.prod(shape)) * dtype.itemsize)
    array = np.frombuffer(raw, np.uint8) & 1 if dtype == np.bool_ else np.frombuffer(raw, np.uint8)
    return VIEWS[draw(st.sampled_from(sorted(VIEWS)))](array.copy().view(dtype).reshape(shape))


def bits(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    """Everything that must survive; bytes, because NaN equals nothing."""
    array = np.asarray(array)
    return array.dtype.name, array.shape, array.astype(array.dtype.newbyteorder("<")).tobytes("C")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("safetensors")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=5).filter(lambda n: n != "__metadata__"), arrays(), max_size=5
    )
)
def test_any_view_round_trips_bit_for_bit(folder, tensors):
    path = folder / "any.safetensors"
    save_safetensors(path, tensors)
    with open_safetensors(path) as reader:
        assert reader.integrity == reader.verify() == "verified"
        assert {name: bits(reader.read(name)) for name in reader} == {name: bits(a) for name, a in tensors.items()}
    others = safetensors.torch.load_file(path)  # the reference reader agrees
    assert {
        name: (tuple(t.shape), t.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        for name, t in others.items()
    } == {name: bits(array)[1:] for name, array in tensors.items()}


def test_numpy_front_end_of_the_reference_reader_agrees(tmp_path):
    tensors = {"w": np.arange(6.0).reshape(2, 3).T, "h": np.float16([1, -2]), "scalar": np.array(3, np.int64)}
    save_safetensors(tmp_path / "x", tensors)
    loaded = safetensors.numpy.load_file(tmp_path / "x")
    assert {name: bits(a) for name, a in loaded.items()} == {name: bits(a) for name, a in tensors.items()}


@pytest.mark.parametrize("save", [safetensors.torch.save_file, safetensors.torch.save_model], ids=["file", "model"])
def test_files_of_the_reference_writer_load_unverified(tmp_path, save):
    model = torch.nn.Linear(3, 2, dtype=torch.bfloat16)
    save(model if save is safetensors.torch.save_model else model.state_dict(), tmp_path / "model.safetensors")
    with read_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.integrity == checkpoint.verify() == "unverified"
        assert checkpoint["weight"].dtype == BFLOAT16
        np.testing.assert_array_equal(checkpoint["weight"].astype(float), model.weight.detach().double().numpy())


def test_arrays_that_were_read_are_the_caller_s_own(tmp_path):
    save_safetensors(tmp_path / "x", {"a": np.zeros(3), "b": np.zeros((), np.int8)})
    with open_safetensors(tmp_path / "x") as reader:
        first = reader.read("a")
        first += 1
        assert first.flags.writeable
        assert first.flags.aligned
        assert reader.read("a").sum() == 0
    assert first.sum() == 3


# -- what the file says --------------------------------------------------------------------------------------------


def test_header_is_canonical(tmp_path):
    tensors = {"b": np.ones(3, np.int8), "a": np.ones((1, 2), np.float32), "c": np.ones(1)}
    save_safetensors(tmp_path / "x", tensors, metadata={"note": "é"})
    data = (tmp_path / "x").read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    assert list(header) == ["__metadata__", "a", "b", "c"]
    assert header["b"] == {"data_offsets": [16, 19], "dtype": "I8", "shape": [3]}  # the widest first: all are aligned
    digests = {name: hashlib.sha256(a.tobytes()).hexdigest() for name, a in tensors.items()}
    notes = {"albert_sha256": json.dumps(digests, sort_keys=True), "format": "pt", "note": "é"}
    assert header["__metadata__"] == notes
    with open_safetensors(tmp_path / "x") as reader:
        assert reader.metadata == {"format": "pt", "note": "é"}


def test_equal_weights_give_equal_bytes_in_every_process(tmp_path):
    program = """
import sys, numpy as np
from albert_core.safetensors_io import save_safetensors
names = ["a.weight", "b", "a.bias", "Z", "é"]
save_safetensors(sys.argv[1], {n: np.arange(12, dtype="f4").reshape(3, 4).T for n in sorted(names, key=hash)})
"""
    for seed in "123":
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", program, str(tmp_path / seed)], env=environment, check=True)
    assert len({(tmp_path / seed).read_bytes() for seed in "123"}) == 1


def test_lazy_tensors_are_held_one_at_a_time(tmp_path):
    class Lazy(Mapping):
        def __getitem__(self, name):
            return np.full((500, 500), int(name), np.float32).T  # 1 MB

        def __iter__(self):
            return iter("0123456789")

        def __len__(self):
            return 10

    tracemalloc.start()
    save_safetensors(tmp_path / "x", Lazy())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6
    with open_safetensors(tmp_path / "x") as reader:
        assert [reader.read(name)[0, 0] for name in sorted(reader)] == list(range(10))


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"x": np.array([1j])}, None, "key 'x': expected a dtype of .*got complex128"),
        ({"x": np.array(["text"])}, None, "key 'x': .*got <U4"),
        ({"x": np.array([None])}, None, "key 'x': .*got object"),
        ({"x": np.zeros(1, ml_dtypes.float8_e4m3fn)}, None, "key 'x': .*float8_e4m3fn"),
        ({"__metadata__": np.zeros(1)}, None, "key '__metadata__': .*reserved"),
        ({"\ud800": np.zeros(1)}, None, r"ud800.*expected a name of Unicode text"),
        ({7: np.zeros(1)}, None, "key '7': expected a name"),
        ({"x": np.zeros(1)}, {"epoch": 3}, "key 'epoch': expected metadata of strings, got 3"),
    ],
)
def test_what_the_format_cannot_hold_is_refused_before_anything_is_written(tmp_path, tensors, metadata, message):
    with pytest.raises(FormatError, match=message):
        save_safetensors(tmp_path / "x", tensors, metadata)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_not_there(tmp_path):
    save_safetensors(tmp_path / "model.safetensors", {"a": np.zeros(1)})
    with open_safetensors(tmp_path / "model.safetensors") as reader, pytest.raises(MissingKeys, match="key 'b'"):
        reader.read("b")
    with read_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.get("b") is None
        assert "b" not in checkpoint


# -- folders and shards --------------------------------------------------------------------------------------------

STATE = {f"layer.{i}": np.arange(i, i + 4, dtype=np.float32) for i in range(5)}  # 16 bytes each
OTHER = {f"layer.{i}": -np.ones(4, np.float32) for i in range(5)}


def assert_holds(folder, state) -> None:
    with read_checkpoint(folder) as checkpoint:
        assert checkpoint.integrity == "verified"
        assert {name: bits(checkpoint[name]) for name in checkpoint.keys()} == {n: bits(a) for n, a in state.items()}
        for name, array in state.items():
            assert (checkpoint.shape(name), checkpoint.dtype(name)) == (array.shape, array.dtype)


def names_in(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("size", "number"), [("5GB", 1), (80, 1), (79, 2), ("48", 2), (32, 3), (31, 5), (1, 5), ("1 KiB", 1)]
)
def test_shards_are_as_large_as_they_may_be(tmp_path, size, number):
    save_sharded(tmp_path, STATE, max_shard_size=size)
    assert_holds(tmp_path, STATE)
    shards = {f"model-{i:05}-of-{number:05}.safetensors" for i in range(1, number + 1)}
    expected = {"model.safetensors"} if number == 1 else shards | {"model.safetensors.index.json"}
    assert names_in(tmp_path) == expected


@pytest.mark.parametrize("size", [0, -1, True, None, 2.5, "", "GB", "5XB", "0.5GB", "-5GB", "0"])
def test_a_shard_size_that_is_none_is_refused(tmp_path, size):
    with pytest.raises(ValueError, match="max_shard_size: expected a size"):
        save_sharded(tmp_path, STATE, max_shard_size=size)
    assert names_in(tmp_path) == set()


def test_the_index_is_as_transformers_writes_it(tmp_path):
    save_sharded(tmp_path, STATE, max_shard_size=48)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    first, second = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    assert index["metadata"] == {"total_size": 80}
    assert list(index["weight_map"].items()) == [(f"layer.{i}", first if i < 3 else second) for i in range(5)]
    for shard in (first, second):
        held = set(safetensors.numpy.load_file(tmp_path / shard))
        assert held == {name for name, file in index["weight_map"].items() if file == shard}


@pytest.mark.parametrize("old", ["5GB", 48])
@pytest.mark.parametrize("new", ["5GB", 48, 16])
def test_saving_over_a_checkpoint_leaves_only_the_new_one(tmp_path, old, new):
    (tmp_path / "notes.txt").write_text("mine")
    save_sharded(tmp_path, STATE, max_shard_size=old)
    save_sharded(tmp_path, OTHER, max_shard_size=new)
    assert_holds(tmp_path, OTHER)
    shards = {"5GB": 1, 48: 3, 16: 6}[new]
    assert len(names_in(tmp_path)) == shards + 1
    assert (tmp_path / "notes.txt").read_text() == "mine"
    save_sharded(tmp_path, STATE, max_shard_size=new)
    assert_holds(tmp_path, STATE)
    assert len(names_in(tmp_path)) == shards + 1


def test_one_file_wins_over_an_index(tmp_path):
    save_sharded(tmp_path, STATE, max_shard_size=48)
    save_safetensors(tmp_path / "model.safetensors", OTHER)
    assert_holds(tmp_path, OTHER)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"])
def test_a_folder_with_foreign_weights_says_how_to_convert_them(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(NotFound, match=rf"neither model\.safetensors nor .*but {name} .*`albert convert "):
        read_checkpoint(tmp_path)


def test_no_folder_and_an_empty_folder_are_different(tmp_path):
    with pytest.raises(NotFound, match="nowhere: there is no such folder"):
        read_checkpoint(tmp_path / "nowhere")
    with pytest.raises(NotFound, match="holds neither"):
        read_checkpoint(tmp_path)
    with pytest.raises(SaveError, match="nowhere"):
        save_sharded(tmp_path / "nowhere", STATE)


def test_a_map_of_the_old_file_keeps_its_values(tmp_path):
    save_sharded(tmp_path, STATE)
    with read_checkpoint(tmp_path) as checkpoint:
        held = np.memmap(tmp_path / "model.safetensors", np.uint8, "r")
        before = bytes(held)
        save_sharded(tmp_path, OTHER)
        assert bytes(held) == before
        assert bits(checkpoint["layer.2"]) == bits(STATE["layer.2"])
    assert_holds(tmp_path, OTHER)
