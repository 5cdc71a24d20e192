"""Converting a model of xlarge size between every two file formats, against copying the bytes.

    python benchmarks/convert.py [--preset albert-xlarge-v2] [--folder FOLDER]

The bound is 3 times the time of copying the source's bytes (read, write, fsync) plus 5 seconds, in a memory bounded by
the largest tensor: each conversion runs in a process of its own, whose peak is shown above that after the imports.
orbax, which is imported with JAX when it is written and which takes all arrays at once, is held to the time alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "conversion")]

from albert_core.config import AlbertConfig
from albert_core.formats import FORMATS, losses
from albert_core.heads import HEADS
from albert_core.parameters import parameter_table
from albert_core.safetensors_file import save_safetensors

HEAD = "AlbertForMaskedLM"
FACTOR, OVERHEAD = 3, 5.0  # seconds
_RUN = """
import sys, time
sys.path[:0] = {paths!r}
from albert_conversion.convert import convert
def peak():  # kilobytes; that of getrusage would be the parent's at first
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
base = peak()
start = time.perf_counter()
convert({source!r}, {target!r}, {to!r})
print(time.perf_counter() - start, (peak() - base) / 1024)
"""


def copy_seconds(source: Path, target: Path) -> float:
    """Copy a folder's files with fsync."""
    start = time.perf_counter()
    target.mkdir()
    for path in (p for p in source.rglob("*") if p.is_file()):
        with path.open("rb") as read, (target / path.name).open("wb") as write:
            shutil.copyfileobj(read, write, 1 << 24)
            write.flush()
            os.fsync(write.fileno())
    return time.perf_counter() - start


def convert_in_process(source: Path, target: Path, to: str) -> tuple[float, float]:
    """Seconds, and megabytes above those of the imports."""
    paths = [str(ROOT), str(ROOT / "conversion")]
    code = _RUN.format(paths=paths, source=str(source), target=str(target), to=to)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, megabytes = map(float, done.stdout.split()[-2:])
    return seconds, megabytes


def write_source(folder: Path, config: AlbertConfig) -> None:
    """Random float32 weights as safetensors."""
    rng = np.random.default_rng(0)
    table = parameter_table(config, HEADS[HEAD].all_parts(True))
    own = {n: rng.standard_normal(p.shape, np.float32) for n, p in table.items() if p.tied_to is None}
    config.replace(extra={"architectures": [HEAD]}).save_pretrained(folder)
    save_safetensors(folder / "model.safetensors", own)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="albert-xlarge-v2")
    parser.add_argument("--folder", type=Path, help="where to work, on the disk that is to be measured")
    arguments = parser.parse_args()
    config = AlbertConfig.from_preset(arguments.preset)
    names = [n for n, f in FORMATS.items() if f.writable and not losses(f, config, HEAD, "float32")]
    rows = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        root = Path(scratch)
        write_source(root / "safetensors", config)
        for name in names[1:]:
            convert_in_process(root / "safetensors", root / name, name)
        for first, second in itertools.permutations(names, 2):
            copied = copy_seconds(root / first, root / "copy")
            seconds, megabytes = convert_in_process(root / first, root / "out", second)
            shutil.rmtree(root / "copy")
            shutil.rmtree(root / "out")
            bound = FACTOR * copied + OVERHEAD
            rows.append({"from": first, "to": second, "copy_s": copied, "convert_s": seconds, "peak_mb": megabytes})
            verdict = "ok" if seconds < bound else "OVER"
            print(f"{first:>12} -> {second:<12} {seconds:6.2f} s, bound {bound:6.2f} s {verdict}, {megabytes:7.0f} MB")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
