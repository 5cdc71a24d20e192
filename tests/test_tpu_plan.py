"""Plans for TPUs: what is read from a compiled program, and the TPU compiler itself where libtpu is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from albert_core.config import AlbertConfig
from albert_core.parity_suite import TINY
from albert_core.recipes import PretrainingRecipe
from albert_flax import tpu_plan
from albert_flax.flops import matrix_flops
from albert_flax.hlo import Collective, Program, size_of
from albert_flax.tpu_chips import CHIPS

HAS_LIBTPU = importlib.util.find_spec("libtpu") is not None
RECIPE = PretrainingRecipe(batch_size=16, sequence_length=16)
# As XLA writes it for a TPU: layouts, indices in comments, memory on the chip as S(1), a loop without a trip count.
HLO = """HloModule jit_step, is_scheduled=true, entry_computation_layout={(f32[8,4]{1,0})->f32[8,4]{1,0}}

%add.1 (x: f32[], y: f32[]) -> f32[] {
  %x = f32[]{:T(128)} parameter(0)
  %y = f32[]{:T(128)} parameter(1)
  ROOT %sum = f32[]{:T(128)} add(%x, %y)
}

%fused.1 (p0: f32[12,8,4], p1: s32[]) -> f32[8,4] {
  %p0 = f32[12,8,4]{2,1,0:T(8,128)} parameter(0)
  %p1 = s32[]{:T(128)} parameter(1)
  %zero = s32[]{:T(128)} constant(0)
  %row = f32[1,8,4]{2,1,0:T(8,128)} dynamic-slice(%p0, %p1, %zero, %zero), dynamic_slice_sizes={1,8,4}
  ROOT %flat = f32[8,4]{1,0:T(8,128)} bitcast(%row)
}

%fused.2 (q0: f32[12,8,4], q1: f32[8,4], q2: s32[]) -> f32[12,8,4] {
  %q0 = f32[12,8,4]{2,1,0:T(8,128)} parameter(0)
  %q1 = f32[8,4]{1,0:T(8,128)} parameter(1)
  %q2 = s32[]{:T(128)} parameter(2)
  %none = s32[]{:T(128)} constant(0)
  %deep = f32[1,8,4]{2,1,0:T(8,128)} bitcast(%q1)
  ROOT %written = f32[12,8,4]{2,1,0:T(8,128)} dynamic-update-slice(%q0, %deep, %q2, %none, %none)
}

%body (state: (s32[], f32[12,8,4], f32[8,4])) -> (s32[], f32[12,8,4], f32[8,4]) {
  %state = (s32[]{:T(128)}, f32[12,8,4]{2,1,0:T(8,128)}, f32[8,4]{1,0:T(8,128)S(1)}) parameter(0)
  %n = s32[]{:T(128)} get-tuple-element(%state), index=0
  %all = f32[12,8,4]{2,1,0:T(8,128)} get-tuple-element(%state), index=1
  %kept = f32[8,4]{1,0:T(8,128)S(1)} get-tuple-element(%state), index=2
  %read = f32[8,4]{1,0:T(8,128)} fusion(%all, %n), kind=kLoop, calls=%fused.1
  %shared = f32[8,4]{1,0:T(8,128)S(1)} all-reduce(%read), channel_id=1, to_apply=%add.1, backend_config={"a":[1]}
  %stored = f32[12,8,4]{2,1,0:T(8,128)} fusion(%all, %shared, %n), kind=kLoop, calls=%fused.2
  %one = s32[]{:T(128)} constant(1)
  %next = s32[]{:T(128)S(1)} add(%n, %one)
  ROOT %out = (s32[]{:T(128)}, f32[12,8,4]{2,1,0:T(8,128)}, /*index=2*/f32[8,4]{1,0:T(8,128)S(1)}) tuple(%next, %stored, %kept)
}

