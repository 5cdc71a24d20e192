"""There and back between every two formats, bit for bit; and everything a conversion refuses, in one error."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from albert_conversion import inspect_checkpoint, safetensors_source, torch_bin
from albert_conversion.verify import verify
from albert_conversion.writers import WRITERS
from conversion_cases import SIZES, Model, bytes_of, can_hold, convert, models, random_bits, saved, tensors_of
from hypothesis import HealthCheck, given, settings

from albert_core.config import AlbertConfig
from albert_core.errors import (
    CheckpointError,
    ConfigError,
    DtypeMismatch,
    FormatError,
    IntegrityError,
    MissingKeys,
    NotFound,
    ShapeMismatch,
    UnexpectedKeys,
    UnsafeContent,
)
from albert_core.heads import HEADS

CONFIG = AlbertConfig(**SIZES)
HEAD = "AlbertForPreTraining"
WORDS = "albert.embeddings.word_embeddings.weight"
OLD_NAMES = {"weight": "gamma", "bias": "beta"}
KEY = "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.key.weight"


@pytest.fixture(scope="module", autouse=True)
def _no_waiting_for_the_disk() -> object:
    """fsync costs more than all else here; that it is called is a test of its own (test_faults_saving)."""
    patch = pytest.MonkeyPatch()
    patch.setattr("os.fsync", lambda _: None)
    yield
    patch.undo()


def check_every_pair(root: Path, model: Model) -> set[tuple[str, str]]:
    """Convert a model into each format that holds it, and each of these into each other; the pairs that were tried.

    What `second` writes of `first` is what it wrote of the start, byte for byte, and the other way round: so there and
    back gives the same bytes for every ordered pair.
    """
    config, head, dtype, state = model
    names = [name for name in WRITERS if can_hold(name, config, head, dtype)]
    start = saved(root / "start", config, head, state)
    for name in names:
        assert convert(start, root / name, name).head == head
        assert tensors_of(root / name) == {n: (dtype, a.tobytes()) for n, a in state.items()}, name
    pairs = set(itertools.permutations(names, 2))
    for first, second in pairs:
        convert(root / first, root / "out", second)
        if second == "orbax":  # which names its files at random and keeps the time
            assert tensors_of(root / "out") == tensors_of(root / second), first
        else:
            assert bytes_of(root / "out") == bytes_of(root / second), (first, second)
        shutil.rmtree(root / "out")
    return pairs


@pytest.mark.parametrize("examples", [12, pytest.param(120, marks=pytest.mark.long)])
def test_there_and_back_gives_the_same_bytes(examples: int, tmp_path: Path) -> None:
    tried: Counter[tuple[str, str]] = Counter()

    @hypothesis.seed(1)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(models())
    def check(model: Model) -> None:
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        tried.update(check_every_pair(tmp_path, model))

    check()
    assert set(tried) == set(itertools.permutations(WRITERS, 2))
    assert min(tried.values()) >= examples // 3


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("head", HEADS)
def test_every_head(name: str, head: str, tmp_path: Path) -> None:
    state = random_bits(CONFIG, head, "float32", 3)
    start = saved(tmp_path / "a", CONFIG, head, state)
    if not can_hold(name, CONFIG, head, "float32"):
        with pytest.raises(FormatError, match=f"cannot hold the head of {head}.*--allow-loss"):
            convert(start, tmp_path / "b", name)
        assert not (tmp_path / "b").exists()
        return
    report = convert(start, tmp_path / "b", name)
    assert (report.head, report.lost, report.written) == (head, [], True)
    assert {line.action for line in report.lines} <= {"read", "renamed", "tied"}
    assert tensors_of(tmp_path / "b") == {n: ("float32", a.tobytes()) for n, a in state.items()}


def test_a_pooler_that_a_head_does_not_read_travels_along(tmp_path: Path) -> None:
    state = random_bits(CONFIG, HEAD, "float32", 1)
    kept = {n: a for n, a in state.items() if not n.startswith("sop_classifier")}
    start = saved(tmp_path / "a", CONFIG, "AlbertForMaskedLM", kept)
    for name in WRITERS:
        report = convert(start, tmp_path / name, name)
        assert report.head == "AlbertForMaskedLM"
        assert tensors_of(tmp_path / name).keys() == kept.keys()


def test_an_encoder_without_its_pooler(tmp_path: Path) -> None:
    state = random_bits(CONFIG, "AlbertModel", "float32", 1)
    kept = {n: a for n, a in state.items() if "pooler" not in n}
    start = saved(tmp_path / "a", CONFIG, "AlbertModel", kept)
    for name in WRITERS:
        report = convert(start, tmp_path / name, name)
        assert [line.target for line in report.lines if line.action == "missing"] == ["albert.pooler"]
        assert tensors_of(tmp_path / name) == {n: ("float32", a.tobytes()) for n, a in kept.items()}


def test_shards(tmp_path: Path) -> None:
    state = random_bits(CONFIG, HEAD, "float64", 1)
    start = saved(tmp_path / "a", CONFIG, HEAD, state)
    for name in ("safetensors", "bin"):
        convert(start, tmp_path / name, name, max_shard_size=500)
        assert len(list((tmp_path / name).iterdir())) > 5
        assert tensors_of(tmp_path / name) == tensors_of(start)


def test_tokenizer_files_travel_under_the_names_their_users_look_for(tmp_path: Path) -> None:
    start = saved(tmp_path / "a", CONFIG, "AlbertModel", random_bits(CONFIG, "AlbertModel", "float32", 1))
    files = {"spiece.model": b"pieces", "tokenizer_config.json": b"{}", "special_tokens_map.json": b"{}"}
    for name, content in {**files, "optimizer.pt": b"no"}.items():
        (start / name).write_bytes(content)
    convert(start, tmp_path / "google", "tf1")
    assert (tmp_path / "google/30k-clean.model").read_bytes() == b"pieces"
    report = convert(tmp_path / "google", tmp_path / "back", "h5")
    assert {n: c for n, c in bytes_of(tmp_path / "back").items() if n in files} == files
    assert set(report.files) == {*files, "config.json"}


def test_several_checkpoints_in_one_folder(tmp_path: Path) -> None:
    states = {name: random_bits(CONFIG, "AlbertModel", "float32", seed) for seed, name in enumerate(("bin", "h5"))}
    for name, state in states.items():
        convert(saved(tmp_path / "start", CONFIG, "AlbertModel", state), tmp_path / "both", name)
    report = convert(tmp_path / "both", tmp_path / "out")
    assert (report.source_format, [Path(o).name for o in report.others]) == ("bin", ["tf_model.h5"])
    for name, file in (("bin", "pytorch_model.bin"), ("h5", "tf_model.h5")):
        assert tensors_of(tmp_path / "both" / file) == {n: ("float32", a.tobytes()) for n, a in states[name].items()}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("bin", "5GB", 300), ("bin", 300, "5GB"), ("bin", 300, 300), ("keras-hub", 1, 1), ("keras", 1, 1), ("tf1", 1, 1)],
)
def test_a_new_checkpoint_takes_the_place_of_an_old_one(
    name: str, old: int | str, new: int | str, tmp_path: Path
) -> None:
    masked, encoder = (
        saved(tmp_path / h, CONFIG, h, random_bits(CONFIG, h, "float32", 1))
        for h in ("AlbertForMaskedLM", "AlbertModel")
    )
    convert(masked, tmp_path / "out", name, max_shard_size=old)
    report = convert(encoder, tmp_path / "out", name, max_shard_size=new)
    convert(encoder, tmp_path / "fresh", name, max_shard_size=new)
    assert (report.head, report.taken_before) == ("AlbertModel", [])
    assert tensors_of(tmp_path / "out") == tensors_of(tmp_path / "fresh") == tensors_of(encoder)
    assert len(bytes_of(tmp_path / "out")) == len(bytes_of(tmp_path / "fresh"))


def test_a_shard_of_an_old_checkpoint_is_never_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (saved(tmp_path / str(n), CONFIG, HEAD, random_bits(CONFIG, HEAD, "float32", n)) for n in (1, 2))
    convert(first, tmp_path / "out", "bin", max_shard_size=300)
    before = bytes_of(tmp_path / "out")
    write, calls = torch_bin.write_bin, itertools.count()
    monkeypatch.setattr(torch_bin, "write_bin", lambda *a: write(*a) if next(calls) < 2 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        convert(second, tmp_path / "out", "bin", max_shard_size=300)
    assert bytes_of(tmp_path / "out") == before


def test_an_older_checkpoint_of_h5_shards_goes(tmp_path: Path) -> None:
    start = saved(tmp_path / "a", CONFIG, "AlbertModel", random_bits(CONFIG, "AlbertModel", "float32", 1))
    for name, weights in (("h5", "tf_model.h5"), ("msgpack", "flax_model.msgpack")):
        convert(start, tmp_path / name, name)
        files = bytes_of(tmp_path / name)
        shard = weights.replace("model.", "model-00001-of-00001.")
        (tmp_path / name / weights).rename(tmp_path / name / shard)
        (tmp_path / name / f"{weights}.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
        convert(start, tmp_path / name, name)
        assert bytes_of(tmp_path / name) == files


def test_what_is_read_instead_of_the_new_checkpoint_is_named(tmp_path: Path) -> None:
    start = saved(tmp_path / "a", CONFIG, "AlbertModel", random_bits(CONFIG, "AlbertModel", "float32", 1))
    target = saved(tmp_path / "b", CONFIG, "AlbertModel", random_bits(CONFIG, "AlbertModel", "float32", 2))
    (target / "training_args.bin").write_bytes(b"PK\3\4")
    for name, before in {"bin": [], "msgpack": ["pytorch_model.bin"], "safetensors": None}.items():
        expected = [] if before is None else [str(target / n) for n in ("model.safetensors", *before)]
        for dry_run in (True, False):
            assert convert(start, target, name, dry_run=dry_run).taken_before == expected
    assert tensors_of(target) == tensors_of(start)


def test_a_format_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    start = saved(tmp_path / "a", CONFIG, "AlbertModel", random_bits(CONFIG, "AlbertModel", "float32", 1))
    for name in ("safetensors", "bin", "h5", "msgpack"):
        convert(start, tmp_path / name, name)
        weights = next(p for p in (tmp_path / name).iterdir() if p.name != "config.json")
        weights.rename(weights.with_name("weights.dat"))
        assert convert(tmp_path / name, tmp_path / f"{name}-out").source_format == name


# -- what a format cannot hold -------------------------------------------------------------------------------------

LOSSES = {
    "bfloat16 in h5": ("h5", {}, "AlbertModel", "bfloat16", "the dtype bfloat16"),
    "relative in h5": ("h5", {"position_embedding_type": "relative_key"}, "AlbertModel", "float32", "'relative_key'"),
    "relative in msgpack": (
        "msgpack",
        {"position_embedding_type": "relative_key_query"},
        "AlbertModel",
        "float32",
        "'relative_key_query' and its distance embeddings",
    ),
    "erf gelu in TF1": ("tf1", {"hidden_act": "gelu"}, "AlbertModel", "float32", "hidden_act 'gelu'"),
    "epsilon in TF1": ("tf1", {"layer_norm_eps": 1e-6}, "AlbertModel", "float32", r"layer_norm_eps 1e-06 .*1e-12"),
    "token classes in TF1": ("tf1", {}, "AlbertForTokenClassification", "float32", "AlbertForTokenClassification"),
    "groups": ("tf1", {"num_hidden_layers": 22, "num_hidden_groups": 22}, "AlbertModel", "float32", "22 groups in 22"),
}


@pytest.mark.parametrize("case", LOSSES)
def test_what_would_be_lost_is_refused_by_name_or_left_out_on_request(case: str, tmp_path: Path) -> None:
    name, changes, head, dtype, message = LOSSES[case]
    config = CONFIG.replace(**changes)
    start = saved(tmp_path / "a", config, head, random_bits(config, head, dtype, 1))
    with pytest.raises(FormatError, match=message) as caught:
        convert(start, tmp_path / "b", name)
    assert "--allow-loss" in str(caught.value)
    assert not (tmp_path / "b").exists()
    report = convert(start, tmp_path / "b", name, allow_loss=True)
    assert len(report.lost) == 1
    assert message.split(" ")[0].split("'")[0] in report.lost[0] or "relative" in report.lost[0]
    before, after = tensors_of(start), tensors_of(tmp_path / "b")
    assert all(after[n][1] == data for n, (kind, data) in before.items() if n in after and kind == after[n][0])
    gone = before.keys() - after.keys()
    assert all("distance_embedding" in n or n.startswith("classifier") for n in gone)


def test_a_dtype_can_be_asked_for(tmp_path: Path) -> None:
    state = random_bits(CONFIG, "AlbertModel", "bfloat16", 1)
    with np.errstate(invalid="ignore"):
        state = {n: np.where(np.isfinite(a), a, -0.0).astype(a.dtype) for n, a in state.items()}
    start = saved(tmp_path / "a", CONFIG, "AlbertModel", state)
    report = convert(start, tmp_path / "b", "h5", dtype="float32")
    assert (report.dtype, report.lost) == (["float32"], [])
    assert json.loads((tmp_path / "b/config.json").read_text())["torch_dtype"] == "float32"
    convert(tmp_path / "b", tmp_path / "c", dtype="bfloat16")
    assert tensors_of(tmp_path / "c") == tensors_of(start)
    with pytest.raises(FormatError, match=r"values that fit float16, got \d+ too large"):
        convert(start, tmp_path / "d", dtype="float16")
    assert not (tmp_path / "d").exists()


# -- the closed world ----------------------------------------------------------------------------------------------


def _bump(state: dict[str, np.ndarray], name: str, target: str) -> None:
    state[name] = state[target].copy()
    state[name].reshape(-1)[0] = 7.0


BROKEN = {
    "missing": (lambda s: s.pop(WORDS), MissingKeys, f"1 missing tensors: {WORDS}"),
    "unexpected": (lambda s: s.update({"bert.x": s[KEY]}), UnexpectedKeys, r"bert\.x"),
    "a layer the config has not": (
        lambda s: s.update({KEY.replace("groups.0", "groups.4"): s[KEY]}),
        UnexpectedKeys,
        "albert_layer_groups.4",
    ),
    "shape": (lambda s: s.update({KEY: s[KEY][:5]}), ShapeMismatch, r"expected \[6, 6\], got \[5, 6\]"),
    "integers": (lambda s: s.update({KEY: np.zeros((6, 6), np.int32)}), DtypeMismatch, "int32"),
    "untied decoder": (
        lambda s: _bump(s, "predictions.decoder.weight", WORDS),
        IntegrityError,
        f"predictions.decoder.weight differs from {WORDS}",
    ),
    "two decoder biases": (
        lambda s: _bump(s, "predictions.decoder.bias", "predictions.bias"),
        IntegrityError,
        "predictions.decoder.bias differs from predictions.bias",
    ),
    "another head": (
        lambda s: s.update({"qa_outputs.bias": np.zeros(2, np.float32), "qa_outputs.weight": np.zeros((2, 6), "f")}),
        FormatError,
        "none of the public classes alone .*--head",
    ),
    "several": (
        lambda s: (s.pop(WORDS), s.update({"x": s[KEY], KEY: s[KEY][:5]})),
        CheckpointError,
        r"1 unexpected tensors: x; 1 missing tensors: .*word_embeddings\.weight; 1 tensors of a wrong shape: .*key",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_source_that_does_not_fit_is_one_error_and_writes_nothing(fault: str, tmp_path: Path) -> None:
    spoil, kind, message = BROKEN[fault]
    state = {n: np.nan_to_num(a) for n, a in random_bits(CONFIG, HEAD, "float32", 1).items()}
    spoil(state)
    start = saved(tmp_path / "a", CONFIG, HEAD, state)
    with pytest.raises(kind, match=message) as caught:
        convert(start, tmp_path / "b", "msgpack")
    assert str(start) in str(caught.value)
    assert not (tmp_path / "b").exists()


def test_old_buffers_are_ignored_by_rule_and_either_decoder_bias_is_enough(tmp_path: Path) -> None:
    state = random_bits(CONFIG, HEAD, "float32", 1)
    renamed = {n.replace("predictions.bias", "predictions.decoder.bias"): a for n, a in state.items()}
    old = {**renamed, "albert.embeddings.position_ids": np.arange(4)[None]}
    report = convert(saved(tmp_path / "a", CONFIG, HEAD, old), tmp_path / "b", "msgpack")
    ignored = [line for line in report.lines if line.action == "ignored"]
    assert [(line.source, "buffer" in line.rule) for line in ignored] == [("albert.embeddings.position_ids", True)]
    assert tensors_of(tmp_path / "b") == {n: ("float32", a.tobytes()) for n, a in state.items()}


@pytest.mark.parametrize("head", [HEAD, "AlbertModel"])
def test_the_old_names_of_a_norm_s_arrays_are_read(head: str, tmp_path: Path) -> None:
    state = random_bits(CONFIG, head, "float32", 1)
    norm = re.compile(r"(LayerNorm|layer_norm)\.(weight|bias)$")
    old = {norm.sub(lambda m: f"{m[1]}.{OLD_NAMES[m[2]]}", n): a for n, a in state.items()}
    assert any(n.endswith("full_layer_layer_norm.gamma") for n in old)
    start = saved(tmp_path / "a", CONFIG, head, old)
    report = convert(start, tmp_path / "b", "bin")
    assert "renamed" in {line.action for line in report.lines}
    assert tensors_of(start) == tensors_of(tmp_path / "b") == {n: ("float32", a.tobytes()) for n, a in state.items()}


def test_a_head_can_be_asked_for(tmp_path: Path) -> None:
    start = saved(tmp_path / "a", CONFIG, HEAD, random_bits(CONFIG, HEAD, "float32", 1))
    report = convert(start, tmp_path / "b", "h5", head="AlbertForMaskedLM")
    assert report.head == "AlbertForMaskedLM"
    assert {line.rule for line in report.lines if line.action == "ignored"} == {
        "not part of AlbertForMaskedLM, which was asked for"
    }
    with pytest.raises(MissingKeys, match=r"qa_outputs\.weight"):
        convert(start, tmp_path / "c", head="AlbertForQuestionAnswering")
    with pytest.raises(ValueError, match=r"head: expected auto or one of .*got 'Albert'"):
        convert(start, tmp_path / "c", head="Albert")


def test_paths_and_configs(tmp_path: Path) -> None:
    start = saved(tmp_path / "a", CONFIG, "AlbertModel", random_bits(CONFIG, "AlbertModel", "float32", 1))
    with pytest.raises(NotFound, match="no-such"):
        convert(tmp_path / "no-such", tmp_path / "b")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match="the folder holds none"):
        convert(tmp_path / "empty", tmp_path / "b")
    (start / "config.json").rename(tmp_path / "other.json")
    with pytest.raises(NotFound, match=r"config\.json .*--config"):
        convert(start, tmp_path / "b")
    assert convert(start, tmp_path / "b", config=tmp_path / "other.json").head == "AlbertModel"
    (start / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match="'bert'"):
        convert(start, tmp_path / "c")
    with pytest.raises(ValueError, match=r"to: expected one of .*got 'onnx'"):
        convert(start, tmp_path / "c", "onnx")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(FormatError, match=r"expected a checkpoint .*begins with b'hello'"):
        convert(tmp_path / "text", tmp_path / "c")


def test_a_link_that_leaves_the_folder_is_not_followed(tmp_path: Path) -> None:
    start = saved(tmp_path / "a", CONFIG, "AlbertModel", random_bits(CONFIG, "AlbertModel", "float32", 1))
    (tmp_path / "secret").write_text("secret")
    (start / "spiece.model").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeContent, match=r"spiece\.model: .*a link that leaves it"):
        convert(start, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_several_checkpoints_of_one_format_have_to_be_named(tmp_path: Path) -> None:
    start = saved(tmp_path / "a", CONFIG, "AlbertModel", random_bits(CONFIG, "AlbertModel", "float32", 1))
    convert(start, tmp_path / "b", "tf1")
    for step in (900, 1000):
        for path in list((tmp_path / "b").glob("model.ckpt-best.*")):
            shutil.copy(path, path.with_name(path.name.replace("best", str(step))))
    assert convert(tmp_path / "b", tmp_path / "c").source.endswith("best.index")
    for path in (tmp_path / "b").glob("model.ckpt-best.*"):
        path.unlink()
    with pytest.raises(FormatError, match=r"one tf1 checkpoint, got model\.ckpt-1000\.index, model\.ckpt-900\.index"):
        convert(tmp_path / "b", tmp_path / "d")
    assert convert(tmp_path / "b/model.ckpt-900", tmp_path / "d").source.endswith("900.index")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer .*git lfs pull"), (b"<html>", "an HTML page")],
)
def test_a_file_that_is_no_checkpoint_says_what_it_looks_like(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/tf_model.h5").write_bytes(content)
    for path in (tmp_path / "a", tmp_path / "a/tf_model.h5"):
        with pytest.raises(FormatError, match=rf"tf_model\.h5: expected a checkpoint .*{message}"):
            convert(path, tmp_path / "b")


def test_a_dry_run_checks_and_writes_nothing(tmp_path: Path) -> None:
    start = saved(tmp_path / "a", CONFIG, HEAD, random_bits(CONFIG, HEAD, "float32", 1))
    report = convert(start, tmp_path / "b", "tf1", dry_run=True)
    assert (report.written, report.files, len(report.lines)) == (False, [], 32)
    assert not (tmp_path / "b").exists()


def test_no_framework_is_needed(tmp_path: Path) -> None:
    """All formats in a process in which no framework can be imported; only orbax writes with its owner's library."""
    names = [name for name in WRITERS if name != "orbax"]
    start = saved(tmp_path / "a", CONFIG, "AlbertModel", random_bits(CONFIG, "AlbertModel", "float32", 1))
    convert(start, tmp_path / "orbax", "orbax")
    code = (
        "import sys\n"
        "for name in ('torch', 'tensorflow', 'jax', 'flax', 'keras', 'orbax', 'msgpack'): sys.modules[name] = None\n"
        "from albert_conversion import convert, inspect_checkpoint, verify\n"
        f"source = {str(tmp_path / 'orbax')!r}\n"
        f"for name in {names!r}:\n"
        f"    target = {str(tmp_path)!r} + '/to-' + name\n"
        "    convert(source, target, name)\n"
        "    assert not inspect_checkpoint(target).problem\n"
        f"    assert not verify({str(start)!r}, target).differences, name\n"
        "    source = target\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for name in names:
        assert tensors_of(tmp_path / f"to-{name}") == tensors_of(start)


def test_memory_is_bounded_by_the_largest_tensor(tmp_path: Path) -> None:
    """80 MB of tensors of which none is larger than 4 MB, through the formats that are read and written one by one."""
    sizes = {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8, "embedding_size": 64}
    config = AlbertConfig(vocab_size=1000, num_hidden_layers=6, num_hidden_groups=6, **sizes)
    start = saved(tmp_path / "a", config, "AlbertModel", random_bits(config, "AlbertModel", "float32", 1))
    tiny = saved(tmp_path / "tiny", CONFIG, "AlbertModel", random_bits(CONFIG, "AlbertModel", "float32", 1))
    assert (start / "model.safetensors").stat().st_size > 70_000_000
    code = (
        "from albert_conversion import convert\n"
        "def run(source, target):\n"
        "    for name in ('msgpack', 'tf1', 'bin', 'h5', 'keras', 'safetensors'):\n"
        "        convert(source, target + name, name)\n"
        "        source = target + name\n"
        "    with open('/proc/self/status') as status:\n"
        "        return next(int(line.split()[1]) for line in status if line.startswith('VmHWM'))\n"
        f"first = run({str(tiny)!r}, {str(tmp_path)!r} + '/tiny-to-')\n"  # imports count here
        f"print((run({str(start)!r}, {str(tmp_path)!r} + '/to-') - first) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 30, f"{done.stdout.strip()} MB"
    assert tensors_of(tmp_path / "to-safetensors") == tensors_of(start)


# -- inspect -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lacks", "problem"), [("tensor", WORDS), ("config", "expected config.json")])
def test_what_is_known_of_an_incomplete_checkpoint_is_told(
    lacks: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = random_bits(CONFIG, HEAD, "float32", 1)
    start = saved(tmp_path / "a", CONFIG, HEAD, {n: a for n, a in state.items() if lacks != "tensor" or n != WORDS})
    if lacks == "config":
        (start / "config.json").unlink()
    opened, open_safetensors = [], safetensors_source.open_safetensors
    monkeypatch.setattr(
        safetensors_source, "open_safetensors", lambda path: opened.append(path) or open_safetensors(path)
    )
    found = inspect_checkpoint(start)
    assert (found.integrity, problem in found.problem, found.head) == ("verified", True, "")
    assert (found.config is None) == (lacks == "config")
    assert len(opened) == 1


# -- verify --------------------------------------------------------------------------------------------------------


def test_verify_compares_models_of_any_bits_and_sizes(tmp_path: Path) -> None:
    bits = {seed: random_bits(CONFIG, HEAD, "float32", seed) for seed in (1, 2)}
    one, two = (saved(tmp_path / str(seed), CONFIG, HEAD, state) for seed, state in bits.items())
    convert(one, tmp_path / "same", "tf1")
    result = verify(one, tmp_path / "same")
    assert (result.differences, result.tensors, result.outputs.keys()) == ([], 32, {"prediction_logits", "sop_logits"})
    assert {difference.name for difference in verify(one, two).differences} >= set(bits[1])
    other = CONFIG.replace(vocab_size=5, hidden_act="relu", num_hidden_layers=2)
    three = saved(tmp_path / "3", other, HEAD, random_bits(other, HEAD, "float16", 3))
    found = {difference.name: difference.reason for difference in verify(one, three).differences}
    assert found["hidden_act"] == "'gelu_new' against 'relu'"
    assert found[WORDS] == "float32 [7, 2] against float16 [5, 2]"
    encoder = saved(tmp_path / "4", CONFIG, "AlbertModel", random_bits(CONFIG, "AlbertModel", "float32", 1))
    result = verify(one, encoder)
    assert (result.differences[0].name, result.outputs) == ("head", {})
