"""`torchrun --nproc-per-node 2`, on this machine's loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
SECONDS = 300


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run it to its end. One that is late gets SIGTERM, on which it ends its processes: they are no group with it."""
    where = ["--master-addr", "127.0.0.1", "--master-port", str(_free_port())]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *where, *map(str, arguments)]
    path = os.pathsep.join([str(TESTS), *sys.path])
    env = {**os.environ, "PYTHONPATH": path, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=env, **pipes) as process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()
            raise
    assert process.returncode == 0, err[-3000:]
    return subprocess.CompletedProcess(command, 0, out, err)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
