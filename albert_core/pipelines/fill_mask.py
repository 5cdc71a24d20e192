"""Fill-mask: the most likely pieces for each [MASK] of a text."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from albert_core.input_checks import count

__all__ = ["FillMaskPipeline"]

Row = dict[str, list[int]]  # a text as the model takes it, by input
Fillings = list[Any]  # of one text: candidates, or one list of candidates for each of several masks


class FillMaskPipeline:
    """Text with one or more [MASK] -> the most likely pieces.

    Args:
        model: A masked-LM model of any backend.
        tokenizer: Its tokenizer.
        name: What results call the model.
        top_k: How many pieces per mask, where a call says nothing else; the same holds for the others.
        targets: Rank these words only; all pieces when None.
        batch_size: How many texts the model gets at once.
        tokenizer_kwargs: More arguments for the tokenizer, for example `{"truncation": True}`.

    Raises:
        ValueError: The model has another head, or an argument is none that a call could have.
    """

    head = "AlbertForMaskedLM"
    task = "fill-mask"
    options: ClassVar[frozenset[str]] = frozenset(("top_k", "targets", "batch_size", "tokenizer_kwargs"))

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        name: str,
        *,
        top_k: int = 5,
        targets: str | Sequence[str] | None = None,
        batch_size: int = 32,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if (found := getattr(model, "head_name", type(model).__name__)) != self.head:
            raise ValueError(f"model: expected the head {self.head} for {self.task}, got {found}")
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.top_k, self.batch_size = count("top_k", top_k, 1), count("batch_size", batch_size, 1)
        self.tokenizer_kwargs = dict(tokenizer_kwargs or {})
        self._targets = None if targets is None else self._target_ids(targets)

    @property
    def device(self) -> Any:
        """Where the model is."""
        return self.model.device

    @property
    def framework(self) -> str:
        """The backend, as transformers names it."""
        return "pt" if self.model.framework == "torch" else self.model.framework

    @property
    def dtype(self) -> Any:
        """What the model computes in; also under its older name `torch_dtype`."""
        return self.model.dtype

    torch_dtype = dtype

    def __call__(
        self,
        inputs: str | Sequence[str] | Iterator[str],
        top_k: int | None = None,
        targets: str | Sequence[str] | None = None,
        *,
        batch_size: int | None = None,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        num_workers: int | None = None,
    ) -> Fillings | Iterator[Fillings]:
        """Fill every mask.

        Args:
            inputs: A text, several, or an iterator over texts.
            top_k: How many pieces per mask; fewer where the vocabulary or the targets are smaller.
            targets: Rank these words only, each by its first piece; "ing" names the piece where it is no word.
            batch_size: How many texts the model gets at once.
            tokenizer_kwargs: More arguments for the tokenizer.
            num_workers: Accepted; there is nothing for workers to do.

        Returns:
            For one text with one mask a list of {"score", "token", "token_str", "sequence"}, best first; a list of
            such lists for several masks. For several texts a list over texts, for an iterator an iterator over texts,
            batch after batch; a list of one text gives what the text alone gives, as in transformers. Scores are
            probabilities, over the whole vocabulary also with targets.

        Raises:
            ValueError: A text without a mask or too long for the model, or a count below 1.
        """
        top_k = self.top_k if top_k is None else count("top_k", top_k, 1)
        size = self.batch_size if batch_size is None else count("batch_size", batch_size, 1)
        allowed = self._targets if targets is None else self._target_ids(targets)
        texts = [inputs] if isinstance(inputs, str) else inputs
        results = self._results(texts, top_k, allowed, size, {**self.tokenizer_kwargs, **(tokenizer_kwargs or {})})
        if isinstance(inputs, Iterator):
            return results
        found = list(results)
        return found[0] if isinstance(inputs, str) or (isinstance(inputs, list) and len(inputs) == 1) else found

    def _results(
        self, texts: Iterable[str], top_k: int, allowed: np.ndarray | None, size: int, more: Mapping[str, Any]
    ) -> Iterator[Fillings]:
        texts = iter(texts)
        while batch := [self._encode(text, more) for text in itertools.islice(texts, size)]:
            for row, probabilities in zip(batch, self._probabilities(batch, size), strict=True):
                yield self._fillings(row["input_ids"], probabilities, top_k, allowed)

    def _encode(self, text: str, more: Mapping[str, Any]) -> Row:
        """Ids and segments of a text; padding, which is always on the right, is left to the batch."""
        encoding = self.tokenizer(text, **more)
        length = sum(encoding.get("attention_mask", ())) or None  # without a mask the model sees everything
        row = {name: encoding[name][:length] for name in ("input_ids", "token_type_ids") if name in encoding}
        ids = row["input_ids"]
        if self.tokenizer.mask_token_id not in ids:
            raise ValueError(f"inputs: expected a text with {self.tokenizer.mask_token}, got {text!r}")
        longest = self.model.config.max_position_embeddings
        if len(ids) > longest:
            raise ValueError(f"inputs: expected at most {longest} pieces, got {len(ids)}: {text[:60]!r}...")
        return row

    def _masked(self, ids: list[int]) -> list[int]:
        return [place for place, i in enumerate(ids) if i == self.tokenizer.mask_token_id]

    def _probabilities(self, batch: list[Row], size: int) -> Iterator[np.ndarray]:
        """For each text the probabilities at its masks, [masks, V]; a model that compiles gets few shapes."""
        places = [self._masked(row["input_ids"]) for row in batch]
        rows, masks = len(batch), max(map(len, places))
        length = max(len(row["input_ids"]) for row in batch)
        if self.model.compiles_shapes:
            rows, masks = min(_power_of_two(rows), size), _power_of_two(masks)
            length = min(length + -length % 16, self.model.config.max_position_embeddings)
        batch = [*batch, *[batch[-1]] * (rows - len(batch))]
        inputs = self.tokenizer.pad(batch, "max_length", length, return_tensors="np")
        positions = np.zeros((rows, masks), dtype=np.int64)  # [B, P]
        for row, found in enumerate(places):
            positions[row, : len(found)] = found
        logits = self.model.run_numpy(**inputs, masked_positions=positions).logits  # [B, P, V]
        for row, found in enumerate(places):
            yield _softmax(logits[row, : len(found)])

    def _target_ids(self, targets: str | Sequence[str]) -> np.ndarray:
        """The id of each target, without repeats; targets without a piece are left out, as in transformers."""
        targets = [targets] if isinstance(targets, str) else targets
        found = dict.fromkeys(self._target_id(target, pieces) for target in targets if (pieces := self._pieces(target)))
        if not found:
            raise ValueError(f"targets: expected at least one word, got {list(targets)}")
        return np.array(list(found))

    def _pieces(self, target: str) -> list[str]:
        """A word's pieces; one piece where the target names one that goes on with a word, as "ing" does."""
        pieces = self.tokenizer.tokenize(target)
        named = self.tokenizer.convert_tokens_to_ids(target) != self.tokenizer.unk_token_id
        return [target] if len(pieces) > 1 and named else pieces

    def _target_id(self, target: str, pieces: list[str]) -> int:
        if len(pieces) > 1:
            warnings.warn(
                f"target {target!r} is {len(pieces)} pieces; ranked by its first, {pieces[0]!r}", stacklevel=5
            )
        number = self.tokenizer.convert_tokens_to_ids(pieces[0])
        if number >= (size := self.model.config.vocab_size):
            raise ValueError(f"targets: expected ids below the model's vocab_size, {size}, got {number} for {target!r}")
        return number

    def _fillings(self, ids: list[int], probabilities: np.ndarray, top_k: int, allowed: np.ndarray | None) -> Fillings:
        places = self._masked(ids)
        known = min(probabilities.shape[1], len(self.tokenizer))  # a model may have rows that no token stands for
        choices = np.arange(known) if allowed is None else allowed
        filled = []
        for place, row in zip(places, probabilities, strict=True):
            best = choices[np.argsort(-row[choices], kind="stable")[:top_k]]
            filled.append(
                [self._filling(ids, place, int(token), float(row[token]), len(places) == 1) for token in best]
            )
        return filled[0] if len(places) == 1 else filled

    def _filling(self, ids: list[int], place: int, token: int, score: float, alone: bool) -> dict[str, Any]:
        """One candidate; with several masks the sequence shows the others unfilled."""
        sequence = self.tokenizer.decode([*ids[:place], token, *ids[place + 1 :]], skip_special_tokens=alone)
        return {"score": score, "token": token, "token_str": self.tokenizer.decode([token]), "sequence": sequence}


def _power_of_two(number: int) -> int:
    """The smallest that is not below it."""
    return 1 << (number - 1).bit_length()


def _softmax(logits: np.ndarray) -> np.ndarray:
    wide = logits.astype(np.promote_types(logits.dtype, np.float32))
    e = np.exp(wide - wide.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
