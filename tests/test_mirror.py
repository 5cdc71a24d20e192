"""The three backends have the same files, classes, methods and attributes in the same order."""

from __future__ import annotations

import ast
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import Adapter

from albert_core.backends import BACKENDS
from albert_core.config import AlbertConfig
from albert_core.heads import HEADS, forward_doc
from albert_core.parity_suite import GROUPS, TINY

ROOT = Path(__file__).resolve().parents[1]
LAYERS = tuple(sorted(f"layers/{path.name}" for path in (ROOT / BACKENDS["torch"].package / "layers").glob("*.py")))
MIRRORED = ("base.py", *LAYERS, "losses.py", "models.py", "optim.py", "training.py", "export.py", "parallel.py")
# What a framework's own idiom adds; everything else is common. A name here must exist, see the last test.
OWN = {
    "torch": {"AlbertMLMHead.decoder"},
    "tf": {"WordInitializer.pad", "_Drawn.seed", "AlbertAttention.reach", "AlbertEmbeddings.pad"},
    "flax": {"AlbertEmbeddings.padding_idx", "AlbertTransformer.dropout_keys"},
}
KERAS_STATE = "built"  # how a Keras layer says that its variables exist


def classes(backend: str, file: str) -> dict[str, ast.ClassDef]:
    b = BACKENDS[backend]
    tree = ast.parse((ROOT / b.package / file).read_text())
    return {node.name.removeprefix(b.prefix): node for node in tree.body if isinstance(node, ast.ClassDef)}


def attributes(node: ast.ClassDef) -> list[str]:
    """Names assigned to self where a class makes its modules, in order."""
    found = []
    for method in (m for m in node.body if isinstance(m, ast.FunctionDef) and m.name in ("__init__", "build_head")):
        for target in (n for n in ast.walk(method) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)):
            if isinstance(target.value, ast.Name) and target.value.id == "self":
                found.append(target.attr)
    return list(dict.fromkeys(found))


def modules(backend: str, file: str) -> dict[str, set[str]]:
    return {
        f"{name}.{a}" for name, node in classes(backend, file).items() for a in attributes(node) if a != KERAS_STATE
    } - OWN[backend]


def test_the_same_files() -> None:
    for b in BACKENDS.values():
        assert {f"layers/{path.name}" for path in (ROOT / b.package / "layers").glob("*.py")} == set(LAYERS)
        assert all((ROOT / b.package / file).is_file() for file in MIRRORED)


@pytest.mark.parametrize("file", MIRRORED)
def test_the_same_classes_in_the_same_order(file: str) -> None:
    for one, other in pairwise(BACKENDS):
        common = set(classes(one, file)) & set(classes(other, file))
        assert [n for n in classes(one, file) if n in common] == [n for n in classes(other, file) if n in common]


@pytest.mark.parametrize("file", [*LAYERS, "models.py"])
def test_the_same_attributes(file: str) -> None:
    for one, other in pairwise(BACKENDS):
        assert modules(one, file) == modules(other, file)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("groups", GROUPS)
def test_every_parameter_is_found_by_its_canonical_path(backend: Adapter, head: str, groups: str) -> None:
    config = AlbertConfig(**TINY, **GROUPS[groups], position_embedding_type="relative_key")
    model = backend.model(head, config, "float32")
    state = model.numpy_state()
    assert {n: v.shape for n, v in state.items()} == {n: p.shape for n, p in model.parameter_table.items()}
    leaves = {id(model.leaf(p).value) for p in model.parameter_table.values() if p.tied_to is None}
    assert len(leaves) == sum(p.tied_to is None for p in model.parameter_table.values())


@pytest.mark.parametrize("head", HEADS)
def test_documentation_comes_from_the_core(backend: Adapter, head: str) -> None:
    cls = backend.cls(head)
    forward = {"torch": "forward", "tf": "call", "flax": "__call__"}[backend.name]
    assert cls.__doc__ == HEADS[head].about
    assert getattr(cls, forward).__doc__ == forward_doc(HEADS[head])


def test_the_exceptions_exist() -> None:
    for backend, names in OWN.items():
        present = {f"{n}.{a}" for file in MIRRORED for n, c in classes(backend, file).items() for a in attributes(c)}
        assert names <= present


def methods(node: ast.ClassDef) -> list[str]:
    return [m.name for m in node.body if isinstance(m, ast.FunctionDef)]


def test_no_forward_of_a_head_is_long() -> None:
    for backend in BACKENDS:
        for name, node in classes(backend, "models.py").items():
            for m in (m for m in node.body if isinstance(m, ast.FunctionDef) and m.name == "compute"):
                assert m.end_lineno - m.lineno + 1 <= 15, f"{backend} {name}"


def test_every_public_class_of_the_heads_is_there(backend: Adapter) -> None:
    prefix = BACKENDS[backend.name].prefix
    for name, head in HEADS.items():
        cls = backend.cls(name)
        auto = "Auto" + (name.replace("Albert", "Model") if name != "AlbertModel" else "Model")
        assert issubclass(cls, head)
        assert getattr(backend.package, prefix + auto) is cls
        assert getattr(backend.package, prefix + head.output_class.__name__) is head.output_class
