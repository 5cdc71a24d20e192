"""A corpus of crafted checkpoints: what a hostile or damaged file of each format can look like.

`write(root)` makes one folder per case; `run(root)` is what a worker does with them: try to open and read each, print
one line of JSON, and stay alive. A case names the error types that are right for it.
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import signal
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SIZES = {
    "vocab_size": 5,
    "embedding_size": 2,
    "hidden_size": 4,
    "num_attention_heads": 2,
    "intermediate_size": 3,
    "num_hidden_layers": 1,
    "max_position_embeddings": 3,
}
Files = dict[str, bytes]
Case = tuple[str, Files, tuple[str, ...]]
FORMAT, UNSAFE, LIMIT, INTEGRITY = ("FormatError",), ("UnsafeContent",), ("ResourceLimit",), ("IntegrityError",)
MISSING = ("MissingKeys",)
SECONDS = 20  # after which a case counts as a hang


# -- PyTorch: pickles ----------------------------------------------------------------------------------------------


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def storage(kind: str = "FloatStorage", key: str = "0", count: bytes = number(4)) -> bytes:
    return tuple_of(text("storage"), f"ctorch\n{kind}\n".encode(), text(key), text("cpu"), count) + b"Q"


def tensor(
    store: bytes | None = None, offset: bytes = number(0), shape: bytes | None = None, strides: bytes | None = None
) -> bytes:
    parts = (store or storage(), offset, shape or tuple_of(number(4)), strides or tuple_of(number(1)), b"\x89", b"N")
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + tuple_of(*parts) + b"R"


def state(*items: bytes) -> bytes:
    return b"\x80\x02}(" + b"".join(items) + b"u."


def archive(pickled: bytes, data: bytes = bytes(16), **members: Any) -> bytes:
    """A PyTorch archive; keywords name further members or replace them."""
    names = {
        "archive/data.pkl": pickled,
        "archive/byteorder": b"little",
        "archive/data/0": data,
        "archive/version": b"3",
    }
    names |= members.pop("more", {})
    out = io.BytesIO()
    compression = members.pop("compression", zipfile.ZIP_STORED)
    with zipfile.ZipFile(out, "w") as target:
        for name, content in names.items():
            target.writestr(zipfile.ZipInfo(name), content, compression)
    return out.getvalue()


class _Calls:
    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> tuple:
        return self.reduced


def pickles() -> Iterator[tuple[str, bytes, tuple[str, ...]]]:
    one = text("w") + tensor()
    for protocol in range(6):
        evil = pickle.dumps({"w": _Calls(exec, "raise SystemExit")}, protocol)
        yield f"exec, protocol {protocol}", evil, UNSAFE
    for module, name in (
        ("os", "system"), ("builtins", "eval"), ("posix", "system"), ("subprocess", "Popen"), ("torch", "load"),
        ("torch.serialization", "load"), ("torch._utils", "_rebuild_sparse_tensor"), ("numpy", "load"),
        ("torch._utils", "_rebuild_device_tensor_from_numpy"), ("torch.storage", "_load_from_bytes"),
        ("collections", "OrderedDict.__init__"), ("torch.nn.modules.linear", "Linear"), ("webbrowser", "open"),
        ("torch", "FloatStorage.from_file"), ("torch.jit", "load"), ("importlib", "import_module"),
    ):  # fmt: skip
        yield f"global {module}.{name}", state(text("w") + f"c{module}\n{name}\n".encode() + b")R"), UNSAFE
    yield (
        "stack global",
        b"\x80\x04}" + text("w") + text("os") + text("system") + b"\x93" + text("x") + b"\x85Rs.",
        UNSAFE,
    )
    yield "inst", state(text("w") + b"(ios\nsystem\n"), UNSAFE
    yield "obj", state(text("w") + b"(cos\nsystem\no"), UNSAFE
    yield "newobj", state(text("w") + b"cbuiltins\nobject\n)\x81"), UNSAFE
    yield "extension", state(text("w") + b"\x82\x01"), UNSAFE
    yield "text persistent id", state(text("w") + b"P0\n"), UNSAFE
    yield "build on a tensor", state(one + b"}b"), UNSAFE
    yield "build with attributes", b"\x80\x02}}" + text("__class__") + text("x") + b"sb.", UNSAFE
    yield "call of a storage", state(text("w") + b"ctorch\nFloatStorage\n)R"), UNSAFE
    yield "call of a tensor", state(one + b")R"), UNSAFE
    yield "call of text", state(text("w") + text("x") + b")R"), UNSAFE
    yield "dup", state(text("w") + b"2"), UNSAFE
    yield "bytes", state(text("w") + b"C\x01x"), UNSAFE
    yield "no stop", state(one)[:-1], FORMAT
    yield "empty", b"", FORMAT
    yield "bytes behind the end", state(one) + b"x", FORMAT
    yield "cut in the middle", state(one)[:50], FORMAT
    yield "stack underflow", b"\x80\x02s.", FORMAT
    yield "no mark", b"\x80\x02t.", FORMAT
    yield "unknown memo", b"\x80\x02h\x07.", FORMAT
    yield "unknown opcode", b"\x80\x02\xff.", FORMAT
    yield "text longer than the file", b"\x80\x02X\xff\xff\xff\x7fabc.", FORMAT
    yield "protocol 9", b"\x80\x09}.", ("FormatError", "MissingKeys")
    yield "a list", b"\x80\x02].", FORMAT
    yield "nothing", b"\x80\x02N.", FORMAT
    yield "a number", b"\x80\x02K\x05.", FORMAT
    yield "a tensor alone", b"\x80\x02" + tensor() + b".", FORMAT
    yield "a map in a map", state(text("state_dict") + b"}"), FORMAT
    yield "text as a tensor", state(text("w") + text("v")), FORMAT
    yield "a map in itself", b"\x80\x02}q\x00" + text("w") + b"h\x00s.", FORMAT
    yield "a number as a name", state(number(1) + tensor()), FORMAT
    yield "a nested tuple as a name", b"\x80\x02}(" + b")" + b"\x85" * 5000 + tensor() + b"u.", FORMAT
    yield "doubling tuples as a name", b"\x80\x02}()" + b"q\x00h\x00\x86" * 60 + tensor() + b"u.", FORMAT
    yield "a tuple 200,000 deep", b"\x80\x02)" + b"\x85" * 200_000 + b".", FORMAT
    yield "a name twice", state(one, one), FORMAT
    yield "an ordered map with content", b"\x80\x02ccollections\nOrderedDict\n" + tuple_of(text("x")) + b"R.", FORMAT
    yield "a parameter of nothing", state(text("w") + b"ctorch._utils\n_rebuild_parameter\nN\x89N\x87R"), FORMAT
    yield (
        "half a tensor",
        state(text("w") + b"ctorch._utils\n_rebuild_tensor_v2\n" + tuple_of(storage()) + b"R"),
        FORMAT,
    )
    for name, broken in {
        "negative size": {"shape": tuple_of(number(-4))},
        "negative stride": {"strides": tuple_of(number(-1))},
        "size of text": {"shape": tuple_of(text("4"))},
        "size of a bool": {"shape": tuple_of(b"\x88")},
        "size 2^70": {"shape": tuple_of(number(2**70))},
        "two sizes, one stride": {"shape": tuple_of(number(2), number(2))},
        "shape is a number": {"shape": number(4)},
        "beyond its storage": {"shape": tuple_of(number(5))},
        "offset beyond": {"offset": number(1)},
        "negative offset": {"offset": number(-1)},
        "expanded to 10^12": {
            "shape": tuple_of(number(10**6), number(10**6)),
            "strides": tuple_of(number(0), number(0)),
        },
        "overlapping": {"shape": tuple_of(number(2), number(3)), "strides": tuple_of(number(1), number(1))},
        "65 dimensions": {"shape": tuple_of(*[number(1)] * 65), "strides": tuple_of(*[number(1)] * 65)},
        "unknown storage": {"store": storage("ComplexFloatStorage")},
        "storage of another size": {"store": storage(count=number(5))},
        "storage of negative size": {"store": storage(count=number(-4))},
        "storage that is not there": {"store": storage(key="7")},
        "storage outside": {"store": storage(key="../../../../etc/passwd")},
        "storage reference is text": {"store": text("storage") + b"Q"},
        "storage reference is short": {"store": tuple_of(text("storage")) + b"Q"},
        "storage of a function": {"store": storage("_utils._rebuild_tensor_v2")},
    }.items():
        yield name, state(text("w") + tensor(**broken)), (*FORMAT, *UNSAFE)
    empty = {"shape": tuple_of(number(0), number(2**62), number(2**62)), "strides": tuple_of(*[number(0)] * 3)}
    yield "empty but huge", state(text("w") + tensor(**empty)), LIMIT


def archives() -> Iterator[tuple[str, bytes, tuple[str, ...]]]:
    good = state(text("w") + tensor())
    whole = archive(good)
    yield "compressed", archive(good, compression=zipfile.ZIP_DEFLATED), FORMAT
    yield "compressed bomb", archive(good, bytes(30_000_000), compression=zipfile.ZIP_DEFLATED), FORMAT
    for name in ("../evil", "/etc/evil", "archive/../../evil", "archive\\evil", "C:/evil", "archive//evil"):
        yield f"member {name}", archive(good, more={name: b"x"}), UNSAFE
    yield "no data.pkl", archive(good).replace(b"data.pkl", b"date.pkl"), FORMAT
    yield "two data.pkl", archive(good, more={"other/data.pkl": good}), FORMAT
    yield "a program", archive(good, more={"archive/code/__torch__.py": b"x"}), UNSAFE
    yield "constants", archive(good, more={"archive/constants.pkl": b"x"}), UNSAFE
    yield "strange byte order", archive(good, more={"archive/byteorder": b"middle"}), FORMAT
    yield "legacy", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", FORMAT
    for part in (10, 50, 80, 95, 99):
        yield f"{part} % of an archive", whole[: len(whole) * part // 100], FORMAT
    place = whole.index(b"PK\x01\x02")
    yield "encrypted", whole[: place + 8] + b"\x01" + whole[place + 9 :], FORMAT
    yield "offset beyond the file", whole[: place + 42] + b"\xff\xff\xff\x7f" + whole[place + 46 :], FORMAT
    yield "size beyond the file", whole[: place + 20] + b"\xff\xff\xff\x7f" * 2 + whole[place + 28 :], FORMAT
    yield "offset of another member", whole[: place + 42] + b"\x01\0\0\0" + whole[place + 46 :], FORMAT
    flipped = bytearray(archive(good, b"\x01" * 16))
    flipped[flipped.index(b"\x01" * 16)] ^= 1
    yield "flipped bit", bytes(flipped), INTEGRITY
    member = io.BytesIO()
    with zipfile.ZipFile(member, "w") as target:
        target.writestr("archive/data.pkl", good)
        with contextlib.suppress(UserWarning), _no_warnings():
            target.writestr("archive/data.pkl", good)
    yield "a member twice", member.getvalue(), FORMAT


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# -- Flax ----------------------------------------------------------------------------------------------------------


def packed(shape: bytes = b"\x91\x02", dtype: bytes = b"\xa7float32", data: bytes = b"\xc4\x08" + bytes(8)) -> bytes:
    body = b"\x93" + shape + dtype + data
    return b"\xc7" + bytes([len(body)]) + b"\x01" + body


def msgpacks() -> Iterator[tuple[str, bytes, tuple[str, ...]]]:
    one = b"\x81\xa1w" + packed()
    yield "a list", b"\x91" + packed(), FORMAT
    yield "text alone", b"\xa5hello", FORMAT
    yield "bytes behind the end", one + b"\xc0", FORMAT
    yield "cut by one", one[:-1], FORMAT
    yield "only a head", b"\x81\xa1w", FORMAT
    yield "a name twice", b"\x82\xa1w" + packed() + b"\xa1w" + packed(), FORMAT
    yield "a name with a slash", b"\x81\xa3a/b" + packed(), FORMAT
    yield "an empty name", b"\x82\xa1w" + packed() + b"\xa0" + packed(), FORMAT
    yield "a name that is a number", b"\x82\xa1w" + packed() + b"\x01" + packed(), FORMAT
    yield "a name that is no text", b"\x81\xa2\xff\xfe" + packed(), FORMAT
    yield "a name of 60,000 bytes", b"\x81\xda\xea\x60" + b"x" * 60_000 + packed(), LIMIT
    yield "nothing as a value", b"\x81\xa1w\xc0", FORMAT
    yield "a number as a value", b"\x81\xa1w\x05", FORMAT
    yield "bytes as a value", b"\x81\xa1w\xc4\x01x", FORMAT
    yield "unknown extension", b"\x81\xa1w\xc7\x03\x09abc", FORMAT
    yield "complex extension", b"\x81\xa1w\xc7\x03\x02abc", FORMAT
    yield "map of 4 billion", b"\xdf\xff\xff\xff\xff\xa1w" + packed(), FORMAT
    yield "extension of 4 GiB", b"\x81\xa1w\xc9\xff\xff\xff\xff\x01\x93", FORMAT
    yield "64 maps in each other", b"\x81\xa1a" * 70 + b"\x81\xa1w" + packed(), LIMIT
    yield "500,000 maps in each other", b"\x81\xa1a" * 500_000, LIMIT
    for name, body in {
        "negative size": packed(b"\x91\xff"),
        "a size of 64 signed bits": packed(b"\x91\xd3" + b"\xff" * 8),
        "a size that is a float": packed(b"\x91\xca\x40\x00\x00\x00"),
        "a size that is text": packed(b"\x91\xa12"),
        "a shape that is a number": packed(b"\x02"),
        "another size": packed(b"\x91\x03"),
        "unknown dtype": packed(dtype=b"\xa6object"),
        "dtype of void": packed(dtype=b"\xa2V4"),
        "dtype is a number": packed(dtype=b"\x05"),
        "values are text": packed(data=b"\xa8" + b"x" * 8),
        "fewer values": packed(data=b"\xc4\x04" + bytes(4)),
        "values longer than the extension": packed(data=b"\xc4\x08" + bytes(4)),
        "two of three fields": b"\xc7\x03\x01\x92\x91\x02",
        "an empty extension": b"\xc7\x00\x01",
    }.items():
        yield name, b"\x81\xa1w" + body, FORMAT
    yield "beyond memory", b"\x81\xa1w" + packed(b"\x92" + b"\xcf\x00\x00\x01\x00\x00\x00\x00\x00" * 2), LIMIT
    yield "70 dimensions", b"\x81\xa1w" + packed(b"\xdc\x00\x46" + b"\x01" * 70), FORMAT
    yield "empty", b"", ("FormatError", "NotFound")
    yield "booleans of 2", b"\x81\xa1w" + packed(b"\x91\x02", b"\xa4bool", b"\xc4\x02\x02\x02"), FORMAT


# -- HDF5 ----------------------------------------------------------------------------------------------------------


def h5(build: Callable[[Any], None], **options: Any) -> bytes:
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w", **options) as file:
        build(file)
    return out.getvalue()


def h5s(root: Path) -> Iterator[tuple[str, bytes, tuple[str, ...]]]:
    import h5py

    secret = root / "secret.h5"
    secret.write_bytes(h5(lambda f: f.create_dataset("w", data=np.ones(4))))

    def cycle(file: Any) -> None:
        file.create_group("a")["b"] = file["/"]

    def diamonds(file: Any) -> None:
        last = file.create_group("end")
        for level in range(40):
            group = file.create_group(f"g{level}")
            group["x"], group["y"] = last, last
            last = group

    def deep(file: Any) -> None:
        group = file
        for _ in range(100):
            group = group.create_group("g")

    def virtual(file: Any) -> None:
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource(str(secret), "w", (4,))
        file.create_virtual_dataset("w", layout)

    def assign(name: str, value: Any) -> Callable[[Any], None]:
        return lambda file: file.__setitem__(name, value)

    def data(**options: Any) -> Callable[[Any], None]:
        return lambda file: file.create_dataset("w", **options)

    yield "soft link", h5(assign("a", h5py.SoftLink("/nowhere"))), UNSAFE
    yield "soft link to the root", h5(assign("a", h5py.SoftLink("/"))), UNSAFE
    yield "external link", h5(assign("a", h5py.ExternalLink(str(secret), "w"))), (*UNSAFE, *FORMAT)
    yield (
        "external link, new style",
        h5(assign("a", h5py.ExternalLink(str(secret), "w")), libver="latest"),
        (*UNSAFE, *FORMAT),
    )
    yield "external values", h5(data(shape=(4,), dtype="f8", external=[(str(secret), 0, 32)])), UNSAFE
    yield "virtual values", h5(virtual), (*UNSAFE, *FORMAT)
    yield "virtual values, new style", h5(virtual, libver="latest"), (*UNSAFE, *FORMAT)
    yield "a group in itself", h5(cycle), FORMAT
    yield "2^40 paths", h5(diamonds), FORMAT
    yield "100 groups in each other", h5(deep), LIMIT
    yield "4 TB never written", h5(data(shape=(10**12,), dtype="f4")), UNSAFE
    yield "4 TB in chunks", h5(data(shape=(10**12,), dtype="f4", chunks=(1024,))), FORMAT
    yield "chunks", h5(data(data=np.ones(64), chunks=(8,))), FORMAT
    yield "compressed", h5(data(data=np.ones(64), compression="gzip")), FORMAT
    yield "unlimited", h5(data(data=np.ones(4), maxshape=(None,))), FORMAT
    yield "text", h5(assign("w", "some text")), FORMAT
    yield "text of one length", h5(assign("w", np.array([b"abc"]))), FORMAT
    yield "a compound", h5(assign("w", np.zeros(2, [("a", "f4"), ("b", "i4")]))), FORMAT
    yield "references", h5(lambda f: f.create_dataset("w", (1,), h5py.ref_dtype)), FORMAT
    yield "lists of any length", h5(lambda f: f.create_dataset("w", (1,), h5py.vlen_dtype(np.float32))), FORMAT
    yield "complex numbers", h5(assign("w", np.zeros(2, np.complex64))), FORMAT
    yield "opaque bytes", h5(assign("w", np.zeros(3, "V2"))), FORMAT
    yield "a named type", h5(assign("w", np.dtype("f4"))), FORMAT
    yield "a user block", h5(assign("w", np.ones(4)), userblock_size=512), FORMAT
    good = h5(lambda f: [f.create_dataset(f"a/b{i}/w:0", data=np.ones(4, "f4")) for i in range(20)])
    for part in (1, 5, 20, 50, 90, 99):
        yield f"{part} % of a file", good[: max(len(good) * part // 100, 9)], (*FORMAT, *UNSAFE, *LIMIT)
    yield from mutants(good, 40, 8)


# -- TensorFlow ----------------------------------------------------------------------------------------------------


def bundle(
    entries: dict[bytes, bytes], header: bytes = b"\x08\x01\x1a\x02\x08\x01", data: bytes | None = None
) -> Files:
    from albert_conversion.leveldb_table import encode_table

    index = encode_table({b"": header, **entries})
    files = {"model.ckpt.index": index}
    return files if data is None else {**files, "model.ckpt.data-00000-of-00001": data}


def entry(
    kind: int = 1, shape: tuple[int, ...] = (4,), offset: int = 0, size: int = 16, crc: int = 0, **more: int
) -> bytes:
    from albert_core.protobuf import encode_field

    dimensions = b"".join(encode_field(2, encode_field(1, d)) for d in shape)
    found = encode_field(1, kind) + encode_field(2, dimensions) + encode_field(3, more.get("shard", 0))
    found += encode_field(4, offset) + encode_field(5, size) + encode_field(6, crc, fixed32=True)
    return found + (encode_field(7, b"") if "slices" in more else b"")


def tf1s() -> Iterator[tuple[str, Files, tuple[str, ...]]]:
    from albert_conversion.leveldb_table import masked_crc32c

    from albert_core.protobuf import encode_field

    values = np.arange(4, dtype=np.float32).tobytes()
    good = bundle({b"w": entry(crc=masked_crc32c(values))}, data=values)
    index, data = good["model.ckpt.index"], good["model.ckpt.data-00000-of-00001"]
    for part in (10, 50, 90):
        cut = index[: len(index) * part // 100] + index[-8:]
        yield f"{part} % of an index", {**good, "model.ckpt.index": cut}, (*FORMAT, *INTEGRITY)
    yield "index without its magic", {**good, "model.ckpt.index": index[:-1] + b"x"}, ("NotFound", *FORMAT)
    yield "data cut by one", {**good, "model.ckpt.data-00000-of-00001": data[:-1]}, FORMAT
    yield "data missing", {"model.ckpt.index": index}, MISSING
    yield (
        "flipped bit in the index",
        {**good, "model.ckpt.index": index[:9] + bytes([index[9] ^ 1]) + index[10:]},
        INTEGRITY,
    )
    yield "no header", {**good, "model.ckpt.index": _table({b"w": entry()})}, FORMAT
    yield "big endian", bundle({b"w": entry()}, encode_field(1, 1) + encode_field(2, 1), values), FORMAT
    yield "no data files", bundle({b"w": entry()}, encode_field(1, 0), values), FORMAT
    yield "a billion data files", bundle({b"w": entry()}, encode_field(1, 10**9), values), FORMAT
    yield "a header that is no message", bundle({b"w": entry()}, b"\xff\xff\xff", values), FORMAT
    for name, broken in {
        "unknown type": entry(kind=99),
        "type of a string": entry(kind=7),
        "negative dimension": entry(shape=(2**64 - 4,)),
        "another size": entry(size=12),
        "offset beyond": entry(offset=2**62),
        "another data file": entry(shard=5),
        "slices": entry(slices=1),
        "no message": b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        "cut short": entry()[:7],
        "a shape that is a number": encode_field(1, 1) + encode_field(2, 5) + encode_field(5, 16),
        "unknown rank": encode_field(1, 1) + encode_field(2, encode_field(3, 1)) + encode_field(5, 16),
        "groups": b"\x0b\x0c",
    }.items():
        yield f"entry: {name}", bundle({b"w": broken}, data=values), FORMAT
    yield "beyond memory", bundle({b"w": entry(shape=(2**40, 2**40))}, data=values), LIMIT
    yield "another checksum", bundle({b"w": entry(crc=1)}, data=values), INTEGRITY
    yield "a name that is no text", bundle({b"\xff\xfe": entry()}, data=values), FORMAT
    block = b"\x00\x01\x01ab" + struct.pack("<2I", 0, 1)
    for name, content, kind in (
        ("snappy", block, 1),
        ("a block with too many restarts", struct.pack("<I", 2**31), 0),
        ("an entry beyond its block", b"\x00\x7f\x7fab" + struct.pack("<2I", 0, 1), 0),
        ("a key that shares what is not there", b"\x05\x01\x01ab" + struct.pack("<2I", 0, 1), 0),
        ("a number without an end", b"\xff" * 12 + struct.pack("<2I", 0, 1), 0),
    ):
        yield name, {**good, "model.ckpt.index": _one_block(content, kind)}, FORMAT


def _table(values: dict[bytes, bytes]) -> bytes:
    from albert_conversion.leveldb_table import encode_table

    return encode_table(values)


def _one_block(content: bytes, kind: int) -> bytes:
    """A table whose index block is `content`."""
    from albert_conversion.leveldb_table import MAGIC, masked_crc32c

    from albert_core.protobuf import encode_varint

    block = content + bytes([kind]) + struct.pack("<I", masked_crc32c(content + bytes([kind])))
    handle = encode_varint(0) + encode_varint(len(content))
    return block + (handle + handle).ljust(40, b"\0") + MAGIC


# -- indexes, configs and sidecars ---------------------------------------------------------------------------------


def texts(root: Path) -> Iterator[tuple[str, Files, tuple[str, ...]]]:
    good = archive(state(text("w") + tensor()))
    (root / "secret.bin").write_bytes(good)
    for target in ("../secret.bin", str(root / "secret.bin"), "C:\\secret.bin", "..", "a\0b", "x" * 300):
        index = json.dumps({"weight_map": {"w": "shard.bin", "v": target}}).encode()
        yield f"index names {target[:20]!r}", {"pytorch_model.bin.index.json": index, "shard.bin": good}, UNSAFE
    names = {"w": "shard.bin", "v": "gone.bin"}
    index = json.dumps({"weight_map": names}).encode()
    yield "index names a missing shard", {"pytorch_model.bin.index.json": index, "shard.bin": good}, MISSING
    index = json.dumps({"weight_map": {"v": "shard.bin"}}).encode()
    yield "index names another tensor", {"pytorch_model.bin.index.json": index, "shard.bin": good}, FORMAT
    for name, config in {
        "negative size": {"hidden_size": -4},
        "a size of 10^12": {"vocab_size": 10**12},
        "a size that is a bool": {"num_hidden_layers": True},
        "another model": {"model_type": "bert"},
        "code as an activation": {"hidden_act": "__import__('os').system"},
    }.items():
        text_ = json.dumps({"model_type": "albert", **SIZES, **config}).encode()
        yield f"config: {name}", {"config.json": text_, "pytorch_model.bin": good}, ("ConfigError",)
    for name, content in {"nested": b'{"a":' * 200_000, "a list": b"[]", "twice": b'{"a":1,"a":2}'}.items():
        yield f"config: {name}", {"config.json": content, "pytorch_model.bin": good}, FORMAT
    checkpoint = bundle({b"w": entry()}, data=bytes(16))
    for name, content in {"a list": b"[]", "no config": b"{}", "config is text": b'{"config": "x"}'}.items():
        yield f"sidecar: {name}", {**checkpoint, "albert_models.json": content}, FORMAT
    outside = json.dumps({"config": {**SIZES, "hidden_size": -1}}).encode()
    yield "sidecar: negative size", {**checkpoint, "albert_models.json": outside}, ("ConfigError",)


_HEAD = "layers/masked_lm_head/vars/0"


def folders(root: Path) -> Iterator[tuple[str, Files, tuple[str, ...]]]:
    """keras-hub presets and orbax checkpoints."""
    import h5py

    def weights(build: Callable[[Any], None]) -> bytes:
        return h5(lambda f: (f.create_dataset("layers/transformer_encoder/vars/0", data=np.ones(2)), build(f)))

    task = h5(lambda f: f.create_dataset(_HEAD, data=np.ones(2)))
    preset = {"module": "os", "class_name": "AlbertBackbone", "config": {}, "registered_name": "os>system"}
    linked = weights(lambda f: f.__setitem__("x", h5py.ExternalLink(str(root / "secret.h5"), "w")))
    plain = weights(lambda f: None)
    for name, config, kinds in (
        ("a preset of negative sizes", {"hidden_dim": -1}, ("ConfigError",)),
        ("a preset of text", {"num_layers": "os.system"}, ("ConfigError",)),
        ("a preset of 10^15 parameters", {"hidden_dim": 2**30, "num_heads": 1}, ("ConfigError",)),
    ):
        text_ = json.dumps({**preset, "config": config}).encode()
        yield name, {"config.json": text_, "model.weights.h5": plain, "task.weights.h5": task}, kinds
    yield "a preset with a link", {"model.weights.h5": linked}, (*UNSAFE, *FORMAT)
    yield "a task with a link", {"model.weights.h5": plain, "task.weights.h5": linked}, (*UNSAFE, *FORMAT)
    yield "a task that is no HDF5", {"model.weights.h5": plain, "task.weights.h5": b"x" * 99}, FORMAT
    both = h5(lambda f: [f.create_dataset(n, data=np.ones(2)) for n in ("layers/albert_backbone/vars/0", _HEAD)])
    yield "a variable in both", {"model.weights.h5": both, "task.weights.h5": task}, FORMAT
    manifest = (0x0CDB3A2A).to_bytes(4, "big")
    for name, content in {"cut": b"", "zeros": bytes(200), "ones": b"\xff" * 200}.items():
        yield f"orbax: {name}", {"manifest.ocdbt": manifest + content, "_METADATA": b"{}"}, FORMAT


def mutants(good: bytes, count: int, first: int = 0) -> Iterator[tuple[str, bytes, tuple[str, ...]]]:
    """Copies of a good file with from one to eight bytes changed; whatever they are, no error may be untyped."""
    rng = np.random.default_rng(7)
    for i in range(count):
        mutant = bytearray(good)
        for place in rng.integers(first, len(good), 1 + i % 8):
            mutant[place] = rng.integers(256)
        yield f"mutant {i}", bytes(mutant), ("any",)


def cases(root: Path) -> Iterator[Case]:
    pickled = state(*(text(f"w{i}") + tensor() for i in range(3)))
    for name, content, kinds in mutants(pickled, 40):
        yield f"pickle: {name}", {"pytorch_model.bin": archive(content)}, kinds
    for name, content, kinds in mutants(archive(pickled), 40):
        yield f"archive: {name}", {"pytorch_model.bin": content}, kinds
    for name, content, kinds in mutants(b"\x82\xa1v" + packed() + b"\xa1w" + packed(), 40):
        yield f"msgpack: {name}", {"flax_model.msgpack": content}, kinds
    plain = {f"w{i}".encode(): entry() for i in range(3)}
    for name, content, kinds in mutants(bundle(plain)["model.ckpt.index"], 40):
        files = {"model.ckpt.index": content, "model.ckpt.data-00000-of-00001": bytes(16)}
        yield f"tf1: {name}", files, kinds
    for name, content, kinds in pickles():
        yield f"pickle: {name}", {"pytorch_model.bin": archive(content)}, kinds
    for name, content, kinds in archives():
        yield f"archive: {name}", {"pytorch_model.bin": content}, kinds
    for name, content, kinds in msgpacks():
        yield f"msgpack: {name}", {"flax_model.msgpack": content}, kinds
    for name, content, kinds in h5s(root):
        yield f"h5: {name}", {"tf_model.h5": content}, kinds
    for name, files, kinds in tf1s():
        yield f"tf1: {name}", files, kinds
    yield from folders(root)
    for name, files, kinds in texts(root):
        yield name, files, kinds


def write(root: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """One folder per case; returns folder -> name and error types."""
    found = {}
    for i, (name, files, kinds) in enumerate(cases(root)):
        folder = root / f"{i:03}"
        folder.mkdir()
        config = json.dumps({"model_type": "albert", **SIZES}).encode()
        for file, content in {"config.json": config, **files}.items():
            (folder / file).write_bytes(content)
        found[folder.name] = (name, kinds)
    return found


def run(root: Path) -> None:
    """Open and read every case; one line each: folder, error type, its message, peak memory so far."""
    import resource

    from albert_conversion.opened import open_checkpoint
    from albert_conversion.plan import Plan

    from albert_core.errors import AlbertError

    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        signal.alarm(SECONDS)
        kind, message = "", ""
        try:
            with open_checkpoint(_path(folder)) as opened:
                for name in opened.source:
                    opened.source[name]
                Plan(opened.source, opened.config, "AlbertModel")
        except AlbertError as error:
            kind, message = type(error).__name__, str(error)
        except Exception as error:
            kind, message = f"untyped {type(error).__name__}", str(error)
        peak = _peak()
        print(json.dumps([folder.name, kind, message[:300], peak]), flush=True)
    frameworks = {"torch", "tensorflow", "jax", "flax", "keras", "h5py"} & sys.modules.keys()
    print(json.dumps(["end", ",".join(sorted(frameworks)), "", 0]), flush=True)


def _peak() -> int:
    """Most kilobytes of memory so far; getrusage would begin with those of the process that started this one."""
    with Path("/proc/self/status").open() as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def _path(folder: Path) -> Path:
    named = [folder / n for n in ("pytorch_model.bin", "flax_model.msgpack", "tf_model.h5", "model.ckpt.index")]
    return next((path for path in named if path.exists()), folder)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
