"""A pickle machine that can build one thing: a flat map of names to descriptions of dense tensors.

It knows the opcodes that `torch.save` writes and a closed list of globals, each of which stands for a description;
nothing is imported and nothing is called. Anything else is refused by name.
Source: `torch/_utils.py` and `torch/serialization.py` of https://github.com/pytorch/pytorch, and Python's pickletools.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from albert_core.errors import FormatError, ResourceLimit, UnsafeContent
from albert_core.strict_json import clip

__all__ = ["STORAGES", "TensorSpec", "read_state_dict"]

MAX_PICKLE = 100_000_000  # bytes, as for a safetensors header
_MAX_DIMENSIONS = 64  # NumPy's limit

STORAGES: dict[str, np.dtype] = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


@dataclass(frozen=True)
class _Storage:
    dtype: np.dtype
    key: str
    count: int


@dataclass(frozen=True)
class TensorSpec:
    """What a pickle says about one tensor.

    Attributes:
        storage: Name of the archive's member that holds its bytes.
        dtype: Its dtype, little-endian.
        count: Elements in the storage.
        offset: First element.
        shape: Its shape.
        strides: Elements from one index to the next, for each dimension.
    """

    storage: str
    dtype: np.dtype
    count: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Mark:
    """What MARK pushes."""


class _Global:
    """A name of the closed list, on its way to REDUCE or into a persistent id."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Refused(Exception):
    def __init__(self, kind: type[FormatError | UnsafeContent | ResourceLimit], reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def _malformed(reason: str) -> _Refused:
    return _Refused(FormatError, reason)


def read_state_dict(data: bytes, path: Path) -> dict[str, TensorSpec]:
    """Read the `data.pkl` of a PyTorch archive.

    Raises:
        UnsafeContent: It names a global that no state dict needs; nothing was imported or run.
        FormatError: It is no pickle, or not that of a flat map of names to dense tensors.
        ResourceLimit: It is larger than any state dict's.
    """
    if len(data) > MAX_PICKLE:
        raise ResourceLimit(path, None, f"expected a pickle of at most {MAX_PICKLE} bytes, got {len(data)}")
    try:
        return _checked(_Machine().run(data))
    except _Refused as refused:
        raise refused.kind(path, None, f"pickle: {refused}") from None
    except (ValueError, IndexError, TypeError, KeyError, RecursionError, OverflowError) as error:
        raise FormatError(path, None, f"pickle: malformed: {clip(str(error))}") from None


def _checked(value: Any) -> dict[str, TensorSpec]:
    if type(value) is not dict:
        raise _malformed(f"expected a map of names to tensors, got {_kind(value)}")
    for name, tensor in value.items():
        if not isinstance(tensor, TensorSpec):
            raise _malformed(f"expected a tensor under {clip(name)!r}, got {_kind(tensor)}")
    return value


def _kind(value: Any) -> str:
    return type(value).__name__.lstrip("_")


class _Machine:
    """Runs the opcodes of one pickle over a stack of descriptions."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        for opcode, argument, position in pickletools.genops(data):
            if opcode.name == "STOP":
                if (rest := len(data) - (position or 0) - 1) != 0:
                    raise _malformed(f"expected the end after STOP, got {rest} more bytes")
                return self.pop()
            if opcode.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[opcode.name])
            elif opcode.name in _LITERALS:
                self.stack.append(argument)
            elif opcode.name in _OPCODES:
                _OPCODES[opcode.name](self, argument)
            else:
                raise _Refused(UnsafeContent, f"the opcode {opcode.name} has no place in a state dict")
        raise _malformed("expected STOP, got the end of the data")

    def pop(self) -> Any:
        if not self.stack or isinstance(self.stack[-1], _Mark):
            raise _malformed("expected a value on the stack, got none")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        for place in range(len(self.stack) - 1, -1, -1):
            if isinstance(self.stack[place], _Mark):
                values = self.stack[place + 1 :]
                del self.stack[place:]
                return values
        raise _malformed("expected a mark on the stack, got none")

    def put(self, index: int | None) -> None:
        value = self.pop()
        self.memo[len(self.memo) if index is None else index] = value
        self.stack.append(value)

    def global_(self, name: str) -> None:
        module, _, attribute = name.partition(" ")
        self.push_global(module, attribute)

    def stack_global(self) -> None:
        attribute, module = self.pop(), self.pop()
        self.push_global(str(module), str(attribute))

    def push_global(self, module: str, attribute: str) -> None:
        name = f"{module}.{attribute}"
        if name not in _GLOBALS and not (module == "torch" and attribute in STORAGES):
            raise _Refused(UnsafeContent, f"asks for {clip(name)}, which no state dict needs; nothing was run")
        self.stack.append(_Global(name))

    def tuple_of(self, count: int) -> None:
        self.stack.append(tuple([self.pop() for _ in range(count)][::-1]))

    def set_items(self, values: list[Any]) -> None:
        target = self.pop()
        if type(target) is not dict or len(values) % 2:
            raise _malformed(f"expected a map and pairs, got {_kind(target)} and {len(values)} values")
        for name, value in zip(values[::2], values[1::2], strict=True):
            if type(name) is not str:
                raise _malformed(f"expected names of text, got {_kind(name)}")
            if name in target:
                raise _malformed(f"expected every name once, got {clip(name)!r} twice")
            target[name] = value
        self.stack.append(target)

    def append(self, values: list[Any]) -> None:
        target = self.pop()
        if type(target) is not list:
            raise _malformed(f"expected a list, got {_kind(target)}")
        target.extend(values)
        self.stack.append(target)

    def build(self) -> None:
        """`_metadata`, which torch hangs on a state dict: read and left out."""
        state, target = self.pop(), self.pop()
        if type(target) is not dict or type(state) is not dict or state.keys() != {"_metadata"}:
            raise _Refused(UnsafeContent, "BUILD: expected the _metadata of a state dict, got another object's state")
        self.stack.append(target)

    def persistent(self) -> None:
        reference = self.pop()
        if not (isinstance(reference, tuple) and len(reference) == 5 and reference[0] == "storage"):
            raise _malformed("expected a reference to a storage")
        _, kind, key, _, count = reference
        if not (isinstance(kind, _Global) and type(key) is str and type(count) is int and count >= 0):
            raise _malformed("expected (storage, type, key, location, count)")
        dtype = STORAGES.get(kind.name.removeprefix("torch."))
        if dtype is None:
            raise _malformed(f"expected a storage with a dtype, got {kind.name}")
        self.stack.append(_Storage(dtype, key, count))

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, _Global) or function.name not in _GLOBALS or not isinstance(arguments, tuple):
            raise _Refused(UnsafeContent, f"asks to call {_kind(function)}; nothing was run")
        self.stack.append(_GLOBALS[function.name](arguments))


def _tensor(arguments: tuple[Any, ...]) -> TensorSpec:
    """`torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks, metadata)`."""
    if len(arguments) not in (6, 7) or not isinstance(arguments[0], _Storage):
        raise _malformed("expected a dense tensor's storage, offset, size and stride")
    storage, offset, shape, strides = arguments[:4]
    if not _are_sizes((offset,)) or not _are_sizes(shape) or not _are_sizes(strides) or len(shape) != len(strides):
        raise _malformed("expected an offset, sizes and strides of whole numbers >= 0")
    if len(shape) > _MAX_DIMENSIONS:
        raise _malformed(f"expected at most {_MAX_DIMENSIONS} dimensions, got {len(shape)}")
    return TensorSpec(storage.key, storage.dtype, storage.count, offset, shape, strides)


def _are_sizes(values: Any) -> bool:
    return isinstance(values, tuple) and all(type(v) is int and 0 <= v < 2**63 for v in values)


def _parameter(arguments: tuple[Any, ...]) -> TensorSpec:
    """`torch._utils._rebuild_parameter(data, requires_grad, hooks)`."""
    if len(arguments) != 3 or not isinstance(arguments[0], TensorSpec):
        raise _malformed("expected a parameter's tensor")
    return arguments[0]


def _ordered(arguments: tuple[Any, ...]) -> dict[str, Any]:
    if arguments:
        raise _malformed("expected an empty OrderedDict, filled afterwards")
    return {}


_GLOBALS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "collections.OrderedDict": _ordered,
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = frozenset("BINUNICODE SHORT_BINUNICODE BINUNICODE8 BININT BININT1 BININT2 LONG1 BINFLOAT".split())
_OPCODES: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda m, _: None,
    "FRAME": lambda m, _: None,
    "MARK": lambda m, _: m.stack.append(_Mark()),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "BINPUT": lambda m, index: m.put(index),
    "LONG_BINPUT": lambda m, index: m.put(index),
    "MEMOIZE": lambda m, _: m.put(None),
    "BINGET": lambda m, index: m.stack.append(m.memo[index]),
    "LONG_BINGET": lambda m, index: m.stack.append(m.memo[index]),
    "GLOBAL": lambda m, name: m.global_(name),
    "STACK_GLOBAL": lambda m, _: m.stack_global(),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.pop_to_mark())),
    "TUPLE1": lambda m, _: m.tuple_of(1),
    "TUPLE2": lambda m, _: m.tuple_of(2),
    "TUPLE3": lambda m, _: m.tuple_of(3),
    "SETITEM": lambda m, _: m.set_items([m.pop(), m.pop()][::-1]),
    "SETITEMS": lambda m, _: m.set_items(m.pop_to_mark()),
    "APPEND": lambda m, _: m.append([m.pop()]),
    "APPENDS": lambda m, _: m.append(m.pop_to_mark()),
    "BINPERSID": lambda m, _: m.persistent(),
    "REDUCE": lambda m, _: m.reduce(),
    "BUILD": lambda m, _: m.build(),
}
