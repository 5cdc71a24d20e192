"""What a compiled program does, read from its HLO text: collectives, loops, and bytes to and from memory.

XLA's own cost analysis counts a loop's body once; here it counts as often as it runs. The format is that of
https://openxla.org/xla/operation_semantics, as `jax.stages.Compiled.as_text` gives it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Collective", "Instruction", "Program"]

COLLECTIVES = ("all-reduce", "reduce-scatter", "all-gather", "all-to-all", "collective-permute", "collective-broadcast")
# These move nothing themselves: they name parts of what is there, or what they call does the moving.
_STILL = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id",
          "while", "conditional", "call", "copy-done", "slice-done", "async-done", "async-update", "iota",
          "all-reduce-done", "all-gather-done", "collective-permute-done", "opt-barrier"}  # fmt: skip
_BITS = {"pred": 8, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "s16": 16, "u16": 16, "bf16": 16, "f16": 16, "s32": 32,
         "u32": 32, "f32": 32, "s64": 64, "u64": 64, "f64": 64, "c64": 64, "c128": 128}  # fmt: skip
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](\{[^}]*\})?")
_NAME = re.compile(r"%([\w.\-]+)")
_HEAD = re.compile(r"^\s*(ROOT )?%?([\w.\-]+) = ")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) (?:\(.*)?\{$")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
        type: Its result, as HLO writes it; a tuple in parentheses.
        operands: Names of what it reads, and for a constant or parameter its literal text.
        attributes: All that stands behind the operands.
    """

    name: str
    opcode: str
    type: str
    operands: str
    attributes: str
    root: bool

    @property
    def reads(self) -> list[str]:
        """Names of the operands."""
        return _NAME.findall(self.operands)

    def called(self, *roles: str) -> list[str]:
        """Computations it names as "body", "calls" and so on."""
        found = [re.search(rf"\b{role}=(?:%?([\w.\-]+)|\{{([^}}]*)\}})", self.attributes) for role in roles]
        return [name for m in found if m for name in _NAME.findall(m[2] or "%" + m[1])]


@dataclass(frozen=True)
class Collective:
    """One instruction by which devices talk.

    Attributes:
        kind: Of `COLLECTIVES`.
        bytes: Of what it reads, on one device.
        times: How often it runs.
        in_loop: Whether a loop runs it.
    """

    kind: str
    bytes: int
    times: int
    in_loop: bool


