"""What is published of each TPU chip. One table; the sources stand in it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CHIPS", "Chip"]


@dataclass(frozen=True)
class Chip:
    """One chip.

    Attributes:
        memory: Bytes of its HBM.
        flops: bfloat16 operations a second.
        memory_bandwidth: Bytes a second from and to its HBM.
        link_bandwidth: Bytes a second to its neighbours over all links, both directions together.
        lanes: Width of its matrix units; what is narrower is padded to it.
        source: Where that stands.
    """

    memory: float
    flops: float
    memory_bandwidth: float
    link_bandwidth: float
    lanes: int
    source: str


_DOCS = "https://cloud.google.com/tpu/docs/"
CHIPS = {
    "v4": Chip(32 * 2**30, 275e12, 1200e9, 300e9, 128, _DOCS + "v4"),
    "v5e": Chip(16 * 2**30, 197e12, 819e9, 200e9, 128, _DOCS + "v5e"),
    "v5p": Chip(95 * 2**30, 459e12, 2765e9, 600e9, 128, _DOCS + "v5p"),
    "v6e": Chip(32 * 2**30, 918e12, 1640e9, 448e9, 256, _DOCS + "v6e"),
}
