"""The wire format of protocol buffers, as far as a checkpoint's index and a spiece.model need it.

Source: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["Malformed", "encode_field", "encode_varint", "fields", "varint"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Malformed(Exception):
    """The bytes are no message; whoever knows the file turns this into a typed error."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned number of at most 64 bits and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Malformed("a number is cut short")
        byte = data[at]
        value, at = value | (byte & 0x7F) << shift, at + 1
        if not byte & 0x80:
            if value >= 2**64:
                break
            return value, at
    raise Malformed("a number of more than 64 bits")


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Every field of a message: its number, and its value as a number or as bytes."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = varint(data, at)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise Malformed(f"a field of kind {kind}")
        if at + length > len(data):
            raise Malformed("a field is cut short")
        piece, at = data[at : at + length], at + length
        yield number, piece if kind == _BYTES else int.from_bytes(piece, "little")


def encode_varint(value: int) -> bytes:
    """A number as a varint."""
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def encode_field(number: int, value: int | bytes, fixed32: bool = False) -> bytes:
    """One field of a message."""
    if isinstance(value, bytes):
        return encode_varint(number << 3 | _BYTES) + encode_varint(len(value)) + value
    if fixed32:
        return encode_varint(number << 3 | _FIXED32) + struct.pack("<I", value)
    return encode_varint(number << 3 | _VARINT) + encode_varint(value)
