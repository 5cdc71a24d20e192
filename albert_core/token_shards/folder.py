"""The folder of all shards and its manifest: first the plan alone, with the facts of every shard when all are made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from albert_core.atomic import write_file
from albert_core.corpus import TokenizedCorpus
from albert_core.errors import FormatError, NotFound, TokenizerError
from albert_core.strict_json import parse_object
from albert_core.token_shards.plan import FORMAT, Plan, tokenizer_facts
from albert_core.token_shards.shard import Shard, shard_name

__all__ = ["MANIFEST", "begin_folder", "finish_folder", "open_folder"]

MANIFEST = "manifest.json"


def begin_folder(folder: Path, plan: Plan) -> None:
    """Write the plan into a new folder, or see that it is the plan of the folder there is.

    Raises:
        TokenizerError: The folder was begun with another tokenizer.
        FormatError: It was begun with other files or settings.
    """
    path = folder / MANIFEST
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_file(path, _json(plan.facts))
        return
    there = _read_manifest(folder)
    _check_tokenizer(folder, there, plan.settings.tokenizer)
    for name, expected in json.loads(_json(plan.facts)).items():
        if (found := there.get(name)) != expected:
            reason = f"expected the {name} that the folder was begun with, {found!r:.200}, got {expected!r:.200}"
            raise FormatError(path, name, reason, hint="name another folder")


def finish_folder(folder: Path, plan: Plan) -> dict[str, Any] | None:
    """Write the whole manifest, and remove what killed processes left; None while a shard is missing.

    Raises:
        FormatError: There is no text in any file.
    """
    names = [shard_name(index) for index in range(len(plan.shards))]
    if not all((folder / name).exists() for name in names):
        return None
    shards = [Shard.read(folder / name)._asdict() for name in names]
    totals = {kind: sum(shard[kind] for shard in shards) for kind in ("tokens", "segments", "documents")}
    if not totals["tokens"]:
        files = ", ".join(file["name"] for file in plan.files)
        raise FormatError(folder, None, f"expected text in at least one file, found none in {files:.200}")
    manifest = {**plan.facts, **totals, "shards": shards}
    write_file(folder / MANIFEST, _json(manifest))
    for left_over in folder.glob(".*.tmp"):
        shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()
    return manifest


def open_folder(folder: str | Path, tokenizer: Any, *, verify: bool = True) -> TokenizedCorpus:
    """A prepared folder as a corpus whose tokens stay on disk.

    Args:
        folder: What `albert prepare-data` made.
        tokenizer: The tokenizer it was made with.
        verify: Compare checksums, which reads every byte once.

    Raises:
        NotFound: There is no such folder, or a shard is missing.
        FormatError: It is no prepared folder, or is not finished.
        TokenizerError: It was made with another tokenizer.
        IntegrityError: A shard is not what was written.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    _check_tokenizer(folder, manifest, tokenizer_facts(tokenizer))
    if "shards" not in manifest:
        raise FormatError(folder, None, "expected all shards, some are not made yet", hint="run prepare-data again")
    parts = []
    for index, facts in enumerate(manifest["shards"]):
        shard, path = Shard.of(facts, folder / MANIFEST), folder / shard_name(index)
        shard.check(path, verify)
        parts.append(shard.corpus(path))
    return TokenizedCorpus.join(parts)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not folder.exists():
        raise NotFound(folder, None, "expected a folder of prepared tokens, there is none")
    if not path.is_file():
        raise FormatError(folder, None, f"expected a folder of prepared tokens, got one without {MANIFEST}")
    manifest = parse_object(path.read_bytes(), path, "manifest")
    if manifest.get("format") != FORMAT:
        raise FormatError(path, "format", f"expected {FORMAT!r}, got {manifest.get('format')!r:.200}")
    if not isinstance(manifest.get("tokenizer"), dict) or not isinstance(manifest.get("shards", []), list):
        raise FormatError(path, None, "expected a tokenizer and a list of shards, got other values")
    return manifest


def _check_tokenizer(folder: Path, manifest: dict[str, Any], facts: dict[str, Any]) -> None:
    if (there := manifest["tokenizer"]) != facts:
        expected, got = (f"{each.get('vocab_size')} pieces, SHA-256 {each.get('sha256')}" for each in (there, facts))
        raise TokenizerError(folder, f"expected the tokenizer it was prepared with, {expected}; got {got}")


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