%condition (c: (s32[], f32[12,8,4], f32[8,4])) -> pred[] {
  %limit = s32[]{:T(128)} constant(12)
  %c = (s32[]{:T(128)}, f32[12,8,4]{2,1,0:T(8,128)}, f32[8,4]{1,0:T(8,128)S(1)}) parameter(0)
  %turn = s32[]{:T(128)} get-tuple-element(%c), index=0
  ROOT %less = pred[]{:T(512)S(1)} compare(%turn, %limit), direction=LT
}

ENTRY %main (a: f32[8,4]) -> f32[8,4] {
  %a = f32[8,4]{1,0:T(8,128)} parameter(0)
  %start = (s32[]{:T(128)}, f32[12,8,4]{2,1,0:T(8,128)}, f32[8,4]{1,0:T(8,128)S(1)}) custom-call(), custom_call_target="AllocateBuffer"
  %loop = (s32[]{:T(128)}, f32[12,8,4]{2,1,0:T(8,128)}, f32[8,4]{1,0:T(8,128)S(1)}) while(%start), condition=%condition, body=%body
  %part = f32[2,4]{1,0:T(8,128)} reduce-scatter(%a), channel_id=2, dimensions={0}, to_apply=%add.1
  %begun = (f32[2,4]{1,0}, f32[8,4]{1,0}) all-gather-start(%part), channel_id=3, dimensions={0}
  ROOT %whole = f32[8,4]{1,0:T(8,128)} all-gather-done(%begun)
}
"""  # fmt: skip  # noqa: E501


def test_collectives_and_where_they_are() -> None:
    assert sorted(Program.parse(HLO).collectives(), key=lambda c: c.kind) == [
        Collective("all-gather", 32, 1, False),
        Collective("all-reduce", 128, 12, True),
        Collective("reduce-scatter", 128, 1, False),
    ]


def test_bytes_moved_counts_slices_and_turns() -> None:
    """What stays on the chip, S(1), is not counted."""
    row, index = 8 * 4 * 4, 4
    read, shared, stored = row + index + row, row, row + index
    turn = read + shared + stored + 2 * index + 2 * index  # and the loop's add and compare
    outside = (row + row // 4) + (row // 4 + row)  # the scatter and the gather
    assert Program.parse(HLO).bytes_moved() == 12 * turn + outside


@pytest.mark.parametrize(
    ("type_", "size", "in_memory"),
    [
        ("f32[30,128]{1,0:T(8,128)}", 15360, 15360),
        ("bf16[3]{0:T(1024)(128)(2,1)S(1)}", 6, 0),
        ("(s32[]{:T(128)}, /*index=1*/pred[7]{0}, s4[3]{0:S(1)})", 4 + 7 + 2, 4 + 7),
        ("token[]", 0, 0),
    ],
)
def test_sizes(type_: str, size: int, in_memory: int) -> None:
    assert (size_of(type_), size_of(type_, memory_only=True)) == (size, in_memory)


def test_what_a_cpu_program_says_is_read_too() -> None:
    """XLA for CPU names the turns of a loop."""

    def run(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda c, _: (jnp.sin(c @ c), None), x, length=7)[0]

    program = Program.parse(jax.jit(run).lower(jnp.ones((8, 8))).compile().as_text())
    loops = [i for c in program.computations.values() for i in c.values() if i.opcode == "while"]
    assert [program.trips(loop) for loop in loops] == [7]
    assert program.collectives() == []
    assert program.bytes_moved() > 7 * 2 * 8 * 8 * 4


def test_matrix_flops_counts_loops_and_attention() -> None:
    def run(x: jax.Array, q: jax.Array) -> Any:
        looped = jax.lax.scan(lambda c, _: (c @ c, None), x, length=5)[0]
        return looped, jnp.einsum("bqnd,bknd->bnqk", q, q)

    traced = jax.jit(run).trace(jnp.ones((8, 8)), jnp.ones((2, 3, 4, 6)))
    attention = 2 * (2 * 4 * 3 * 3) * 6
    assert matrix_flops(traced.jaxpr.jaxpr) == (5 * 2 * 8**3 + attention, attention)


def test_the_compilers_refusals_are_understood() -> None:
    told = (
        "CompileTimeHbmOom: Ran out of memory on HBM, the total memory required for HLO temporaries (52.41G) exceeds "
        "available HBM (15.75G).",
        "Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm. Exceeded hbm capacity by 4.75G.",
    )
    needed = [tpu_plan.needed_memory(text) for text in told]
    assert needed == [int(52.41 * 2**30), int(20.5 * 2**30)]
    assert tpu_plan.needed_memory("INTERNAL: something else") is None


def test_every_chip_has_its_source() -> None:
    for name, chip in CHIPS.items():
        assert chip.source.endswith(f"/tpu/docs/{name}")
        assert 100 < chip.flops / chip.memory_bandwidth < 600, "operations per byte, of one order in all of them"


@pytest.mark.parametrize("topology", ["v9:2x2", "v5e", "2x2"])
def test_an_unknown_chip_is_refused(topology: str) -> None:
    with pytest.raises(tpu_plan.TopologyError, match=rf"{topology}.*v4, v5e, v5p, v6e"):
        tpu_plan.plan(AlbertConfig(**TINY), RECIPE, topology)


# -- the command, in a process of its own ------------------------------------------------------------------------------


def albert(*args: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "albert_core", "tpu-plan", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=env)


@pytest.mark.skipif(HAS_LIBTPU, reason="libtpu is installed")
def test_without_libtpu_it_says_how_to_install_it() -> None:
    done = albert("--json", "--batch", 4)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"] == "compiler_missing"
    assert 'pip install "albert-models[tpu]"' in done.stderr


@pytest.mark.skipif(not HAS_LIBTPU, reason='needs libtpu: pip install "albert-models[tpu]"')
@pytest.mark.parametrize("remat", [pytest.param(None, marks=pytest.mark.long), "nothing_saveable"])
def test_v5e_compiles(tmp_path: Any, remat: str | None) -> None:
    AlbertConfig(**TINY).save_pretrained(tmp_path)
    chosen = [] if remat is None else ["--remat", remat]
    done = albert("--model", tmp_path, "--topology", "v5e:2x2", "--batch", 16, "--seq", 16, "--json", *chosen)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["chips"], found["devices_per_chip"], found["fits"], found["remat"]) == (4, 1, True, remat)
    assert found["collectives_in_loops"] == 0
    assert 0 < found["memory_bytes"] < 2**28 < found["memory_limit"] == 16 * 2**30
    assert found["head_padding"] == 1 - 5 / 128
    assert 0 < found["estimate"]["step"] < 1


@pytest.mark.long
@pytest.mark.skipif(not HAS_LIBTPU, reason='needs libtpu: pip install "albert-models[tpu]"')
@pytest.mark.parametrize(
    ("topology", "slices", "chips", "devices"),
    [("v4:2x2x1", 1, 4, 2), ("v5p:2x2x1", 1, 4, 1), ("v6e:2x2", 1, 4, 1), ("v5e:2x2", 2, 8, 1)],
)
def test_the_other_chips_compile(topology: str, slices: int, chips: int, devices: int) -> None:
    found = tpu_plan.plan(AlbertConfig(**TINY), RECIPE, topology, slices=slices)
    assert (found.chips, found.devices_per_chip, found.fits, found.collectives_in_loops) == (chips, devices, True, 0)


@pytest.mark.long
@pytest.mark.skipif(not HAS_LIBTPU, reason='needs libtpu: pip install "albert-models[tpu]"')
def test_a_batch_or_shape_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="multiple of the 4 devices, got 15"):
        tpu_plan.plan(AlbertConfig(**TINY), RECIPE.replace(batch_size=15), "v5e:2x2")
    with pytest.raises(tpu_plan.TopologyError, match="3x5"):
        tpu_plan.plan(AlbertConfig(**TINY), RECIPE, "v5e:3x5")
