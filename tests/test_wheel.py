"""What is installed: the wheel holds the five packages and the bundled model, and works without the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"albert_core", "albert_torch", "albert_tf", "albert_flax", "albert_conversion"}
LARGEST_MODEL = 12 * 2**20  # bytes of the bundled model in the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_what_the_wheel_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = archive.infolist()
    names = [f.filename for f in files]
    assert {n.split("/")[0] for n in names if ".dist-info" not in n} == PACKAGES
    assert any(n.endswith("licenses/LICENSE") for n in names)
    assert "albert_core/py.typed" in names
    assert "albert_core/bundled/albert-openstax/model.safetensors" in names
    assert sum(f.file_size for f in files if "/bundled/" in f.filename) <= LARGEST_MODEL


def test_it_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    code = (
        "import albert_core, albert_conversion, sys\n"
        f"assert albert_core.__file__.startswith({str(target)!r}), albert_core.__file__\n"
        "from albert_core.cli import main\n"
        "main(['fill-mask', 'Plants need [MASK] to grow.', '--backend', 'torch', '--json'])\n"
    )
    env = {**os.environ, "PYTHONPATH": str(target), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == "albert-openstax"
