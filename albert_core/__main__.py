"""`python -m albert_core` is the `albert` command."""

from albert_core.cli import main

main()
