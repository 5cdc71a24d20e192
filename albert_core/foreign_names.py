"""Where each format keeps each parameter: names and layouts, derived from the rows of the parameter table.

A `Place` says under which name, transposed or not, and in which shape a format holds a parameter. Names use "/" in
every format but PyTorch's. What a file may hold besides stands in `albert_core.ignored_names`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from albert_core.heads import HEADS
from albert_core.ignored_names import ignored
from albert_core.keras_names import hub_name, official_name, own_name
from albert_core.parameters import PREFIX, TIED, WORDS, Kind, Parameter, parameter_table, rows
from albert_core.walker import LAYOUTS

if TYPE_CHECKING:
    from albert_core.config import AlbertConfig

__all__ = ["SCHEMES", "Place", "ignored", "key_of", "known_names", "places", "stranger"]

_DECODER_BIAS, _DECODER_WEIGHT = "predictions.decoder.bias", "predictions.decoder.weight"


@dataclass(frozen=True)
class Place:
    """Where a format holds a parameter.

    Attributes:
        name: Its name there.
        transposed: Whether a matrix is stored as the transpose of its canonical layout.
        shape: Its shape there.
        written: Whether a writer puts it there; False for a copy that only some files hold.
        decides: Whether readers of the format compute with it. Where two copies differ, one that decides wins over one
            that does not; two that both decide must not differ.
    """

    name: str
    transposed: bool
    shape: tuple[int, ...]
    written: bool = True
    decides: bool = True


# name, whether transposed, and the shape where that does not follow from these two
_Found = tuple[str, bool, tuple[int, ...] | None]


def _torch(p: Parameter, _: str | None, __: AlbertConfig) -> _Found:
    return p.name, False, None


_TF_LEAVES = LAYOUTS["tf"]


def _tf_h5(p: Parameter, _: str | None, __: AlbertConfig) -> _Found:
    """Names of transformers 4's TFAlbert classes without the layer and model in front and the ":0" behind."""
    if p.kind is Kind.VECTOR:
        return p.name.replace(".", "/"), False, None
    leaf, transposed = _TF_LEAVES[p.kind][p.leaf]
    leaf = "weight" if p.name == WORDS else leaf
    path = re.sub(r"/(\d+)", r"_._\1", p.module.replace(".", "/"))
    return f"{path}/{leaf}", transposed, None


def _flax(p: Parameter, _: str | None, __: AlbertConfig) -> _Found:
    """Names of transformers 4's FlaxAlbert classes."""
    if p.kind is Kind.VECTOR:
        return p.name.replace(".", "/"), False, None
    leaf, transposed = LAYOUTS["flax"][p.kind][p.leaf]
    return p.module.replace(".", "/") + "/" + leaf, transposed, None


def _nnx(p: Parameter, _: str | None, __: AlbertConfig) -> _Found:
    """Names of albert_flax's modules, as orbax joins them."""
    if p.kind is Kind.VECTOR:
        return p.name, False, None
    leaf, transposed = LAYOUTS["flax"][p.kind][p.leaf]
    return f"{p.module}.{leaf}", transposed, None


def _tf1(p: Parameter, scope: str | None, _: AlbertConfig) -> _Found | None:
    """Variable names of Google's graphs; an OUTPUT is stored [out, in] there, as its canonical weight is."""
    if scope is None:
        return None
    if p.kind in (Kind.VECTOR, Kind.EMBEDDING):
        return scope, False, None
    if p.kind is Kind.OUTPUT:
        return f"{scope}/output_{'weights' if p.leaf == 'weight' else 'bias'}".lstrip("/"), False, None
    leaf, transposed = _TF_LEAVES[p.kind][p.leaf]
    return f"{scope}/{leaf}", transposed, None


SCHEMES: dict[str, Callable[[Parameter, str | None, AlbertConfig], _Found | None]] = {
    "torch": _torch,
    "tf_h5": _tf_h5,
    "flax": _flax,
    "tf1": _tf1,
    "keras": lambda p, _, __: own_name(p),
    "keras_hub": lambda p, _, config: hub_name(p, config),
    "official": lambda p, _, config: official_name(p, config),
    "nnx": _nnx,
}


def places(scheme: str, config: AlbertConfig, parts: Iterable[str]) -> dict[str, tuple[Place, ...]]:
    """Where a format holds each untied parameter of some parts of a model.

    Args:
        scheme: A name of `SCHEMES`.
        config: The model's sizes.
        parts: Part names, as in `albert_core.heads`.

    Returns:
        By canonical name: its places, the one to read first in front; none where the format has no such parameter.
    """
    return dict(_places(scheme, config.replace(), tuple(parts)))


