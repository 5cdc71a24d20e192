"""The tests notice faults: every mutant of `mutants.py` fails the tests that are to catch it.

`make test-all` runs them, each in a copy of the project, and prints which test caught which.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("albert_core", "albert_torch", "albert_tf", "albert_flax", "tests", "pyproject.toml")
TESTS_FAILED = 1  # pytest's exit code; a crash, an error in collecting or no test at all would be another


def test_each_mutant_changes_what_is_there() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 30
    for mutant in MUTANTS:
        assert (ROOT / mutant.file).read_text().count(mutant.old) == 1, mutant.name
        assert mutant.new not in mutant.old or mutant.new != mutant.old, mutant.name
        assert (ROOT / "tests" / mutant.tests).exists(), mutant.name


def project_copy(folder: Path) -> Path:
    skipped = shutil.ignore_patterns("bundled", "__pycache__", ".hypothesis")
    for name in COPIED:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=skipped)
        else:
            shutil.copy(source, target)
    return folder


def run_tests(folder: Path, tests: str, backend: str) -> subprocess.CompletedProcess[str]:
    options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist", "--backends", backend]
    command = [sys.executable, "-m", "pytest", *options, f"tests/{tests}"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=1200)


@pytest.mark.long
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_caught(mutant: Mutant, tmp_path: Path, record_property: Callable[[str, str], None]) -> None:
    folder = project_copy(tmp_path / "project")
    file = folder / mutant.file
    file.write_text(file.read_text().replace(mutant.old, mutant.new))
    done = run_tests(folder, mutant.tests, mutant.backends)
    shutil.rmtree(folder)
    assert done.returncode == TESTS_FAILED, f"exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    caught = re.search(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
    assert caught, done.stdout[-2000:]
    record_property("mutant", f"{mutant.name} ({mutant.file}): {caught[1].removeprefix('tests/')}")


@pytest.mark.long
@pytest.mark.parametrize("backend_name", ["torch", "tf", "flax"])
def test_without_a_mutant_the_tests_pass(backend_name: str, tmp_path: Path) -> None:
    done = run_tests(project_copy(tmp_path / "project"), "test_golden.py", backend_name)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
