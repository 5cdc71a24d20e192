"""Each format against the library that owns it: theirs is read here, ours is read there."""

from __future__ import annotations

import json
import zipfile
from collections import OrderedDict
from pathlib import Path

import h5py
import msgpack
import numpy as np
import pytest
from albert_conversion.flax_msgpack import open_msgpack, write_msgpack
from albert_conversion.recognise import recognise
from albert_conversion.tensor_bundle import open_bundle, write_bundle
from albert_conversion.torch_bin import open_bin
from conftest import Adapter
from conversion_cases import SIZES, convert, random_bits, saved, tensors_of

from albert_core.config import AlbertConfig
from albert_core.dtypes import DTYPES
from albert_core.errors import (
    AlbertError,
    CheckpointError,
    FormatError,
    IntegrityError,
    MissingKeys,
    NotFound,
    UnexpectedKeys,
    UnsafeContent,
)
from albert_core.heads import HEADS

CONFIG = AlbertConfig(**SIZES)
HEAD = "AlbertForPreTraining"
WORDS = "albert.embeddings.word_embeddings.weight"
KEY = "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.key.weight"
MIXED = {
    "a/half": np.array([[1, -0.0]], np.float16),
    "a/brain": np.array([1.5, np.nan, -np.inf], DTYPES["bfloat16"]),
    "a/double": np.arange(6.0).reshape(2, 3),
    "empty": np.zeros((0, 4), np.float32),
    "scalar": np.asarray(7, np.int64),
    "z": np.arange(300, dtype=np.float32).reshape(3, 100),
}


def as_bytes(tensors) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    arrays = {name: np.asarray(tensors[name]) for name in tensors}
    return {name: (a.dtype.name, a.shape, a.tobytes()) for name, a in arrays.items()}


# -- PyTorch -------------------------------------------------------------------------------------------------------


def test_views_strides_shared_storages_and_every_dtype_of_torch(tmp_path: Path) -> None:
    import torch

    base = torch.arange(24.0).reshape(4, 6)
    tensors = OrderedDict(
        transposed=base.T,
        strided=base[1:3, ::2],
        column=torch.nn.Parameter(base[:, 1]),
        brain=base.bfloat16(),
        half=base.half(),
        double=base.double(),
        scalar=torch.tensor(3),
        empty=torch.zeros(0, 3),
        flags=torch.tensor([True, False]),
        small=torch.arange(3, dtype=torch.int8),
        again=base.T,
    )
    torch.save(tensors, tmp_path / "x.bin")
    with open_bin(tmp_path / "x.bin") as source:
        for name, tensor in tensors.items():
            expected = tensor.detach()
            got = source[name].astype(np.float64) if name == "brain" else source[name]
            assert np.array_equal(got, expected.double().numpy() if name == "brain" else expected.numpy()), name
        assert source.dtype("brain") == DTYPES["bfloat16"]
        assert source.tensors["again"].same_as == source.tensors["transposed"].same_as
        assert source.tensors["again"].same_as != source.tensors["strided"].same_as


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_opens_ours_with_its_strictest_loader_and_ties_stay_ties(dtype: str, tmp_path: Path) -> None:
    import torch

    state = random_bits(CONFIG, HEAD, dtype, 1)
    convert(saved(tmp_path / "a", CONFIG, HEAD, state), tmp_path / "b", "bin")
    for mmap in (False, True):
        loaded = torch.load(tmp_path / "b/pytorch_model.bin", weights_only=True, mmap=mmap)
        for name, array in state.items():
            assert loaded[name].view(torch.uint8).numpy().tobytes() == array.tobytes()
        assert loaded["predictions.decoder.weight"].data_ptr() == loaded[WORDS].data_ptr()
        assert loaded["predictions.decoder.bias"].data_ptr() == loaded["predictions.bias"].data_ptr()
    with zipfile.ZipFile(tmp_path / "b/pytorch_model.bin") as archive:
        assert archive.testzip() is None


