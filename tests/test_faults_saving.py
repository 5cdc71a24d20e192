"""A disk that fails, a process that dies and a second writer leave the old checkpoint or the new one, and no litter."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from faulty_disk import FaultyDisk, disk_full, faulty
from small_checkpoint import OTHER, STATE, raw, state_of

from albert_core import safetensors_io
from albert_core.atomic import write_file, write_folder
from albert_core.errors import CheckpointError, FormatError, SaveError
from albert_core.safetensors_io import save_sharded


def litter(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


SIZES = {"one file": "5GB", "shards": 16}


def save_on(disk: FaultyDisk, folder: Path, state, size) -> SaveError | None:
    try:
        with faulty(disk), write_folder(folder) as inside:
            save_sharded(inside, state, max_shard_size=size)
            write_file(inside / "config.json", b"{}")
    except SaveError as error:
        return error
    return None


@pytest.mark.parametrize("times", [1, 10**6], ids=["one fault", "a full disk"])
@pytest.mark.parametrize("old", SIZES)
@pytest.mark.parametrize("new", SIZES)
def test_a_fault_at_any_operation_of_a_save_keeps_a_whole_checkpoint(tmp_path, old, new, times):
    commit = 1 if new == "one file" else 3  # which renaming puts the new checkpoint in force, at the earliest
    for at in range(1000):
        folder = tmp_path / str(at)
        folder.mkdir()
        save_sharded(folder, STATE, max_shard_size=SIZES[old])
        before = {path.name for path in folder.iterdir()}
        disk = FaultyDisk(at, disk_full, times)
        error = save_on(disk, folder, OTHER, SIZES[new])
        assert litter(tmp_path) == []
        if error is None:
            break
        assert "No space left on device" in str(error)
        assert (error.exit_code, isinstance(error, OSError)) == (1, True)
        state = state_of(folder)
        assert state in (raw(OTHER), raw(STATE))
        if disk.log[:at].count("replace") < commit or state == raw(STATE):
            assert state == raw(STATE)
            assert {path.name for path in folder.iterdir()} == before
    assert at > 5
    assert state_of(folder) == raw(OTHER)


@pytest.mark.parametrize("size", SIZES)
def test_a_fault_at_any_operation_of_a_new_folder_leaves_nothing(tmp_path, size):
    for at in range(1000):
        target = tmp_path / str(at) / "deep" / "model"
        disk = FaultyDisk(at, disk_full)
        error = save_on(disk, target, STATE, SIZES[size])
        assert litter(tmp_path) == []
        if target.exists():  # and whole: at most the fsync after the last renaming failed
            assert state_of(target) == raw(STATE)
            assert (target / "config.json").exists()
            assert "rename" in disk.log[:at]
        if error is None:
            break
        assert "No space left" in str(error)
    assert at > 5
    assert target.exists()


_KILLS = """
import os, sys
from pathlib import Path
import numpy as np
from faulty_disk import FaultyDisk, faulty, killed
from albert_core.atomic import write_folder
from albert_core.safetensors_io import read_checkpoint, save_sharded

root, old, new = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
states = [{n: np.full(40, value, np.float32) for n in "abc"} for value in (1, 2)]
seen, at, alive = [], 0, False
while not alive:
    folder = root / str(at)
    folder.mkdir()
    save_sharded(folder, states[0], max_shard_size=old)
    child = os.fork()
    if child == 0:
        with faulty(FaultyDisk(at, killed)), write_folder(folder) as inside:
            save_sharded(inside, states[1], max_shard_size=new)
        os._exit(0)
    alive = os.waitpid(child, 0)[1] == 0
    with read_checkpoint(folder) as checkpoint:
        values = {float(v) for name in checkpoint for v in checkpoint[name]}
    assert checkpoint.integrity == "verified" and len(values) == 1, (at, values)
    seen.append(values.pop())
    at += 1
