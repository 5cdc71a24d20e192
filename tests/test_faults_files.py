"""Every fault a weights file or an index can have gives its typed error."""

from __future__ import annotations

import json
import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings, strategies as st
from small_checkpoint import STATE, raw, state_of

from albert_core.errors import (
    CheckpointError,
    FormatError,
    IntegrityError,
    MissingKeys,
    NotFound,
    ResourceLimit,
    UnsafeContent,
)
from albert_core.safetensors_io import (
    INDEX_NAME,
    open_safetensors,
    read_checkpoint,
    save_safetensors,
    save_sharded,
)

# -- hostile safetensors files: rows 1 to 9 of the fault table -----------------------------------------------------


def container(header: dict | str | bytes, data: bytes = b"", length: int | None = None) -> bytes:
    text = json.dumps(header) if isinstance(header, dict) else header
    text = text.encode() if isinstance(text, str) else text
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def tensor(dtype="F32", shape=(2,), offsets=(0, 8)) -> dict:
    return {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data_offsets": offsets}


def one(data: bytes = bytes(8), **fields) -> bytes:
    return container({"w": tensor(**fields)}, data)


def two(first, second, size) -> bytes:
    return container({"a": tensor(offsets=first), "b": tensor(offsets=second)}, bytes(size))


W = '"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
HOSTILE = {
    # cut short, or with something behind
    "truncated by one": (one()[:-1], FormatError, "key 'w': expected 8 bytes of tensors, got 7: the file is cut short"),
    "truncated header": (one()[:20], FormatError, "declares a header of 61 bytes, the whole file has 20"),
    "trailing byte": (
        one() + b"x",
        FormatError,
        "key 'w': expected 8 bytes of tensors, got 9: there are trailing bytes",
    ),
    "bytes without tensors": (container("{}", b"x"), FormatError, "expected 0 bytes of tensors, got 1"),
    "hole": (two([0, 8], [9, 17], 17), FormatError, r"key 'b': expected data_offsets from 8, got \[9, 17\]: .*hole"),
    "hole at the start": (one(bytes(9), offsets=[1, 9]), FormatError, r"key 'w': expected data_offsets from 0"),
    "overlap": (
        two([0, 8], [4, 12], 12),
        FormatError,
        r"key 'b': expected data_offsets from 8, got \[4, 12\]: overlaps",
    ),
    "the same bytes twice": (two([0, 8], [0, 8], 8), FormatError, "key 'b': .*overlaps"),
    # header length
    "length beyond the file": (container("{}", b"", 99), FormatError, "declares a header of 99 bytes, .* has 10"),
    "length 2^63": (container("{}", b"", 2**63), ResourceLimit, "declares a header of 9223372036854775808 bytes"),
    "length 2^64-1": (container("{}", b"", 2**64 - 1), ResourceLimit, "the format allows 100000000"),
    "length 0": (container("", b"12345678"), FormatError, "expected a header from '{' to '}'"),
    "seven bytes": (bytes(7), FormatError, "at least 10 bytes, got 7"),
    # JSON
    "duplicate key": (container("{" + W + "," + W + "}", bytes(8)), FormatError, "key 'w': .*expected every key once"),
    "duplicate field": (
        container('{"w":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8)),
        FormatError,
        "key 'dtype': .*twice",
    ),
    "leading space": (container(" {" + W + "}", bytes(8)), FormatError, "expected a header from '{'"),
    "trailing line feed": (container("{" + W + "}\n", bytes(8)), FormatError, "expected a header from '{' to '}'"),
    "NaN": (container('{"w":NaN}'), FormatError, "expected JSON numbers, got NaN"),
    "-Infinity": (container('{"__metadata__":{"a":-Infinity}}'), FormatError, "got -Infinity"),
    "deep list": (container('{"w":' + "[" * 200_000 + "]" * 200_000 + "}"), FormatError, "nested too deeply"),
    "deep map": (container('{"w":' * 200_000 + "1" + "}" * 200_000), FormatError, "nested too deeply"),
    "5,000 digits": (container('{"w":' + "1" * 5000 + "}"), FormatError, "expected JSON"),
    "not JSON": (container("{nonsense}"), FormatError, "expected JSON in UTF-8"),
    "not UTF-8": (container(b'{"\xff":1}'), FormatError, "expected JSON in UTF-8"),
    "unpaired surrogate": (container('{"\\ud800":1}'), FormatError, "unpaired surrogate"),
    "a second object": (container("{}{}"), FormatError, "Extra data"),
    # entries
    "entry is a list": (container('{"w":[1]}'), FormatError, r"key 'w': expected the fields .*got \[1\]"),
    "missing field": (container('{"w":{"dtype":"F32","shape":[2]}}'), FormatError, "key 'w': expected the fields"),
    "unknown field": (container({"w": {**tensor(), "code": 1}}, bytes(8)), FormatError, "key 'w': .*'code': 1"),
    "unknown dtype": (one(dtype="F31"), FormatError, "key 'w': expected a dtype of F64, .*got 'F31'"),
    "8-bit float": (one(dtype="F8_E4M3", shape=(8,)), FormatError, "key 'w': .*got 'F8_E4M3'"),
    "dtype is a list": (one(dtype=["F32"]), FormatError, r"key 'w': .*got \['F32'\]"),
    "negative shape": (one(shape=(-1, -2)), FormatError, r"key 'w': expected a shape .*got \[-1, -2\]"),
    "bool shape": (one(shape=(True, 2)), FormatError, r"got \[True, 2\]"),
    "float shape": (one(shape=(2.0,)), FormatError, r"got \[2\.0\]"),
    "text shape": (one(shape="2"), FormatError, "key 'w': expected a shape"),
    "null shape": (one(shape=None), FormatError, "key 'w': expected a shape .*got None"),
    "shape of 65 dimensions": (one(bytes(4), shape=(1,) * 65, offsets=[0, 4]), FormatError, "at most 64"),
    "dimension 2^63": (one(b"", shape=(0, 2**63), offsets=[0, 0]), FormatError, "key 'w': expected a shape"),
    "shape beyond memory": (one(shape=(2**40, 2**40)), ResourceLimit, "key 'w': declares the shape"),
    "empty but huge": (one(b"", shape=(0, 2**40, 2**40), offsets=[0, 0]), ResourceLimit, "beyond any address space"),
    "wrong size": (
        one(shape=(3,)),
        FormatError,
        r"key 'w': expected 12 bytes for F32 \[3\], got data_offsets \[0, 8\]",
    ),
    "offsets reversed": (one(offsets=[8, 0]), FormatError, r"key 'w': expected data_offsets .*got \[8, 0\]"),
    "negative offset": (one(offsets=[-8, 0]), FormatError, r"got \[-8, 0\]"),
    "bool offset": (one(offsets=[False, 8]), FormatError, r"got \[False, 8\]"),
    "three offsets": (one(offsets=[0, 4, 8]), FormatError, r"got \[0, 4, 8\]"),
    "metadata is a list": (container('{"__metadata__":[]}'), FormatError, "key '__metadata__': expected a map"),
    "metadata of numbers": (container('{"__metadata__":{"a":1}}'), FormatError, "key '__metadata__'"),
    # digests
    "digests are no JSON": (
        container({"__metadata__": {"albert_sha256": "x"}}),
        FormatError,
        "albert_sha256: expected",
    ),
    "digest is no sha256": (
        container({"__metadata__": {"albert_sha256": '{"w":"AB"}'}, "w": tensor()}, bytes(8)),
        FormatError,
        "key 'w': expected a sha256 of 64 digits, got 'AB'",
    ),
    "digest without tensor": (
        container({"__metadata__": {"albert_sha256": json.dumps({"v": "0" * 64})}}),
        IntegrityError,
        "key 'v': .*a digest without its tensor",
    ),
    "tensor without digest": (
        container({"__metadata__": {"albert_sha256": "{}"}, "w": tensor()}, bytes(8)),
        IntegrityError,
        "key 'w': .*a tensor without a digest",
    ),
    # something else altogether
    "empty file": (b"", FormatError, "got an empty file"),
    "Git LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 46747112\n",
        FormatError,
        "got a Git LFS pointer .*run `git lfs pull`",
    ),
    "HTML page": (b"<!DOCTYPE html><html><title>404</title>", FormatError, "got an HTML page"),
    "HTML page in capitals": (b"\n  <HTML><BODY>proxy</BODY></HTML>", FormatError, "got an HTML page"),
    "zip": (b"PK\x03\x04" + bytes(60), FormatError, "PyTorch .bin.*albert convert"),
    "pickle": (pickle.dumps({"w": list(range(99))}, 2), FormatError, "got a pickle, such as an old PyTorch"),
    "newer pickle": (pickle.dumps({"w": list(range(99))}), FormatError, "got a pickle"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(60), FormatError, "got HDF5, such as a Keras .h5"),
    "NumPy": (b"\x93NUMPY\x01\x00" + bytes(60), FormatError, "got a NumPy .npy"),
    "its own index": (b'{"weight_map": {}}', FormatError, "got JSON text"),
    "zeros": (bytes(64), FormatError, "expected a header"),
    "ones": (b"\xff" * 64, ResourceLimit, "declares a header"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_safetensors(tmp_path, name):
    data, error, message = HOSTILE[name]
    path = tmp_path / "weights.safetensors"
    path.write_bytes(data)
    with pytest.raises(error, match=message) as caught:
        open_safetensors(path)
    assert type(caught.value) is error
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1500 + len(str(path))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("length", [100_000_001, 2**40, 2**63])
def test_a_huge_header_is_refused_before_memory_is_asked_for(tmp_path, length):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.write(length.to_bytes(8, "little") + b"{")
        file.truncate(200_000_000)
    tracemalloc.start()
    with pytest.raises(ResourceLimit, match=f"declares a header of {length} bytes"):
        open_safetensors(path)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_a_name_of_a_megabyte_does_not_fill_the_screen(tmp_path):
    (tmp_path / "x").write_bytes(container({"n" * 10**6: tensor(dtype="F" * 10**6)}, bytes(8)))
    with pytest.raises(FormatError) as caught:
        open_safetensors(tmp_path / "x")
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\0b", "", "C:\\x", "/absolute", "名"])
def test_an_odd_name_is_only_a_name(tmp_path, name):
    (tmp_path / "x").write_bytes(container({name: tensor()}, bytes(8)))
    with open_safetensors(tmp_path / "x") as reader:
        assert reader.read(name).tolist() == [0, 0]


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(FormatError, match="got a folder or a device"):
            open_safetensors(path)
    with pytest.raises(NotFound, match=r"gone\.safetensors"):
        open_safetensors(tmp_path / "gone.safetensors")


def test_booleans_are_zero_or_one(tmp_path):
    (tmp_path / "x").write_bytes(container({"w": tensor("BOOL", (2,), [0, 2])}, b"\1\2"))
    with open_safetensors(tmp_path / "x") as reader, pytest.raises(FormatError, match=r"key 'w': .*0 and 1, got 2"):
        reader.read("w")


def test_a_file_that_shrinks_while_it_is_read(tmp_path):
    (tmp_path / "x").write_bytes(one())
    with open_safetensors(tmp_path / "x") as reader:
        os.truncate(tmp_path / "x", len(one()) - 3)
        with pytest.raises(FormatError, match="key 'w': expected 8 bytes, got 5"):
            reader.read("w")


def test_no_flipped_bit_changes_a_value_unnoticed(tmp_path):
    path = tmp_path / "x"
    save_safetensors(path, STATE)
    whole, noticed, tried = path.read_bytes(), 0, 0
    data_start = 8 + int.from_bytes(whole[:8], "little")
    for position in range(len(whole)):
        for bit in range(8) if position >= data_start else [position % 8]:
            tried += 1
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                assert state_of(path) == raw(STATE)  # a flip in a note, or in the name of the digests
            except CheckpointError:
                noticed += 1
    assert noticed > 0.9 * tried


def test_a_flipped_bit_in_a_tensor_names_it(tmp_path):
    save_sharded(tmp_path, STATE, max_shard_size=16)
    shard = tmp_path / "model-00001-of-00002.safetensors"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with (
        read_checkpoint(tmp_path) as checkpoint,
        pytest.raises(IntegrityError, match=r"00001-of-00002.*key 'a\.weight': expected the sha256") as caught,
    ):
        checkpoint.verify()
    assert caught.value.exit_code == 5


def test_no_prefix_of_a_file_is_a_file(tmp_path):
    save_safetensors(tmp_path / "x", STATE)
    whole = (tmp_path / "x").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "x").write_bytes(whole[:length])
        with pytest.raises(FormatError):
            open_safetensors(tmp_path / "x")


_ODD = st.one_of(st.integers(-2, 20), st.sampled_from(["F32", "I8", None, True, 2.0, 2**63, {}, [[]]]))
_ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "I8", "BF16", "x"]),
        "shape": st.lists(st.one_of(st.integers(0, 3), _ODD), max_size=3),
        "data_offsets": st.one_of(
            st.tuples(st.integers(0, 12), st.integers(0, 12)).map(list), st.lists(_ODD, max_size=3)
        ),
    }
)
_HEADER = st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), st.one_of(_ENTRY, _ENTRY, _ODD), max_size=3)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "file"


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    st.one_of(
        st.binary(max_size=80), st.builds(container, st.one_of(_HEADER, st.binary(max_size=40)), st.binary(max_size=16))
    )
)
def test_whatever_the_bytes_are_the_error_is_typed_and_the_reference_reader_agrees(scratch, data):
    scratch.write_bytes(data)
    try:
        ours = state_of(scratch)
    except CheckpointError:
        return
    if b"BF16" not in data:  # its NumPy front end has no bfloat16
        assert ours == raw(safetensors.numpy.load(data))