@pytest.mark.parametrize("value", [1e6, np.float64(3)], ids=["builtin", "numpy"])
def test_a_pickle_that_asks_for_more_than_tensors_is_not_run(value: object, tmp_path: Path) -> None:
    import torch

    class Evil:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "ran",)

    for number, content in enumerate(({"w": Evil()}, {"w": torch.ones(2), "x": value}, Evil(), [torch.ones(2)])):
        torch.save(content, tmp_path / f"{number}.bin")
        with pytest.raises((UnsafeContent, FormatError)):
            open_bin(tmp_path / f"{number}.bin")
    assert not (tmp_path / "ran").exists()


def test_legacy_scripted_and_sparse_files_are_refused_by_name(tmp_path: Path) -> None:
    import torch

    torch.save({"w": torch.ones(2)}, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(FormatError, match=r"older than torch 1\.6"):
        recognise(tmp_path / "old.bin").open(tmp_path / "old.bin")
    torch.save({"w": torch.ones(2).expand(1000, 2)}, tmp_path / "wide.bin")
    with pytest.raises(FormatError, match=r"key 'w': expected a dense tensor, got the shape \[1000, 2\]"):
        open_bin(tmp_path / "wide.bin")
    torch.save({"w": torch.eye(2).to_sparse()}, tmp_path / "sparse.bin")
    with pytest.raises(UnsafeContent, match="sparse"):
        open_bin(tmp_path / "sparse.bin")
    torch.save({"w": torch.ones(2, device="meta")}, tmp_path / "meta.bin")
    with pytest.raises((UnsafeContent, FormatError)):
        open_bin(tmp_path / "meta.bin")


def test_a_flipped_bit_in_a_storage_is_noticed(tmp_path: Path) -> None:
    convert(saved(tmp_path / "a", CONFIG, HEAD, random_bits(CONFIG, HEAD, "float32", 1)), tmp_path / "b", "bin")
    weights = tmp_path / "b/pytorch_model.bin"
    data = bytearray(weights.read_bytes())
    place = data.index(random_bits(CONFIG, HEAD, "float32", 1)[KEY].tobytes())
    data[place + 5] ^= 1
    weights.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"archive/data/\d+.*expected the crc32"):
        convert(tmp_path / "b", tmp_path / "c")
    assert not (tmp_path / "c").exists()


# -- Flax ----------------------------------------------------------------------------------------------------------


def test_flax_and_this_project_write_the_same_bytes(tmp_path: Path) -> None:
    from flax.serialization import msgpack_restore, msgpack_serialize

    nested = {"a": {k.split("/")[1]: v for k, v in MIXED.items() if "/" in k}}
    nested |= {k: v for k, v in MIXED.items() if "/" not in k}
    (tmp_path / "x").write_bytes(msgpack_serialize(nested))
    with open_msgpack(tmp_path / "x") as source:
        assert as_bytes(source) == as_bytes(MIXED)
    with (tmp_path / "y").open("wb") as file:
        write_msgpack(file, dict(sorted(MIXED.items())))  # Flax writes maps in sorted order
    assert (tmp_path / "y").read_bytes() == (tmp_path / "x").read_bytes()
    assert as_bytes(msgpack_restore((tmp_path / "y").read_bytes())["a"]) == as_bytes(nested["a"])


def test_lengths_of_every_width(tmp_path: Path) -> None:
    many = {f"group/name {i} {'x' * (i % 300)}": np.full(i % 400, i % 251, np.uint8) for i in range(1, 700)}
    with (tmp_path / "x").open("wb") as file:
        write_msgpack(file, many)
    decoded = msgpack.unpackb((tmp_path / "x").read_bytes(), strict_map_key=True)["group"]
    assert decoded.keys() == {name.split("/")[1] for name in many}
    with open_msgpack(tmp_path / "x") as source:
        assert as_bytes(source) == as_bytes(many)


