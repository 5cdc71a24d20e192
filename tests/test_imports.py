"""What a fresh process loads: the core loads no framework, one backend loads no other."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

FRAMEWORKS = {"torch": ("torch",), "tf": ("tensorflow", "keras"), "flax": ("jax", "flax")}
ALL = sorted(name for names in FRAMEWORKS.values() for name in names)


def loaded_by(code: str) -> set[str]:
    """The frameworks that a fresh process has loaded after `code`."""
    script = f"import sys, json\n{code}\nprint(json.dumps([m for m in {ALL} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "code",
    [
        "import albert_core",
        "import albert_core.config, albert_core.reference, albert_core.tokenizer, albert_core.pipelines",
        "import albert_conversion",
        "from albert_core.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "from albert_core.cli import main\ntry: main(['fill-mask', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_the_core_loads_no_framework(code: str) -> None:
    assert loaded_by(code) == set()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_backend_loads_no_other(name: str) -> None:
    found = loaded_by(f"import albert_{name}")
    assert set(FRAMEWORKS[name]) <= found
    assert found == loaded_by(f"import {', '.join(FRAMEWORKS[name])}")  # TensorFlow itself imports an installed jax


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_missing_framework_names_the_command(name: str) -> None:
    code = f"""
import importlib.util, sys
sys.modules.update({{each: None for each in {ALL}}})
real = importlib.util.find_spec
importlib.util.find_spec = lambda each, *more: None if each in {ALL} else real(each, *more)
try:
    import albert_{name}
except ImportError as error:
    assert 'pip install "albert-models[{name}]"' in str(error), error
else:
    raise SystemExit("no error")
from albert_core.cli import main
try:
    main(["fill-mask", "a [MASK]"])
except SystemExit as exit:
    assert exit.code == 3, exit.code
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert 'pip install "albert-models[' in done.stderr