# -- index files: rows 30 and 31 -----------------------------------------------------------------------------------

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
SHARDS = {FIRST: {"a": np.ones(4)}, SECOND: {"b": np.ones(4), "c": np.ones(2)}}
GOOD = {"a": FIRST, "b": SECOND, "c": SECOND}


@pytest.fixture
def sharded(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name, tensors in SHARDS.items():
        save_safetensors(folder / name, tensors)
    save_safetensors(tmp_path / "secret.safetensors", {"a": np.ones(4)})
    return folder


def write_index(folder: Path, weight_map) -> None:
    (folder / INDEX_NAME).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


INDEXES = {
    "no weight_map": (
        '{"metadata": {}}',
        FormatError,
        "key 'weight_map': expected a map of tensors to files, got None",
    ),
    "weight_map is a list": ('{"weight_map": ["a"]}', FormatError, r"key 'weight_map': .*got \['a'\]"),
    "weight_map is empty": ('{"weight_map": {}}', FormatError, "key 'weight_map': .*got {}"),
    "index is a list": ("[]", FormatError, "expected a JSON object, got list"),
    "index is empty": ("", FormatError, "index: expected JSON"),
    "index is a pointer": ("version https://git-lfs.github.com/spec/v1\n", FormatError, "Git LFS pointer"),
    "index is HTML": ("<html></html>", FormatError, "got an HTML page"),
    "duplicate key": (f'{{"weight_map": {{"a": "{FIRST}", "a": "{SECOND}"}}}}', FormatError, "key 'a': .*twice"),
    "deep": ('{"weight_map":' * 200_000, FormatError, "nested too deeply"),
    "names are no strings": ({**GOOD, "a": 1, "b": None}, FormatError, "expected file names, got 'a': 1; 'b': None"),
    "key not in its shard": ({**GOOD, "d": FIRST}, MissingKeys, f"'d' is not in {FIRST}"),
    "key in no map": ({"a": FIRST, "b": SECOND}, FormatError, f"'c' is in {SECOND}, the map says nothing of it"),
    "key promised elsewhere": ({**GOOD, "c": FIRST}, FormatError, f"'c' is in {SECOND}, the map says {FIRST}"),
    "shard missing": ({**GOOD, "d": "gone.safetensors"}, MissingKeys, "the shard gone.safetensors is missing"),
    "several": (
        {"a": FIRST, "d": SECOND, "e": "gone.safetensors"},
        FormatError,
        "'b' is in .*'c' is in .*the shard gone.safetensors is missing; 'd' is not in",
    ),
    "shard is no safetensors": ({"a": INDEX_NAME}, FormatError, "got JSON text"),
}


@pytest.mark.parametrize("name", INDEXES)
def test_hostile_index(sharded, name):
    index, error, message = INDEXES[name]
    if isinstance(index, str):
        (sharded / INDEX_NAME).write_text(index)
    else:
        write_index(sharded, index)
    with pytest.raises(error, match=message) as caught:
        read_checkpoint(sharded)
    assert type(caught.value) is error
    assert INDEX_NAME in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).as_dict() == caught.value.as_dict()