# -- TensorFlow 2's h5 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_h5py_reads_ours_under_the_names_that_transformers_looks_for(dtype: str, tmp_path: Path) -> None:
    state = random_bits(CONFIG, HEAD, dtype, 1)
    convert(saved(tmp_path / "a", CONFIG, HEAD, state), tmp_path / "b", "h5")
    with h5py.File(tmp_path / "b/tf_model.h5") as file:
        assert list(file.attrs["layer_names"]) == [b"albert", b"predictions", b"sop_classifier"]
        for layer in ("albert", "predictions", "sop_classifier"):
            for name in file[layer].attrs["weight_names"]:
                assert name.startswith(b"tf_albert_for_pre_training/")
                assert file[layer][name].dtype == dtype
        words = "tf_albert_for_pre_training/albert/embeddings/word_embeddings/weight:0"
        assert file["albert"][words][()].tobytes() == state[WORDS].tobytes()
        assert file["predictions"][words] == file["albert"][words]  # one dataset under two names
        kernel = file["sop_classifier/tf_albert_for_pre_training/sop_classifier/classifier/kernel:0"]
        assert kernel[()].tobytes() == np.ascontiguousarray(state["sop_classifier.classifier.weight"].T).tobytes()


def test_the_bias_that_tensorflow_computes_with_wins(tmp_path: Path) -> None:
    state = random_bits(CONFIG, HEAD, "float32", 1)
    convert(saved(tmp_path / "a", CONFIG, HEAD, state), tmp_path / "b", "h5")
    trained = np.arange(7, dtype=np.float32)
    with h5py.File(tmp_path / "b/tf_model.h5", "r+") as file:
        file["predictions/tf_albert_for_pre_training/predictions/decoder/bias:0"][...] = trained
    report = convert(tmp_path / "b", tmp_path / "c")
    assert tensors_of(tmp_path / "c")["predictions.bias"][1] == trained.tobytes()
    (line,) = [line for line in report.lines if line.action == "ignored"]
    assert line.source.endswith("predictions/bias:0")
    assert "with which the format's readers compute" in line.rule


def test_an_embedding_s_table_under_the_name_of_an_older_release(tmp_path: Path) -> None:
    state = random_bits(CONFIG, HEAD, "float32", 1)
    convert(saved(tmp_path / "a", CONFIG, HEAD, state), tmp_path / "b", "h5")
    with h5py.File(tmp_path / "b/tf_model.h5", "r+") as file:
        tables = file["albert/tf_albert_for_pre_training/albert/embeddings"]
        tables["position_embeddings"].move("embeddings:0", "weight:0")
        tables["word_embeddings"].move("weight:0", "embeddings:0")
        del file["predictions/tf_albert_for_pre_training/albert"]
    assert tensors_of(tmp_path / "b") == {n: ("float32", a.tobytes()) for n, a in state.items()}


def test_many_groups_need_more_than_one_attribute(tmp_path: Path) -> None:
    config = CONFIG.replace(num_hidden_layers=54, num_hidden_groups=42)
    state = random_bits(config, "AlbertModel", "float32", 1)
    report = convert(saved(tmp_path / "a", config, "AlbertModel", state), tmp_path / "b", "h5", allow_loss=True)
    assert report.lost == ["42 groups in 54 layers (its readers round off)"]
    with h5py.File(tmp_path / "b/tf_model.h5") as file:
        attributes = [n for n in file["albert"].attrs if n.startswith("weight_names")]
        assert attributes == ["weight_names0", "weight_names1"]
        assert sum(len(file["albert"].attrs[n]) for n in attributes) == len(state)
    assert tensors_of(tmp_path / "b") == {n: ("float32", a.tobytes()) for n, a in state.items()}


# -- Google's TensorFlow 1 checkpoint ------------------------------------------------------------------------------


def save_v2(prefix: Path, tensors: dict[str, np.ndarray]) -> None:
    """What tf.compat.v1.train.Saver runs."""
    import tensorflow as tf

    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=[tf.constant(value) for value in tensors.values()],
    )


def restore_v2(prefix: Path, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import tensorflow as tf

    values = tf.raw_ops.RestoreV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        dtypes=[tf.as_dtype(value.dtype) for value in tensors.values()],
    )
    return {name: value.numpy() for name, value in zip(tensors, values, strict=True)}


