"""AlbertConfig: ranges, labels, read-only fields, config.json in and out."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from albert_core.config import PRESETS, AlbertConfig, AutoConfig
from albert_core.errors import ConfigError, FormatError, NotFound


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vocab_size", 0),
        ("vocab_size", -3),
        ("hidden_size", 12.0),
        ("hidden_size", True),
        ("num_hidden_layers", "12"),
        ("num_hidden_layers", 10**12),
        ("num_attention_heads", 0),
        ("num_hidden_groups", 0),
        ("num_hidden_groups", 13),
        ("hidden_size", 4097),
        ("layer_norm_eps", float("nan")),
        ("layer_norm_eps", -1e-12),
        ("initializer_range", float("inf")),
        ("hidden_dropout_prob", 1.0),
        ("attention_probs_dropout_prob", -0.1),
        ("classifier_dropout_prob", None),
        ("hidden_act", "os.system"),
        ("hidden_act", 3),
        ("position_embedding_type", "rotary"),
        ("pad_token_id", 30000),
        ("pad_token_id", -1),
        ("problem_type", "ranking"),
        ("num_labels", 0),
        ("id2label", {0: "a", 2: "b"}),
        ("id2label", {"x": "a"}),
        ("id2label", ["a", "b"]),
        ("output_attentions", 1),
        ("return_dict", None),
    ],
)
def test_a_bad_value_is_named(field: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=field.split("_")[0]) as caught:
        AlbertConfig(**{field: value})
    assert repr(value) in str(caught.value)
    pickle.loads(pickle.dumps(caught.value))
    path = tmp_path / "config.json"
    path.write_text(json.dumps({field: value}))
    with pytest.raises((ConfigError, FormatError), match=r"config\.json"):  # NaN and Infinity are no JSON
        AlbertConfig.from_json_file(path)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "JSON"),
        ("[]", "JSON object"),
        ("{", "JSON"),
        ('{"vocab_size": NaN}', "NaN"),
        ('{"layer_norm_eps": Infinity}', "Infinity"),
        ('{"vocab_size": 5, "vocab_size": 6}', "vocab_size"),
        ("[" * 100_000, "nested too deeply"),
        ('{"vocab_size": ' + "9" * 5000 + "}", "digits"),
        ('\ufeff{"vocab_size": 5}', "BOM"),
    ],
)
def test_a_bad_file_is_named(text: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=what) as caught:
        AlbertConfig.from_json_file(path)
    assert str(path) in str(caught.value)


def test_sizes_that_are_fine_alone_but_not_together() -> None:
    with pytest.raises(ConfigError, match="at most 20000000000 parameters"):
        AlbertConfig(vocab_size=2**31 - 1)


def test_the_config_of_another_architecture(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match=r"config\.json.*model_type.*'albert', got 'bert'"):
        AlbertConfig.from_json_file(path)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(NotFound, match="no-such"):
        AlbertConfig.from_json_file("no-such/config.json")


def test_sizes_are_read_only_and_replace_is_named() -> None:
    config = AlbertConfig()
    with pytest.raises(ConfigError, match=r"replace\(hidden_size"):
        config.hidden_size = 768
    smaller = config.replace(hidden_size=768, num_attention_heads=12, intermediate_size=3072)
    assert (smaller.hidden_size, config.hidden_size, smaller.head_size) == (768, 4096, 64)


def test_other_fields_can_be_set_and_are_checked() -> None:
    config = AlbertConfig()
    config.hidden_dropout_prob = 0.3
    config.problem_type = "regression"
    config.num_labels = 4
    assert config.id2label == {i: f"LABEL_{i}" for i in range(4)}
    config.id2label = {0: "no", 1: "yes"}
    assert (config.num_labels, config.label2id) == (2, {"no": 0, "yes": 1})
    with pytest.raises(ConfigError, match="problem_type"):
        config.problem_type = "ranking"


def test_an_attribute_that_is_no_field_is_never_saved() -> None:
    config = AlbertConfig()
    config.use_cache = True
    assert config.use_cache
    assert "use_cache" not in config.to_dict()


def test_label_names_that_are_numbers_are_names() -> None:
    config = AlbertConfig.from_dict({"id2label": {"0": 0, "1": 1.5}, "label2id": {"0": 0, "1.5": 1}})
    assert (config.id2label, config.label2id) == ({0: "0", 1: "1.5"}, {"0": 0, "1.5": 1})
    with pytest.raises(ConfigError, match="id2label"):
        AlbertConfig.from_dict({"id2label": {"0": None}})


def test_members_of_transformers_configs() -> None:
    kept = {"_name_or_path": "there", "architectures": ["AlbertModel"], "torch_dtype": "float16"}
    config = AlbertConfig.from_dict({"vocab_size": 37, **kept})
    assert (config.name_or_path, config.architectures) == ("there", ["AlbertModel"])
    assert config.dtype == config.torch_dtype == "float16"
    empty = AlbertConfig()
    assert (empty.name_or_path, empty.architectures, empty.dtype) == ("", None, None)
    with pytest.raises(AttributeError):
        config.architectures = []
    config.update({"num_labels": 3, "hidden_dropout_prob": 0.5})
    assert (len(config.id2label), config.hidden_dropout_prob) == (3, 0.5)
    for name, value in {"hidden_dropout_prob": 2.0, "hidden_size": 5}.items():
        with pytest.raises(ConfigError, match=name):
            config.update({name: value})
    assert empty.to_diff_dict() == {"model_type": "albert", "vocab_size": 30000}
    assert AlbertConfig.from_dict(config.to_diff_dict()) == config


def test_an_unknown_keyword_warns_with_the_nearest_field_and_is_kept() -> None:
    with pytest.warns(UserWarning, match="'hidden_size'"):
        config = AlbertConfig(hiden_size=3)
    assert json.loads(config.to_json_string())["hiden_size"] == 3


@pytest.mark.parametrize(
    "extras",
    [
        {"architectures": ["AlbertForMaskedLM"], "net_structure_type": 0, "layers_to_keep": [], "gap_size": 0},
        {"auto_map": {"AutoModel": "x.Y"}, "_attn_implementation_internal": "evil", "trust_remote_code": True},
        {"torch_dtype": "float16", "something_else": {"deep": [1, None, "é"]}},
    ],
)
def test_every_key_of_a_file_comes_back(extras: dict, tmp_path: Path) -> None:
    values = {
        "model_type": "albert",
        "vocab_size": 100,
        "hidden_size": 64,
        "id2label": {"0": "a", "1": "b", "2": "c"},
        **extras,
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values))
    AlbertConfig.from_json_file(path).save_pretrained(tmp_path / "out")
    back = json.loads((tmp_path / "out" / "config.json").read_text())
    assert {key: back[key] for key in values} == values
    assert AutoConfig.from_pretrained(tmp_path / "out").num_labels == 3


def test_no_key_of_a_file_is_acted_on(tmp_path: Path) -> None:
    """Under an audit hook: nothing is imported, run or connected to, and no file but config.json is opened."""
    values = {"auto_map": {"AutoConfig": "evil.Config"}, "_attn_implementation_internal": "evil/kernel"}
    values |= {
        "trust_remote_code": True,
        "torch_dtype": "os.system",
        "architectures": ["evil.Model"],
        "hidden_size": 64,
    }
    (tmp_path / "config.json").write_text(json.dumps(values))
    script = f"""
