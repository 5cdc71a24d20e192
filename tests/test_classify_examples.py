"""The classification examples as a user runs them: the three learn alike from one checkpoint, in one order."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import Adapter

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SUBJECTS, VERBS = ("film", "plot", "cast", "score"), ("is", "seems", "feels")
WORDS = {"positive": ("good", "warm", "bright"), "negative": ("bad", "dull", "empty")}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Sentences that one word decides."""
    folder, rng = tmp_path_factory.mktemp("polarity"), np.random.default_rng(0)
    for name, count in (("train", 192), ("dev", 16), ("test", 16)):
        rows = [
            f"the {rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(words)} .\t{label}"
            for label, words in WORDS.items()
            for _ in range(count)
        ]
        (folder / f"{name}.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    return [str(folder / f"{name}.tsv") for name in ("train", "dev", "test")]


def example(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(EXAMPLES)
    spec = importlib.util.spec_from_file_location(f"classify_{name}", EXAMPLES / f"classify_{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


_accuracies: dict[str, float] = {}


@pytest.mark.xdist_group("classify")
def test_the_classifiers_learn_alike(
    backend: Adapter, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = example(backend.name, monkeypatch).main
    done = CliRunner().invoke(main, [*files, "--output", str(tmp_path / "out"), "--epochs", "3"])
    if done.exception is not None:
        raise done.exception
    assert (tmp_path / "out" / ("best.keras" if backend.name == "tf" else "best/model.safetensors")).exists()
    assert done.output.count("positive:") + done.output.count("negative:") == 2
    _accuracies[backend.name] = float(done.output.split()[-1])
    assert all(found >= 0.75 for found in _accuracies.values()), _accuracies
    assert len(set(_accuracies.values())) == 1, _accuracies


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("sentence\tlabel\na\tpositive\n", "expected the columns text and label, got sentence, label"),
        ("\n", "expected the columns text and label, got $"),
        ("text\tlabel\na\tpositive\nb\tneutral\n", "expected the labels negative, 0, positive, 1, got neutral"),
        ("text\tlabel\na\n", r"expected 2 columns in every row, got \['a'\]"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(
    rows: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    from polarity import Texts

    (tmp_path / "x.tsv").write_text(rows)
    with pytest.raises(ValueError, match=message):
        Texts.read(tmp_path / "x.tsv")


@pytest.mark.parametrize("labels", [("negative", "positive"), ("0", "1")])
def test_no_row_of_a_file_is_lost(labels: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    from polarity import Texts

    rows = ("\ufefflabel\ttext", f"{labels[1]}\tgood\u2028film", "", f"{labels[0]}\tdull", f"{labels[0]}\tbad", "")
    (tmp_path / "x.tsv").write_bytes("\r\n".join(rows).encode())
    assert Texts.read(tmp_path / "x.tsv") == Texts(["dull", "bad", "good\u2028film"], [0, 0, 1])
    assert Texts.read(tmp_path / "x.tsv", 1).texts == ["dull", "good\u2028film"]