def test_tensorflow_and_this_project_read_each_other(tmp_path: Path) -> None:
    tensors = {**MIXED, **{f"scope_{i}/a long name that is shared/kernel": np.full(i, i, "f") for i in range(300)}}
    save_v2(tmp_path / "theirs", tensors)
    with open_bundle(tmp_path / "theirs.index") as source:
        assert source.integrity == "verified"
        assert as_bytes(source) == as_bytes(tensors)
    write_bundle(tmp_path / "ours", tensors)
    assert as_bytes(restore_v2(tmp_path / "ours", tensors)) == as_bytes(tensors)


# Google's names by hand: scope -> (canonical module, the leaves it holds).
_EMBEDDING, _DENSE, _NORM = ("",), ("/kernel", "/bias"), ("/gamma", "/beta")
_OUTPUT = ("/output_weights", "/output_bias")
_INNER = "bert/encoder/transformer/group_0/inner_group_0/"
_LAYER = "albert.encoder.albert_layer_groups.0.albert_layers.0."
GOOGLE = {
    "bert/embeddings/word_embeddings": ("albert.embeddings.word_embeddings", _EMBEDDING),
    "bert/embeddings/position_embeddings": ("albert.embeddings.position_embeddings", _EMBEDDING),
    "bert/embeddings/token_type_embeddings": ("albert.embeddings.token_type_embeddings", _EMBEDDING),
    "bert/embeddings/LayerNorm": ("albert.embeddings.LayerNorm", _NORM),
    "bert/encoder/embedding_hidden_mapping_in": ("albert.encoder.embedding_hidden_mapping_in", _DENSE),
    _INNER + "attention_1/self/query": (_LAYER + "attention.query", _DENSE),
    _INNER + "attention_1/self/key": (_LAYER + "attention.key", _DENSE),
    _INNER + "attention_1/self/value": (_LAYER + "attention.value", _DENSE),
    _INNER + "attention_1/output/dense": (_LAYER + "attention.dense", _DENSE),
    _INNER + "LayerNorm": (_LAYER + "attention.LayerNorm", _NORM),
    _INNER + "ffn_1/intermediate/dense": (_LAYER + "ffn", _DENSE),
    _INNER + "ffn_1/intermediate/output/dense": (_LAYER + "ffn_output", _DENSE),
    _INNER + "LayerNorm_1": (_LAYER + "full_layer_layer_norm", _NORM),
    "bert/pooler/dense": ("albert.pooler", _DENSE),
    "cls/predictions/transform/dense": ("predictions.dense", _DENSE),
    "cls/predictions/transform/LayerNorm": ("predictions.LayerNorm", _NORM),
    "cls/seq_relationship": ("sop_classifier.classifier", _OUTPUT),
    "cls/squad": ("qa_outputs", _OUTPUT),
    "": ("classifier", ("output_weights", "output_bias")),
}


def google(head: str = HEAD, config: AlbertConfig = CONFIG, seed: int = 1) -> tuple[dict, dict]:
    """A model under Google's own names and layouts, and under canonical ones."""
    state = random_bits(config, head, "float32", seed)
    found = {}
    for scope, (module, leaves) in GOOGLE.items():
        for leaf, own in zip(leaves, ("weight", "bias"), strict=False):
            if (array := state.get(f"{module}.{own}")) is not None:
                found[scope + leaf] = np.ascontiguousarray(array.T) if leaf == "/kernel" else array
    if "predictions.bias" in state:
        found["cls/predictions/output_bias"] = state["predictions.bias"]
    assert len(found) == len(state)
    return found, state


def google_folder(folder: Path, tensors: dict[str, np.ndarray], config: AlbertConfig = CONFIG, **changes) -> Path:
    """An archive as Google ships it."""
    folder.mkdir()
    values = {name: getattr(config, name) for name in SIZES} | {"hidden_act": "gelu", "type_vocab_size": 2, **changes}
    (folder / "albert_config.json").write_text(json.dumps(values))
    (folder / "30k-clean.model").write_bytes(b"pieces")
    save_v2(folder / "model.ckpt-best", tensors)
    return folder