import sys
from albert_core.config import AlbertConfig
import albert_core.hub
AlbertConfig()  # what a first config loads of our own
seen = []
sys.addaudithook(lambda event, args: seen.append((event, str(args[0]) if args else "")))
config = AlbertConfig.from_pretrained({str(tmp_path)!r})
bad = [s for s in seen if s[0].split(".")[0] in ("import", "socket", "subprocess", "os.system", "exec", "compile")]
opened = {{path for event, path in seen if event == "open"}}
assert not bad, bad
assert opened == {{{str(tmp_path / "config.json")!r}}}, opened
assert config.extra["trust_remote_code"] is True
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "_attn_implementation_internal" in done.stderr  # said once, on the logger


def test_overrides_win_over_the_file() -> None:
    config = AlbertConfig.from_dict(
        {"id2label": {"0": "a", "1": "b"}, "hidden_dropout_prob": 0.1}, num_labels=5, hidden_dropout_prob=0.2
    )
    assert (config.num_labels, config.hidden_dropout_prob) == (5, 0.2)


def test_a_callable_activation_stays_in_code(tmp_path: Path) -> None:
    config = AlbertConfig(hidden_act=abs)
    with pytest.raises(ConfigError, match="hidden_act"):
        config.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_group_of_a_layer_is_integer_arithmetic() -> None:
    config = AlbertConfig(num_hidden_layers=48, num_hidden_groups=22)
    assert [config.group_of(layer) for layer in range(48)] == [layer * 22 // 48 for layer in range(48)]


def test_presets() -> None:
    assert len(PRESETS) == 8
    assert AlbertConfig.from_preset("albert-base-v1").hidden_act == "gelu"
    assert AlbertConfig.from_preset("albert-xxlarge-v1").hidden_dropout_prob == 0.0
    with pytest.raises(ConfigError, match="albert-huge"):
        AlbertConfig.from_preset("albert-huge")


def test_equality_and_hash() -> None:
    a, b = AlbertConfig(), AlbertConfig()
    assert a == b
    before = hash(a)
    a.num_labels = 7
    assert a != b
    assert hash(a) == before


@given(
    st.fixed_dictionaries(
        {
            "vocab_size": st.integers(1, 50_000),
            "num_hidden_layers": st.integers(1, 48),
            "hidden_act": st.sampled_from(["gelu", "gelu_new", "relu", "tanh"]),
            "hidden_dropout_prob": st.floats(0, 0.99),
            "layer_norm_eps": st.floats(0, 1),
            "position_embedding_type": st.sampled_from(["absolute", "relative_key", "relative_key_query"]),
            "num_labels": st.integers(1, 20),
            "pad_token_id": st.none() | st.just(0),
        }
    )
)
def test_json_round_trip(values: dict) -> None:
    config = AlbertConfig(**values)
    assert AlbertConfig.from_dict(json.loads(config.to_json_string())) == config
    assert eval(repr(config)) == config  # repr is the code that makes it
