"""Which of the public classes a source holds, told by its tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from albert_conversion.source import Source
from albert_core.config import AlbertConfig
from albert_core.errors import FormatError
from albert_core.foreign_names import places
from albert_core.heads import HEADS
from albert_core.parameters import POOLER_PART

__all__ = ["choose_head", "with_labels"]

Keys = Mapping[str, list[str]]  # a format's name of a parameter -> the source's own names for it


def with_labels(config: AlbertConfig, scheme: str, source: Source, keys: Keys) -> AlbertConfig:
    """The config with as many labels as the classifier has rows, where the source's own config says nothing of them."""
    (place, *_) = places(scheme, config, ("classifier",))["classifier.bias"] or (None,)
    raw = next(iter(keys.get(place.name, ())), None) if place else None
    rows = source.shape(raw)[0] if raw is not None and source.shape(raw) else config.num_labels
    return config if rows == config.num_labels else config.replace(num_labels=rows)


def choose_head(source: Source, config: AlbertConfig, keys: Keys) -> str:
    """The class whose tensors a source holds: the one its config names, or else the only one that fits.

    Args:
        source: The checkpoint.
        config: Its config.
        keys: Its names by place.

    Raises:
        FormatError: Several fit, or none; the message says how to name one.
    """
    scheme = source.scheme
    named = next(iter(_named_heads(config)), None)
    if named and _holds(scheme, config, keys, named) and not _left_over(scheme, config, keys, named):
        return named
    fitting = [h for h in HEADS if h in source.format.heads and _fits_head(source, config, keys, h)]
    if len(fitting) == 1:
        return fitting[0]
    what = " or ".join(fitting) if fitting else "none of the public classes alone"
    raise FormatError(source.path, None, f"the tensors are those of {what}", "name one with --head")


def _named_heads(config: AlbertConfig) -> Iterator[str]:
    architectures = config.extra.get("architectures")
    for name in architectures if isinstance(architectures, list) else ():
        if isinstance(name, str):
            bare = name.removeprefix("TF").removeprefix("Flax")
            if bare in HEADS:
                yield bare


def _names(scheme: str, config: AlbertConfig, part: str) -> list[str]:
    return [place.name for several in places(scheme, config, (part,)).values() for place in several]


def _holds(scheme: str, config: AlbertConfig, keys: Keys, head: str) -> bool:
    """Whether something of every part of a head is there. The parts that all share are checked by the plan itself."""
    parts = HEADS[head].parts + ((POOLER_PART,) if HEADS[head].pooling and HEADS[head].parts else ())
    return all(any(name in keys for name in _names(scheme, config, part)) for part in parts)


def _left_over(scheme: str, config: AlbertConfig, keys: Keys, head: str) -> bool:
    """Whether there are tensors of a part that the head has not."""
    own = {name for part in HEADS[head].parts for name in _names(scheme, config, part)}
    others = {part for other in HEADS.values() for part in other.parts}
    return any(name in keys and name not in own for part in others for name in _names(scheme, config, part))


def _fits_head(source: Source, config: AlbertConfig, keys: Keys, head: str) -> bool:
    """Whether a head explains every tensor, in its shape; a token classifier comes without a pooler."""
    scheme = source.scheme
    if not _holds(scheme, config, keys, head) or _left_over(scheme, config, keys, head):
        return False
    if head == "AlbertForTokenClassification" and any(name in keys for name in _names(scheme, config, POOLER_PART)):
        return False
    if not HEADS[head].parts or HEADS[head].parts[0] not in ("classifier", "choice_classifier"):
        return True
    found = places(scheme, config, HEADS[head].parts)
    present = [(place, raw) for several in found.values() for place in several for raw in keys.get(place.name, ())]
    return all(source.shape(raw) == place.shape for place, raw in present)
