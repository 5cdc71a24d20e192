"""`python -m albert_conversion SOURCE DEST` is `albert convert SOURCE DEST`."""

from __future__ import annotations

import sys

from albert_core.cli import main

main(["convert", *sys.argv[1:]])