assert seen == sorted(seen) and seen[-1] == 2, seen
print(len(seen))
"""


@pytest.mark.parametrize("old", [10**9, 200])
@pytest.mark.parametrize("new", [10**9, 200])
def test_a_kill_at_any_operation_leaves_the_old_or_the_new_checkpoint(tmp_path, old, new):
    done = subprocess.run(
        [sys.executable, "-c", _KILLS, str(tmp_path), str(old), str(new)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 5


def test_bytes_reach_the_disk_before_the_name_does(tmp_path):
    with faulty(FaultyDisk(10**6, disk_full)) as disk:
        write_file(tmp_path / "x", b"data")
    assert disk.log == ["open", "write", "fsync", "replace", "fsync"]


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_modes_follow_the_umask_or_the_old_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        with write_folder(tmp_path / "new") as folder:
            write_file(folder / "x", b"1")
        write_file(tmp_path / "old", b"1")
        (tmp_path / "old").chmod(0o604)
        write_file(tmp_path / "old", b"2")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o777 & ~mask
    assert stat.S_IMODE((tmp_path / "new" / "x").stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o604


def test_links_stay_and_their_targets_are_replaced(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "x").write_bytes(b"old")
    (tmp_path / "link").symlink_to("store/x")
    (tmp_path / "dangling").symlink_to("store/y")
    for name in ("link", "dangling"):
        write_file(tmp_path / name, b"new")
        assert (tmp_path / name).is_symlink()
    assert (tmp_path / "store" / "x").read_bytes() == (tmp_path / "store" / "y").read_bytes() == b"new"


def test_what_stands_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with (
        pytest.raises(SaveError, match="file: expected a folder or nothing, got a file"),
        write_folder(tmp_path / "file"),
    ):
        pass
    for name in ("folder", "loop", "gone/x", "file/x"):
        with pytest.raises(SaveError, match=name):
            write_file(tmp_path / name, b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "loop"]
    assert (tmp_path / "file").read_bytes() == b"mine"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_of_the_caller_passes_and_leaves_nothing(tmp_path, error):
    def fail(file) -> None:
        file.write(b"half")
        raise error("mine")

    with pytest.raises(error, match="mine"):
        write_file(tmp_path / "x", fail)
    with pytest.raises(error, match="mine"), write_folder(tmp_path / "new") as folder:
        write_file(folder / "x", fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mine", SIZES)
@pytest.mark.parametrize("theirs", SIZES)
def test_a_second_writer_of_a_new_folder_does_not_mix_in(tmp_path, mine, theirs):
    with write_folder(tmp_path / "model") as slow:
        save_sharded(slow, STATE, max_shard_size=SIZES[mine])
        write_file(slow / "mine.txt", b"mine")
        with write_folder(tmp_path / "model") as quick:
            save_sharded(quick, OTHER, max_shard_size=SIZES[theirs])
    assert state_of(tmp_path / "model") in (raw(OTHER), raw(STATE))
    assert (mine, theirs) == ("one file", "shards") or state_of(tmp_path / "model") == raw(OTHER)
    assert (tmp_path / "model" / "mine.txt").read_bytes() == b"mine"
    assert litter(tmp_path) == []


def test_two_writers_of_shards_in_one_folder_do_not_mix(tmp_path, monkeypatch):
    save, both = safetensors_io.save_safetensors, threading.Barrier(2, timeout=30)

    def together(path, tensors) -> None:
        with suppress(threading.BrokenBarrierError):
            both.wait()
        save(path, tensors)

    monkeypatch.setattr(safetensors_io, "save_safetensors", together)
    threads = [threading.Thread(target=save_sharded, args=(tmp_path, state, 16)) for state in (STATE, OTHER)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state_of(tmp_path) in (raw(STATE), raw(OTHER))
    assert len(list(tmp_path.glob("model*-of-00002.safetensors"))) == 4  # each has names of its own


def test_readers_beside_a_writer_see_one_checkpoint_or_the_other(tmp_path):
    save_sharded(tmp_path, STATE, max_shard_size=16)
    stop, failures = threading.Event(), []

    def write() -> None:
        try:
            while not stop.is_set():
                for state in (OTHER, STATE):
                    save_sharded(tmp_path, state, max_shard_size=16)
        except BaseException as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    whole = 0
    for _ in range(100):
        try:
            state = state_of(tmp_path)
        except CheckpointError:  # the shards went between the index and them
            continue
        assert state in (raw(STATE), raw(OTHER))
        whole += 1
    stop.set()
    writer.join()
    assert not failures
    assert whole


def test_a_failing_save_over_a_foreign_file_keeps_it(tmp_path):
    shutil.copy(__file__, tmp_path / "model.safetensors")
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(FormatError, match="key 'x'"):
        save_sharded(tmp_path, {"x": np.array(["text"])})
    assert (tmp_path / "model.safetensors").read_bytes() == before
