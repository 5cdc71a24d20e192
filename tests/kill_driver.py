"""Kills a training run with SIGKILL at random moments and lets it go on, until it has been killed often enough.

    python kill_driver.py BACKEND KILLS FOLDER

Each run is a fork of this process, which has imported the backend and done nothing with it. FOLDER/whole is a run that
nobody killed; the others were, and then finished. Prints how many kills there were and how many left a temporary file.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
from test_training import RECIPE, data_of, trainer

from albert_core.backends import load
from albert_core.training import pretrain

STEPS = RECIPE.replace(total_steps=60)


def start(backend: str, folder: Path) -> tuple[int, bool]:
    """A child that trains, saving at every step; returned when it has reported a step, or with False at its end."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        run = trainer(backend, recipe=STEPS, device="cpu")
        said = [False]

        def say(line: str) -> None:
            if line.startswith("step ") and not said[0]:
                said[0] = bool(os.write(write, b"."))

        pretrain(run, data_of(STEPS), folder, save_every=1, report_every=1, progress=say)
        os._exit(0)
    os.close(write)
    moving = os.read(read, 1) == b"."
    os.close(read)
    return child, moving


def finish(backend: str, folder: Path) -> float:
    """A run to its end. Returns the seconds after its first report."""
    child, _ = start(backend, folder)
    began = time.monotonic()
    if os.waitpid(child, 0)[1] != 0:
        raise SystemExit("a run failed")
    return time.monotonic() - began


def main(backend: str, kills: int, folder: Path) -> None:
    load(backend)
    if backend == "torch":
        importlib.import_module("torch._dynamo")  # every child would import it with its first optimizer
    duration = finish(backend, folder / "whole")
    moments = np.sort(np.random.default_rng(0).uniform(0, 0.8 * duration, kills))
    inside, number, run = 0, 0, folder / "killed-0"
    for delay in np.diff(moments, prepend=0.0):
        child, moving = start(backend, run)
        if not moving:  # it had taken its last step; another one then
            os.waitpid(child, 0)
            number += 1
            run = folder / f"killed-{number}"
            child, _ = start(backend, run)
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        inside += any(run.glob(".*.tmp")) or any(run.glob(".*.tmp/*"))
    for path in folder.glob("killed-*"):
        finish(backend, path)
    print(json.dumps({"kills": kills, "inside": inside}))


if __name__ == "__main__":
    shutil.rmtree(sys.argv[3], ignore_errors=True)
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
