"""A corpus of crafted checkpoints in a worker of its own: each is a typed error and the worker lives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import hostile_corpus
import pytest

MEGABYTE = 1024  # of the kilobytes that ru_maxrss counts


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict]:
    """Folder -> (name, right types), and folder -> (type, message, peak memory) from the worker."""
    root = tmp_path_factory.mktemp("corpus")
    corpus = hostile_corpus.write(root)
    command = [sys.executable, "-W", "ignore", hostile_corpus.__file__, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=dict(os.environ))
    found = {line[0]: line[1:] for line in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0, f"the worker died after {len(found)} of {len(corpus)} cases: {done.stderr[-2000:]}"
    return corpus, found


def test_the_corpus_is_large_and_every_case_was_tried(results: tuple[dict, dict]) -> None:
    corpus, found = results
    assert len(corpus) >= 150
    assert corpus.keys() == found.keys() - {"end"}
    assert len({name for name, _ in corpus.values()}) == len(corpus)


def test_each_case_is_the_right_typed_error(results: tuple[dict, dict]) -> None:
    corpus, found = results
    wrong = []
    for folder, (name, kinds) in corpus.items():
        kind, message, _ = found[folder]
        if kind.startswith("untyped") or ("any" not in kinds and kind not in kinds):
            wrong.append(f"{name}: expected {' or '.join(kinds)}, got {kind or 'no error'}: {message}")
        elif kind and folder not in message:
            wrong.append(f"{name}: the message names no file: {message}")
    assert not wrong, "\n".join(wrong)


def test_nothing_large_was_allocated_and_no_framework_was_loaded(results: tuple[dict, dict]) -> None:
    corpus, found = results
    peaks = [found[folder][2] for folder in sorted(corpus)]
    assert peaks[-1] - peaks[0] < 300 * MEGABYTE, max(zip(peaks[1:], sorted(corpus), strict=False))
    assert found["end"][0] == ""


def test_nothing_was_written(results: tuple[dict, dict], tmp_path_factory: pytest.TempPathFactory) -> None:
    corpus, _ = results
    root = next(path for path in Path(tmp_path_factory.getbasetemp()).glob("corpus*"))
    assert {path.name for path in root.iterdir()} == {*corpus, "secret.h5", "secret.bin"}
