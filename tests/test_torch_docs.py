"""The code blocks of docs/pytorch.md and the example beside it run, in order, in one process and one folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from albert_torch import AlbertForSequenceClassification, AutoTokenizer

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/pytorch.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
pytestmark = pytest.mark.xdist_group("docs/pytorch.md")  # runs once

# Compiling for real is the business of test_torch_compile.
RUNNER = """
import runpy, sys
from pathlib import Path
import torch

example, *blocks = sys.argv[1:]
torch.compiler.set_stance("force_eager")
for number, block in enumerate(blocks):
    exec(compile(block, f"block {number}", "exec"), {"__name__": "__main__"})
    print("done", number)
names = runpy.run_path(example)
for table in ("text\\tlabel\\na film", "text\\tlabel\\na film\\tneutral"):
    Path("odd.tsv").write_text(table)
    try:
        names["encoded"](names["read"](Path("odd.tsv")), None, {"negative": 0}, 8)
    except SystemExit as error:
        print("refused", error)
sys.argv = "example texts.tsv texts.tsv --output out --epochs 1 --batch-size 8".split()
runpy.run_path(example, run_name="__main__")
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder it all ran in, and the lines printed."""
    folder = tmp_path_factory.mktemp("page")
    texts = [f"a {word} film{n}" for n in range(8) for word in ("good", "dull")]
    lines = [f"{text}\t{'positive' if 'good' in text else 'negative'}" for text in texts]
    (folder / "texts.tsv").write_text("\n".join(["\ufefftext\tlabel", *lines]) + "\n\n")
    alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    path = os.pathsep.join([str(ROOT), *sys.path])
    env = {**os.environ, **alone, "GLOO_SOCKET_IFNAME": "lo", "HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
    command = [sys.executable, "-W", "ignore", "-c", RUNNER, ROOT / "examples/trainer_torch.py", *BLOCKS]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return folder, done.stdout.splitlines()


def test_the_page_runs(ran: tuple[Path, list[str]]) -> None:
    folder, lines = ran
    assert [line for line in lines if line.startswith("done")] == [f"done {number}" for number in range(6)]
    assert {"adapter", "classifier", "merged", "model.pt2", "trained"} <= {path.name for path in folder.iterdir()}


def test_the_example_writes_a_classifier(ran: tuple[Path, list[str]]) -> None:
    folder, lines = ran
    assert lines[-1].startswith("accuracy ")
    model = AlbertForSequenceClassification.from_pretrained(folder / "out")
    assert model.config.id2label == {0: "negative", 1: "positive"}
    encoded = AutoTokenizer.from_pretrained(folder / "out")("a good film", return_tensors="pt")
    assert model(**encoded).logits.shape == (1, 2)
    assert [line for line in lines if line.startswith("refused")] == [
        "refused odd.tsv: expected a text and a label in every row, got {'text': 'a film', 'label': None}",
        "refused expected the labels of the training texts, negative, got 'neutral'",
    ]


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert links
    assert all((ROOT / "docs" / link).exists() for link in links)