def test_a_pretraining_checkpoint_with_slots_of_every_optimizer(tmp_path: Path) -> None:
    tensors, state = google()
    slots = {}
    for name, array in tensors.items():
        for slot in ("adam_m", "adam_v", "lamb_m", "Adam", "Adam_1", "AdamWeightDecayOptimizer_1"):
            slots[f"{name}/{slot}"] = array
    slots |= {"global_step": np.asarray(125_000, np.int64), "beta1_power": np.float32(0.9) + np.zeros((), "f")}
    source = google_folder(tmp_path / "a", {**tensors, **slots})
    report = convert(source / "model.ckpt-best", tmp_path / "b")
    assert (report.head, report.integrity) == (HEAD, "verified")
    assert {line.source for line in report.lines if line.action == "ignored"} == set(slots)
    assert tensors_of(tmp_path / "b") == {n: ("float32", a.tobytes()) for n, a in state.items()}
    config = AlbertConfig.from_json_file(tmp_path / "b/config.json")
    assert (config.hidden_act, config.vocab_size) == ("gelu_new", 7)
    assert (tmp_path / "b/spiece.model").read_bytes() == b"pieces"


@pytest.mark.parametrize(
    "path", ["", "model.ckpt-best", "model.ckpt-best.index", "model.ckpt-best.data-00000-of-00001"]
)
def test_a_checkpoint_is_named_by_any_of_its_files(path: str, tmp_path: Path) -> None:
    tensors, _ = google("AlbertModel")
    assert convert(google_folder(tmp_path / "a", tensors) / path, tmp_path / "b").head == "AlbertModel"


@pytest.mark.parametrize(
    ("head", "labels"),
    [("AlbertForSequenceClassification", 3), ("AlbertForMultipleChoice", 2), ("AlbertForQuestionAnswering", 2)],
)
def test_glue_race_and_squad_heads(head: str, labels: int, tmp_path: Path) -> None:
    config = CONFIG.replace(num_labels=labels)
    tensors, state = google(head, config)
    if head == "AlbertForQuestionAnswering":  # Google's graph always has the pooler
        pooler = {n: a for n, a in google("AlbertModel")[1].items() if "pooler" in n}
        state |= pooler
        tensors |= {"bert/pooler/dense/kernel": pooler["albert.pooler.weight"].T.copy()}
        tensors |= {"bert/pooler/dense/bias": pooler["albert.pooler.bias"]}
    source = google_folder(tmp_path / "a", tensors)
    asked = head if head == "AlbertForMultipleChoice" else None
    if asked:
        with pytest.raises(FormatError, match=r"SequenceClassification or AlbertForMultipleChoice .*--head"):
            convert(source, tmp_path / "b")
    report = convert(source, tmp_path / "b", head=asked)
    assert report.head == head
    assert tensors_of(tmp_path / "b", head) == {n: ("float32", a.tobytes()) for n, a in state.items()}
    if head == "AlbertForSequenceClassification":
        assert AlbertConfig.from_json_file(tmp_path / "b/config.json").num_labels == 3


def test_equal_widths_without_a_projection_get_the_identity(tmp_path: Path) -> None:
    config = CONFIG.replace(embedding_size=6)
    tensors, _ = google("AlbertModel", config)
    tensors = {n: a for n, a in tensors.items() if "mapping_in" not in n}
    report = convert(google_folder(tmp_path / "a", tensors, config), tmp_path / "b")
    filled = [line.target for line in report.lines if line.action == "filled"]
    assert filled == [f"albert.encoder.embedding_hidden_mapping_in.{leaf}" for leaf in ("weight", "bias")]
    found = tensors_of(tmp_path / "b")
    assert found[filled[0]][1] == np.eye(6, dtype=np.float32).tobytes()
    assert found[filled[1]][1] == bytes(24)
    convert(tmp_path / "b", tmp_path / "back", "tf1")
    with open_bundle(tmp_path / "back/model.ckpt-best.index") as source:
        assert set(source) == set(tensors)
    other = saved(tmp_path / "other", config, "AlbertModel", random_bits(config, "AlbertModel", "float32", 1))
    with pytest.raises(FormatError, match="cannot hold the projection between equal widths"):
        convert(other, tmp_path / "e", "tf1")
    tensors = {n: a for n, a in google("AlbertModel")[0].items() if "mapping_in" not in n}
    source = google_folder(tmp_path / "c", tensors)
    with pytest.raises(MissingKeys, match="embedding_hidden_mapping_in"):
        convert(source, tmp_path / "d")


