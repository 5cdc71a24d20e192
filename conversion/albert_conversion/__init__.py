"""Readers and writers of foreign ALBERT checkpoints, one file per format, and the closed-world plan between them."""

from albert_conversion.convert import Report, convert
from albert_conversion.inspection import Inspected, inspect_checkpoint
from albert_conversion.opened import Opened, open_checkpoint
from albert_conversion.verify import Verified, verify

__all__ = [
    "Inspected",
    "Opened",
    "Report",
    "Verified",
    "convert",
    "inspect_checkpoint",
    "open_checkpoint",
    "verify",
]
