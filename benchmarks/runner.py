"""A process that answers requests, so that several can be measured in turns."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any


class Runner:
    """One worker process: a request is a line, and so is its answer, which begins with "answer".

    Args:
        name: What the tables call it.
        *command: The process: a Python, a script, its arguments.
        **options: Of `subprocess.Popen`.
    """

    def __init__(self, name: str, *command: str | Path, **options: Any) -> None:
        self.name = name
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([*map(str, command)], **pipes, **options)

    def ask(self, *words: object) -> str:
        """One request, one answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(*words, file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith("answer "):
                return line.removeprefix("answer ").strip()
        raise RuntimeError(f"{self.name} ended with code {self.process.wait()} at {words}")

    def close(self) -> None:
        """Let it end."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=60)