def test_a_module_of_tensorflow_hub(tmp_path: Path) -> None:
    """Variables under `module/`, the vocabulary among the assets, and no config at all."""
    tensors, state = google("AlbertModel")
    (tmp_path / "hub/variables").mkdir(parents=True)
    (tmp_path / "hub/assets").mkdir()
    (tmp_path / "hub/assets/30k-clean.model").write_bytes(b"pieces")
    save_v2(tmp_path / "hub/variables/variables", {f"module/{name}": array for name, array in tensors.items()})
    with pytest.raises(NotFound, match=r"albert_config\.json.*albert-base-v2, with --config"):
        convert(tmp_path / "hub", tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"expected \[30000, 128\], got \[7, 2\]"):
        convert(tmp_path / "hub", tmp_path / "out", config="albert-base-v2")
    (tmp_path / "sizes.json").write_text(json.dumps(SIZES))
    convert(tmp_path / "hub", tmp_path / "out", config=tmp_path / "sizes.json")
    assert tensors_of(tmp_path / "out") == {n: ("float32", a.tobytes()) for n, a in state.items()}
    assert (tmp_path / "out/spiece.model").read_bytes() == b"pieces"


def test_a_chinese_checkpoint_keeps_its_vocabulary(tmp_path: Path) -> None:
    tensors, state = google("AlbertModel")
    source = google_folder(tmp_path / "a", tensors)
    (source / "30k-clean.model").unlink()
    (source / "vocab_chinese.txt").write_text("[PAD]\n[UNK]\n")
    convert(source, tmp_path / "b")
    assert (tmp_path / "b/vocab.txt").read_text() == "[PAD]\n[UNK]\n"
    assert tensors_of(tmp_path / "b").keys() == state.keys()


STRANGERS = {
    "SQuAD v2": (
        {
            "start_logits/dense/kernel": (6, 1),
            "end_logits/dense_0/kernel": (12, 6),
            "answer_class/dense_1/kernel": (6, 1),
        },
        r"answer_class/dense_1/kernel, end_logits/dense_0/kernel, start_logits/dense/kernel \(the SQuAD v2 head of G",
    ),
    "brightmart": ({"bert/encoder/layer_shared/attention/self/query/kernel": (6, 6)}, "brightmart's albert_zh"),
}


@pytest.mark.parametrize("case", STRANGERS)
def test_what_no_class_has_is_refused_by_name_and_never_dropped_silently(case: str, tmp_path: Path) -> None:
    more, message = STRANGERS[case]
    tensors, _ = google("AlbertModel")
    extra = {name: np.zeros(shape, np.float32) for name, shape in more.items()}
    source = google_folder(tmp_path / "a", {**tensors, **extra})
    with pytest.raises(UnexpectedKeys, match=message):
        convert(source, tmp_path / "b")
    report = convert(source, tmp_path / "b", head="AlbertModel")
    assert {line.source for line in report.lines if line.action == "ignored"} == set(more)


def test_a_sidecar_brings_the_rest_of_the_config_back_and_an_edited_config_wins(tmp_path: Path) -> None:
    head = "AlbertForSequenceClassification"
    labels = {0: "no", 1: "perhaps", 2: "yes"}
    config = CONFIG.replace(id2label=labels, classifier_dropout_prob=0.3, hidden_act="gelu_fast", eos_token_id=None)
    start = saved(tmp_path / "a", config, head, random_bits(config, head, "float32", 1))
    convert(start, tmp_path / "b", "tf1")
    written = json.loads((tmp_path / "b/albert_config.json").read_text())
    assert written["hidden_act"] == "gelu"
    convert(tmp_path / "b", tmp_path / "c")
    assert (tmp_path / "c/config.json").read_text() == (start / "config.json").read_text()
    (tmp_path / "b/albert_config.json").write_text(json.dumps({**written, "hidden_dropout_prob": 0.2}))
    convert(tmp_path / "b", tmp_path / "d")
    back = AlbertConfig.from_json_file(tmp_path / "d/config.json")
    assert (back.hidden_dropout_prob, back.id2label, back.hidden_act) == (0.2, labels, "gelu_fast")


