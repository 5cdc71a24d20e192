"""PyTorch's products with a weight by way of oneDNN: the same numbers, and only where that pays."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from albert_core.config import AlbertConfig
from albert_torch import AlbertForMaskedLM, products


@pytest.fixture
def _slow_mkl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_mkl_lacks_avx512", lambda: True)


def drawn(rows: int, width_in: int = 256, width_out: int = 512, dtype: Any = torch.float32) -> list[Any]:
    draw = torch.Generator().manual_seed(0)
    shapes = (2, rows // 2, width_in), (width_out, width_in), (width_out,)
    return [torch.randn(shape, generator=draw).to(dtype).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("rows", [2, 256, 600])
def test_the_same_values_and_gradients(rows: int) -> None:
    results = []
    for product in (torch.nn.functional.linear, products._by_onednn):
        given = drawn(rows)
        out = product(*given)
        assert out.shape == (2, rows // 2, 512)
        assert out.is_contiguous()
        results.append([out, *torch.autograd.grad(out.square().sum(), given)])
    for plain, by_onednn in zip(*results, strict=True):
        torch.testing.assert_close(by_onednn, plain, rtol=1e-4, atol=1e-4 * plain.abs().max().item())


@pytest.mark.usefixtures("_slow_mkl")
def test_where_it_pays() -> None:
    x, weight, _ = drawn(256)
    assert products._pays(x, weight)
    assert not products._pays(*drawn(254)[:2])
    with torch.no_grad():
        assert products._pays(*drawn(128)[:2])
    assert not products._pays(*drawn(256, width_out=64)[:2])
    assert not products._pays(*drawn(256, dtype=torch.float64)[:2])
    with torch.autocast("cpu", torch.bfloat16):
        assert not products._pays(x, weight)
    torch.set_float32_matmul_precision("medium")
    try:
        assert not products._pays(x, weight)
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(
    ("capability", "processor", "wanted"),
    [
        ("AVX512", "vendor_id : AuthenticAMD", True),
        ("AVX512", "vendor_id : GenuineIntel", False),
        ("AVX2", "vendor_id : AuthenticAMD", False),
    ],
)
def test_which_machines(monkeypatch: pytest.MonkeyPatch, capability: str, processor: str, wanted: bool) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(products, "_processor", lambda: processor)
    assert products._mkl_lacks_avx512.__wrapped__() is (wanted and torch.backends.mkl.is_available())


@pytest.fixture
def model() -> AlbertForMaskedLM:
    config = AlbertConfig(
        vocab_size=100, embedding_size=128, hidden_size=512, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=512,
    )  # fmt: skip
    return AlbertForMaskedLM(config).eval()


def pieces(batch: int, length: int) -> torch.Tensor:
    return torch.arange(batch * length).reshape(batch, length) % 100


@pytest.mark.usefixtures("_slow_mkl")
def test_an_exported_program_keeps_plain_products(monkeypatch: pytest.MonkeyPatch, model: AlbertForMaskedLM) -> None:
    calls = []
    by_onednn = products._by_onednn
    monkeypatch.setattr(products, "_by_onednn", lambda *given: calls.append(1) or by_onednn(*given))
    with torch.no_grad():
        model(pieces(2, 128))
    assert calls
    program = torch.export.export(model, (pieces(2, 128),))
    assert not [node for node in program.graph.nodes if "conv" in str(node.target)]


@pytest.mark.usefixtures("_slow_mkl")
def test_a_compiled_program_takes_them_where_they_pay(model: AlbertForMaskedLM) -> None:
    """Two programs for all shapes: one for few places, one for many."""
    found: list[bool] = []

    def look(graph: torch.fx.GraphModule, _: Any) -> Any:
        found.append(any("conv2d" in str(node.target) for node in graph.graph.nodes))
        return graph.forward

    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=look)
    with torch.no_grad():
        for shape in ((2, 128), (2, 50), (3, 100), (4, 20), (5, 60)):
            ids = pieces(*shape)
            torch.testing.assert_close(compiled(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-4)
    assert found == [True, False]


@pytest.mark.usefixtures("_slow_mkl")
def test_gradients_of_a_compiled_program(model: AlbertForMaskedLM) -> None:
    torch.compiler.reset()
    ids, parameters = pieces(2, 128), list(model.parameters())
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")
    wanted, got = (torch.autograd.grad(m(ids, labels=ids).loss, parameters) for m in (model, compiled))
    largest = max(gradient.abs().max().item() for gradient in wanted)  # a key's bias has none but noise
    for one, other in zip(wanted, got, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5 * largest)