@dataclass
class Program:
    """A parsed program.

    Attributes:
        computations: Instructions by name, in order, by computation.
        entry: The computation that runs first.
    """

    computations: dict[str, dict[str, Instruction]] = field(default_factory=dict)
    entry: str = ""

    @classmethod
    def parse(cls, text: str) -> Program:
        """Read what `Compiled.as_text` gives."""
        program, current = cls(), None
        for line in text.splitlines():
            if current is None:
                if not line.startswith(" ") and (head := _COMPUTATION.match(line)):
                    current = program.computations.setdefault(head[2], {})
                    program.entry = head[2] if head[1] else program.entry
            elif line.startswith("}"):
                current = None
            elif found := _instruction(line):
                current[found.name] = found
        return program

    def runs(self) -> Iterator[tuple[str, int, bool]]:
        """Computations that run by themselves, not inside an operation: name, how often, whether in a loop."""
        todo = [(self.entry, 1, False)]
        while todo:
            name, times, in_loop = todo.pop()
            yield name, times, in_loop
            for each in self.computations[name].values():
                if each.opcode == "while":
                    turns = times * self.trips(each)
                    todo += [(called, turns, True) for called in each.called("body", "condition")]
                elif each.opcode in ("call", "conditional", "async-start"):
                    roles = ("to_apply", "calls", "true_computation", "false_computation", "branch_computations")
                    todo += [(called, times, in_loop) for called in each.called(*roles)]

    def trips(self, loop: Instruction) -> int:
        """How often a loop turns: as it says, or else the constant that its condition compares with."""
        if known := _TRIPS.search(loop.attributes):
            return int(known[1])
        (condition,) = loop.called("condition")
        limits = [i.operands for i in self.computations[condition].values() if i.opcode == "constant"]
        return max((int(limit) for limit in limits if limit.isdigit()), default=1)

    def collectives(self) -> list[Collective]:
        """Every collective, those inside of fusions too."""
        found = []
        for name, times, in_loop in self.runs():
            for owner, each in self._with_fused(name):
                kind = each.opcode.removesuffix("-start")
                if kind in COLLECTIVES:
                    size = sum(size_of(self._type(owner, read)) for read in each.reads)
                    found.append(Collective(kind, size, times, in_loop))
        return found

    def bytes_moved(self) -> int:
        """To and from a device's memory; what a TPU keeps in its on-chip memory, `S(1)`, is not counted."""
        runs = ((self.computations[name], times) for name, times, _ in self.runs())
        return int(sum(t * sum(self._moved(c, i) for i in c.values() if i.opcode not in _STILL) for c, t in runs))

    def _with_fused(self, name: str) -> Iterator[tuple[str, Instruction]]:
        for each in self.computations[name].values():
            yield name, each
            if each.opcode == "fusion":
                for called in each.called("calls"):
                    yield from self._with_fused(called)

    def _type(self, computation: str, name: str) -> str:
        found = self.computations[computation].get(name)
        return found.type if found else ""

    def _moved(self, computation: dict[str, Instruction], each: Instruction) -> float:
        reads = [(n, computation[name].type) for n, name in enumerate(each.reads) if name in computation]
        if each.opcode == "dynamic-update-slice":
            return 2 * size_of(reads[1][1], memory_only=True)
        if each.opcode in ("dynamic-slice", "slice", "gather"):
            return 2 * size_of(each.type, memory_only=True)
        if each.opcode in ("copy-start", "slice-start"):  # between memory and the chip; names both sides
            return size_of([array[0] for array in _ARRAY.finditer(each.type)][1])
        if each.opcode == "custom-call" and "AllocateBuffer" in each.attributes:
            return 0
        if each.opcode != "fusion":
            arrays = [size_of(array[0], memory_only=True) for array in _ARRAY.finditer(each.type)]
            starts = each.opcode.endswith("-start")  # names what it reads among its results
            written = max(arrays, default=0) if starts else sum(arrays)
            return written + sum(size_of(kind, memory_only=True) for _, kind in reads)
        (inner,) = each.called("calls")
        limits = {n: self._read(inner, n) for n, _ in reads}
        return self._written(inner, each.type) + sum(min(size_of(k, memory_only=True), limits[n]) for n, k in reads)

    def _written(self, fusion: str, type_: str) -> int:
        """What a fusion writes: of a result that it only updates in part, that part."""
        inside = self.computations[fusion]
        root = next(each for each in inside.values() if each.root)
        roots = root.reads if root.opcode == "tuple" else [root.name]
        total = 0
        for name, array in zip(roots, _ARRAY.finditer(type_), strict=False):
            source = self._source(fusion, name)
            if source.opcode == "dynamic-update-slice" and size_of(array[0], memory_only=True):
                total += size_of(self._type(fusion, source.reads[1]))
            else:
                total += size_of(array[0], memory_only=True)
        return total

    def _source(self, computation: str, name: str) -> Instruction:
        """What makes an array, its other names and views left aside."""
        found = self.computations[computation][name]
        return self._source(computation, found.reads[0]) if found.opcode in ("bitcast", "copy") else found

    def _read(self, fusion: str, number: int) -> float:
        """What a fusion reads of an operand at most; infinity where all of it."""
        inside = self.computations[fusion]
        names, total = [p.name for p in inside.values() if p.opcode == "parameter" and p.operands == str(number)], 0.0
        while names:
            name = names.pop()
            for user in (each for each in inside.values() if name in each.reads):
                if user.opcode in ("dynamic-slice", "gather") and user.reads[0] == name:
                    total += size_of(user.type)
                elif user.opcode == "bitcast":
                    names.append(user.name)
                elif user.opcode == "fusion":
                    (called,) = user.called("calls")
                    total += self._read(called, user.reads.index(name))
                elif not (user.opcode == "dynamic-update-slice" and user.reads[0] == name) and user.opcode != "tuple":
                    return math.inf
        return total


def size_of(type_: str, memory_only: bool = False) -> int:
    """Bytes of an array or a tuple, without the padding of its tiles."""
    bits = 0
    for dtype, dims, layout in _ARRAY.findall(type_):
        if dtype in _BITS and not (memory_only and "S(" in layout.replace("S(0)", "")):
            bits += _BITS[dtype] * math.prod(int(d) for d in dims.split(",") if d)
    return -(-bits // 8)


def _instruction(line: str) -> Instruction | None:
    if (head := _HEAD.match(line)) is None:
        return None
    rest = line[head.end() :]
    end = _closing(rest) if rest.startswith("(") else rest.index(" ") - 1
    type_, rest = rest[: end + 1], rest[end + 2 :]
    opcode, _, rest = rest.partition("(")
    end = _closing("(" + rest) - 1
    return Instruction(head[2], opcode, type_, rest[:end], rest[end + 1 :], bool(head[1]))


def _closing(text: str) -> int:
    """Where the parenthesis that `text` opens with is closed."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return place
    raise ValueError(f"expected a closing parenthesis, got {text[:80]!r}")