FLIPS = {"index": "model.ckpt-best.index", "data": "model.ckpt-best.data-00000-of-00001"}


@pytest.mark.parametrize("part", FLIPS)
def test_a_flipped_bit_in_a_tensorflow_checkpoint_is_noticed(part: str, tmp_path: Path) -> None:
    start = saved(tmp_path / "a", CONFIG, HEAD, random_bits(CONFIG, HEAD, "float32", 1))
    convert(start, tmp_path / "b", "tf1")
    path = tmp_path / "b" / FLIPS[part]
    whole = path.read_bytes()
    last = len(whole) - 48 if part == "index" else len(whole)
    for place in range(0, last, max(last // 60, 1)):
        data = bytearray(whole)
        data[place] ^= 1
        path.write_bytes(data)
        with pytest.raises(AlbertError) as caught:
            convert(tmp_path / "b", tmp_path / "c")
        assert isinstance(caught.value, IntegrityError | FormatError)
    assert not (tmp_path / "c").exists()


def test_every_head_s_names_are_in_the_table() -> None:
    """Google's names, spelled out by hand above, against the ones derived from the table."""
    from albert_core.foreign_names import places

    for head in HEADS.values():
        if head.head_name == "AlbertForTokenClassification":
            continue
        config = CONFIG.replace(num_labels=2)
        derived = places("tf1", config, head.all_parts())
        tensors, _ = google(head.head_name, config)
        assert {place.name: place.shape for some in derived.values() for place in some} == {
            name: array.shape for name, array in tensors.items()
        }


# -- Keras 3 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("head", HEADS)
def test_keras_saves_what_is_read_here_and_loads_what_is_written(head: str, dtype: str, tmp_path: Path) -> None:
    """Every head, so that a layer that moves in albert_tf shows here."""
    adapter = Adapter("tf")
    config = CONFIG.replace(num_hidden_groups=2, inner_group_num=2, position_embedding_type="relative_key")
    state = random_bits(config, head, dtype, 1)
    with np.errstate(invalid="ignore"):
        state = {n: np.where(np.isfinite(a), a, 1.0).astype(a.dtype) for n, a in state.items()}
    model = adapter.model(head, config, dtype, state)
    source = saved(tmp_path / "a", config, head, state)
    (tmp_path / "theirs").mkdir()
    model.save_weights(tmp_path / "theirs/model.weights.h5")
    (tmp_path / "theirs/config.json").write_bytes((source / "config.json").read_bytes())
    expected = {n: (dtype, a.tobytes()) for n, a in state.items()}
    report = convert(tmp_path / "theirs", tmp_path / "b")
    assert (report.source_format, report.head) == ("keras", head)
    assert tensors_of(tmp_path / "b") == expected
    convert(source, tmp_path / "ours", "keras")
    other = adapter.model(head, config, dtype)
    other.load_weights(tmp_path / "ours/model.weights.h5")
    loaded = other.numpy_state()
    assert {n: (dtype, loaded[n].tobytes()) for n in state} == expected


def test_a_keras_hub_preset_of_another_size_wins_over_its_sidecar(tmp_path: Path) -> None:
    config = CONFIG.replace(classifier_dropout_prob=0.4)
    start = saved(tmp_path / "a", config, "AlbertModel", random_bits(config, "AlbertModel", "float32", 1))
    (start / "spiece.model").write_bytes(b"pieces")
    (start / "tokenizer.json").write_bytes(b"{}")
    report = convert(start, tmp_path / "hub", "keras-hub")
    assert set(report.files) >= {"config.json", "metadata.json", "assets/tokenizer/vocabulary.spm", "tokenizer.json"}
    preset = json.loads((tmp_path / "hub/config.json").read_text())
    assert preset["class_name"] == "AlbertBackbone"
    preset["config"]["dropout"] = 0.2
    (tmp_path / "hub/config.json").write_text(json.dumps(preset))
    convert(tmp_path / "hub", tmp_path / "b")
    back = AlbertConfig.from_json_file(tmp_path / "b/config.json")
    assert (back.hidden_dropout_prob, back.classifier_dropout_prob) == (0.2, 0.4)
    assert (tmp_path / "b/tokenizer.json").read_bytes() == b"{}"
    assert (tmp_path / "b/spiece.model").read_bytes() == b"pieces"


def test_the_pooler_that_keras_hub_demands_is_made_up_and_left_out_again(tmp_path: Path) -> None:
    state = random_bits(CONFIG, "AlbertForMaskedLM", "float32", 1)
    report = convert(saved(tmp_path / "a", CONFIG, "AlbertForMaskedLM", state), tmp_path / "hub", "keras-hub")
    assert report.remarks == ["keras-hub's masked-LM head has the layer norm epsilon 1e-5, here it is 1e-12"]
    report = convert(tmp_path / "hub", tmp_path / "b")
    assert {line.rule for line in report.lines if line.action == "ignored"} == {
        "made up when this checkpoint was written, says its sidecar"
    }
    assert tensors_of(tmp_path / "b") == {n: ("float32", a.tobytes()) for n, a in state.items()}
    (tmp_path / "hub/albert_models.json").unlink()
    convert(tmp_path / "hub", tmp_path / "c")
    assert tensors_of(tmp_path / "c")["albert.pooler.bias"] == ("float32", bytes(24))


# -- orbax ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["AlbertModel", HEAD])
@pytest.mark.parametrize("whole_state", [False, True], ids=["parameters", "with the states of dropouts"])
def test_orbax_saves_what_is_read_here(head: str, whole_state: bool, tmp_path: Path) -> None:
    import orbax.checkpoint
    from flax import nnx

    config = CONFIG.replace(num_hidden_groups=2, inner_group_num=2)
    state = random_bits(config, head, "bfloat16", 1)
    model = Adapter("flax").model(head, config, "bfloat16")
    for parameter in (p for p in model.parameter_table.values() if p.tied_to is None):
        leaf = model.leaf(parameter)
        model._set_array(leaf, state[parameter.name].T if leaf.transposed else state[parameter.name])
    saved_state = nnx.state(model) if whole_state else nnx.to_pure_dict(nnx.state(model, nnx.Param))
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "orbax", saved_state)
    config.save_pretrained(tmp_path)
    for path in (tmp_path, tmp_path / "orbax"):
        report = convert(path, tmp_path / "out")
        assert (report.source_format, report.head) == ("orbax", head)
        assert tensors_of(tmp_path / "out") == {n: ("bfloat16", a.tobytes()) for n, a in state.items()}


def test_orbax_restores_what_is_written_here(tmp_path: Path) -> None:
    import orbax.checkpoint
    from flax import nnx

    state = random_bits(CONFIG, HEAD, "float32", 1)
    convert(saved(tmp_path / "a", CONFIG, HEAD, state), tmp_path / "b", "orbax")
    convert(tmp_path / "a", tmp_path / "b", "orbax")  # in place of the first
    assert {path.name for path in (tmp_path / "b").iterdir()} == {"config.json", "orbax"}
    model = Adapter("flax").model(HEAD, CONFIG, "float32")
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        restored = checkpointer.restore(tmp_path / "b/orbax", nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    nnx.update(model, restored)
    loaded = model.numpy_state()
    assert {n: loaded[n].tobytes() for n in state} == {n: a.tobytes() for n, a in state.items()}


def test_a_damaged_orbax_folder_is_a_typed_error(tmp_path: Path) -> None:
    start = saved(tmp_path / "a", CONFIG, "AlbertModel", random_bits(CONFIG, "AlbertModel", "float32", 1))
    convert(start, tmp_path / "b", "orbax")
    refused = 0
    for file in (tmp_path / "b/orbax/manifest.ocdbt", *(tmp_path / "b/orbax").rglob("d/*")):
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        try:
            convert(tmp_path / "b", tmp_path / "c")
        except FormatError:
            refused += 1  # a file that nothing refers to any more is no damage
        file.write_bytes(whole)
    assert refused >= 2