def test_all_missing_keys_are_facts_of_the_error(sharded):
    write_index(sharded, GOOD | {f"x{i}": "gone.safetensors" for i in range(30)})
    with pytest.raises(MissingKeys) as caught:
        read_checkpoint(sharded)
    assert caught.value.keys == [f"x{i}" for i in range(30)]


def test_two_shards_that_hold_one_key(sharded):
    save_safetensors(sharded / FIRST, {"a": np.ones(4), "b": np.zeros(4)})
    write_index(sharded, GOOD)
    with pytest.raises(FormatError, match=f"'b' is in {FIRST}, the map says {SECOND}"):
        read_checkpoint(sharded)


@pytest.mark.parametrize(
    "target",
    [
        "../secret.safetensors",
        "./model.safetensors",
        "sub/../../secret.safetensors",
        "{secret}",
        "C:\\secret.safetensors",
        "C:secret.safetensors",
        "\\\\server\\share\\x",
        "..\\secret.safetensors",
        "..",
        ".",
        "",
        "a\0b",
        "x" * 300,
        "link.safetensors",
        "far/link.safetensors",
    ],
)
def test_an_index_names_files_of_its_folder_only(sharded, target, monkeypatch):
    secret = sharded.parent / "secret.safetensors"
    (sharded / "link.safetensors").symlink_to(secret)
    (sharded / "far").symlink_to(sharded.parent)
    target = target.format(secret=secret)
    write_index(sharded, GOOD | {"a": target})
    opened, original = [], Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, *args, **kwargs: opened.append(self) or original(self, *args, **kwargs)
    )
    with pytest.raises(UnsafeContent, match=r"key 'a': .*no file was opened") as caught:
        read_checkpoint(sharded)
    assert repr(target[:200])[1:-1] in str(caught.value)
    assert [path.name for path in opened] in ([], [INDEX_NAME])