@lru_cache(maxsize=128)
def _places(scheme: str, config: AlbertConfig, parts: tuple[str, ...]) -> dict[str, tuple[Place, ...]]:
    table = parameter_table(config, parts)
    scopes = {row.path: row.tf1 for row in rows(config, parts)}
    found: dict[str, tuple[Place, ...]] = {}
    for p in (p for p in table.values() if p.tied_to is None):
        copies = [table[name] for name, target in TIED.items() if target == p.name and name in table]
        found[p.name] = tuple(_ordered(scheme, p, copies, scopes, config))
    return found


def _ordered(
    scheme: str, p: Parameter, copies: list[Parameter], scopes: dict[str, str | None], config: AlbertConfig
) -> Iterator[Place]:
    own = _place(scheme, p, scopes, config)
    if own is None:
        return
    decoder = next((c for c in copies if c.name == _DECODER_BIAS), None)
    if scheme == "torch":
        yield own
        for copy in copies:
            yield Place(copy.name, False, copy.shape, written=copy.name != _DECODER_WEIGHT)
    elif scheme == "tf_h5" and decoder is not None:  # its call adds decoder/bias; predictions/bias is a dead variable
        yield Place("predictions/decoder/bias", False, p.shape)
        yield Place(own.name, own.transposed, own.shape, decides=False)
    else:
        yield own


def _place(scheme: str, p: Parameter, scopes: dict[str, str | None], config: AlbertConfig) -> Place | None:
    found = SCHEMES[scheme](p, scopes.get(p.module), config)
    if found is None:
        return None
    name, transposed, shape = found
    return Place(name, transposed, shape or (p.shape[::-1] if transposed else p.shape))


# -- reading a name ------------------------------------------------------------------------------------------------


def known_names(scheme: str, config: AlbertConfig) -> frozenset[str]:
    """Every name that any public head has in a format."""
    names: set[str] = set()
    for head in HEADS.values():
        found = places(scheme, config, head.all_parts(True))
        names.update(place.name for several in found.values() for place in several)
    return frozenset(names)


def key_of(scheme: str, known: Collection[str], raw: str) -> str | None:
    """The name of a `Place` that a file's own name means, or None when no public head has it.

    Prefixes that say where a tensor came from are left out: the encoder's prefix that the file of a bare encoder lacks,
    `module/` of TF-Hub, `params/` of a Flax training state, the layer and model names of an h5 file.

    Args:
        scheme: A name of `SCHEMES`.
        known: What `known_names` gives.
        raw: The file's own name.
    """
    return next((name for name in _spellings(scheme, raw) if name in known), None)


def _spellings(scheme: str, raw: str) -> Iterator[str]:
    separator = "." if scheme in ("torch", "nnx") else "/"
    raw = raw.removesuffix(":0" if scheme == "tf_h5" else ".value" if scheme == "nnx" else "")
    if scheme == "torch":  # what the arrays of a norm are called in old files
        raw = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", raw))
    yield raw
    yield PREFIX.replace(".", separator) + raw
    if scheme == "tf_h5":
        in_layer = raw.partition("/")[2]
        for name in (in_layer, in_layer.partition("/")[2]):
            yield name
            yield re.sub("/embeddings$", "/weight", name)  # releases differ in the name of an embedding's table
            yield re.sub("/weight$", "/embeddings", name)
    elif scheme == "flax":
        raw = raw.replace(".", "/")  # as in safetensors
        yield raw
        yield raw.removeprefix("params/")
        yield "albert/" + raw.removeprefix("params/")
    elif scheme == "tf1":
        yield raw.removeprefix("module/")


# -- names of other architectures --------------------------------------------------------------------------------------

_STRANGERS = (
    (
        ("tf1",),
        r"^(start_logits|end_logits|answer_class)/",
        "the SQuAD v2 head of Google's code, which no ALBERT class has; --head AlbertModel takes the encoder alone",
    ),
    (
        ("tf1",),
        r"/layer_shared(_\d+)?/|/word_embeddings_2$",
        "brightmart's albert_zh, whose positions and segments are as wide as the hidden states: another architecture, "
        "which no ALBERT class computes",
    ),
)


def stranger(scheme: str, raw: str) -> str | None:
    """What a tensor that no ALBERT class has belongs to, where that is known."""
    return next((what for schemes, pattern, what in _STRANGERS if scheme in schemes and re.search(pattern, raw)), None)
