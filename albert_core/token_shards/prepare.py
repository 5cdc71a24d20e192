"""Making all shards, or one job's share of them, in several processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from albert_core.errors import AlbertError
from albert_core.text_files import TEXT_FIELD
from albert_core.token_shards.folder import begin_folder, finish_folder
from albert_core.token_shards.plan import SHARD_SIZE, Plan, Settings, make_plan, tokenizer_facts
from albert_core.token_shards.shard import Shard, make_shard
from albert_core.tokenizer import AlbertTokenizer

__all__ = ["prepare"]


def prepare(
    files: Sequence[str | Path],
    output: str | Path,
    tokenizer: str | Path,
    *,
    shard_size: int = SHARD_SIZE,
    text_field: str = TEXT_FIELD,
    processes: int = 1,
    job: tuple[int, int] = (1, 1),
    progress: Callable[[int], object] = lambda done: None,
) -> dict[str, Any]:
    """Tokenize text files into a folder that `TokenizedCorpus.read` opens; again, to go on where it was killed.

    Args:
        files: Text files, see `text_files.read_paragraphs`.
        output: Folder of the shards.
        tokenizer: Folder of an AlbertTokenizer.
        shard_size: Bytes of text that fill a shard.
        text_field: Where the document stands in a JSON line.
        processes: How many shards are made at once. With more than one, a script needs the usual
            `if __name__ == "__main__":`.
        job: (i, n) makes the i-th of n shares, i from 1. The job that finds all shards made writes the manifest.
        progress: Gets how many shards of this job are done.

    Returns:
        folder; shards, in all; made and kept, by this call; tokens, segments and documents of these two; finished,
        whether the folder is whole.

    Raises:
        ValueError: An argument is out of range.
        TokenizerError: The folder was begun with another tokenizer, or there is none to read.
        FormatError: A file cannot be read as text, the folder was begun otherwise, or there is no text.
        NotFound: A file does not exist.
        SaveError: The folder cannot be written.
    """
    if not 1 <= job[0] <= job[1]:
        raise ValueError(f"job: expected (i, n) with i from 1 to n, got {job}")
    if processes < 1:
        raise ValueError(f"processes: expected at least 1, got {processes}")
    folder, engine = Path(output), AlbertTokenizer.from_pretrained(tokenizer)
    plan = make_plan(files, Settings(tokenizer_facts(engine), shard_size, text_field))
    begin_folder(folder, plan)
    indices = range(len(plan.shards))[job[0] - 1 :: job[1]]
    if processes == 1:
        made = map(partial(make_shard, folder, plan, tokenizer=engine), indices)
    else:
        made = _in_processes(min(processes, len(indices)), indices, folder, plan, tokenizer)
    found: list[tuple[Shard, bool]] = []
    for each in made:
        found.append(each)
        progress(len(found))
    kept = sum(kept for _, kept in found)
    counts = {kind: sum(getattr(s, kind) for s, _ in found) for kind in ("tokens", "segments", "documents")}
    finished = finish_folder(folder, plan) is not None
    made_kept = {"made": len(found) - kept, "kept": kept}
    return {"folder": str(folder), "shards": len(plan.shards), **made_kept, **counts, "finished": finished}


def _in_processes(
    count: int, indices: Sequence[int], folder: Path, plan: Plan, tokenizer: str | Path
) -> Iterator[tuple[Shard, bool]]:
    """Shards as they are done. The workers end when this process is interrupted, fails or is killed."""
    if not indices:
        return
    context = multiprocessing.get_context("spawn")
    alive, ours = context.Pipe(duplex=False)
    given = folder, plan, tokenizer, alive
    with alive, ours, ProcessPoolExecutor(count, context, _begin_worker, given) as pool:
        try:
            for future in as_completed([pool.submit(_make_in_worker, index) for index in indices]):
                yield future.result()
        except BrokenProcessPool as error:
            reason = "a worker process was killed, perhaps for want of memory; run again, with fewer processes"
            raise AlbertError(reason=reason) from error
        except BaseException:
            ours.close()
            pool.shutdown(cancel_futures=True)
            raise


_make: Callable[[int], tuple[Shard, bool]]  # of a worker


def _begin_worker(folder: Path, plan: Plan, tokenizer: str | Path, alive: Connection) -> None:
    global _make
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells when to stop
    threading.Thread(target=_end_with_parent, args=(alive,), daemon=True).start()
    _make = partial(make_shard, folder, plan, tokenizer=AlbertTokenizer.from_pretrained(tokenizer))


def _make_in_worker(index: int) -> tuple[Shard, bool]:
    return _make(index)


def _end_with_parent(alive: Connection) -> None:
    """Leave at once when the parent's end is closed: shards are whole or absent at any moment."""
    try:
        alive.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