@pytest.mark.parametrize("store", ["models--org--name/blobs", "blobs/ab"], ids=["blobs", "shared store"])
def test_the_hub_cache_s_own_links_are_followed(tmp_path, store):
    snapshot, blobs = tmp_path / "models--org--name/snapshots/0123", tmp_path / store
    snapshot.mkdir(parents=True)
    blobs.mkdir(parents=True)
    save_sharded(snapshot, STATE, max_shard_size=16)
    for path in list(snapshot.iterdir()):
        path.rename(blobs / f"blob-of-{path.name}")
        path.symlink_to(os.path.relpath(blobs / f"blob-of-{path.name}", snapshot))
    assert state_of(snapshot) == raw(STATE)
    moved = snapshot.parent.parent.rename(tmp_path / "name")  # no cache any more
    if store.startswith("models"):
        with pytest.raises(UnsafeContent):
            read_checkpoint(moved / "snapshots/0123")


def test_a_link_inside_of_the_folder_is_followed(sharded):
    (sharded / "real").mkdir()
    (sharded / FIRST).rename(sharded / "real" / FIRST)
    (sharded / FIRST).symlink_to(sharded / "real" / FIRST)
    write_index(sharded, GOOD)
    assert set(state_of(sharded)) == set(GOOD)


def test_an_old_index_cannot_have_other_files_removed(sharded):
    (sharded / "config.json").write_text("{}")
    for target in ("../secret.safetensors", "config.json"):
        write_index(sharded, {"a": target})
        save_sharded(sharded, STATE)
        assert (sharded.parent / "secret.safetensors").exists()
        assert (sharded / "config.json").exists()
        assert state_of(sharded) == raw(STATE)
