"""Fill-mask: the most likely pieces for each [MASK] of a text."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

__all__ = ["FillMaskPipeline"]

BATCH_SIZE = 32


class FillMaskPipeline:
    """Text with one or more [MASK] -> the most likely pieces.

    Args:
        model: A masked-LM model of any backend.
        tokenizer: Its tokenizer.
        name: What results call the model.
    """

    head = "AlbertForMaskedLM"
    task = "fill-mask"

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        self.model, self.tokenizer, self.name = model, tokenizer, name

    def __call__(
        self, inputs: str | Sequence[str], top_k: int = 5, targets: str | Sequence[str] | None = None
    ) -> list[dict[str, Any]] | list[Any]:
        """Fill every mask.

        Args:
            inputs: A text or several.
            top_k: How many pieces per mask; fewer where the vocabulary or the targets are smaller.
            targets: Rank these words only, each by its first piece.

        Returns:
            For one text with one mask a list of {"score", "token", "token_str", "sequence"}, best first; a list of
            such lists for several masks; a list over texts for several texts. Scores are probabilities, over the whole
            vocabulary also with targets.

        Raises:
            ValueError: A text without a mask or too long for the model, or `top_k` below 1.
        """
        if isinstance(inputs, bool) or not isinstance(top_k, int) or top_k < 1:
            raise ValueError(f"top_k: expected an int of at least 1, got {top_k!r}")
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        encoded = [self._encode(text) for text in texts]
        allowed = None if targets is None else self._target_ids([targets] if isinstance(targets, str) else targets)
        results = []
        for start in range(0, len(texts), BATCH_SIZE):
            part = encoded[start : start + BATCH_SIZE]
            for ids, probabilities in zip(part, self._probabilities(part), strict=True):
                results.append(self._fillings(ids, probabilities, top_k, allowed))
        return results[0] if isinstance(inputs, str) else results

    def _encode(self, text: str) -> list[int]:
        ids = self.tokenizer(text)["input_ids"]
        if self.tokenizer.mask_token_id not in ids:
            raise ValueError(f"inputs: expected a text with {self.tokenizer.mask_token}, got {text!r}")
        longest = self.model.config.max_position_embeddings
        if len(ids) > longest:
            raise ValueError(f"inputs: expected at most {longest} pieces, got {len(ids)}: {text[:60]!r}...")
        return ids

    def _masked(self, ids: list[int]) -> list[int]:
        return [place for place, i in enumerate(ids) if i == self.tokenizer.mask_token_id]

    def _probabilities(self, batch: list[list[int]]) -> Iterator[np.ndarray]:
        """For each text the probabilities at its masks, [masks, V]."""
        padded = self.tokenizer.pad({"input_ids": batch}, padding=True, return_tensors="np")
        places = [self._masked(ids) for ids in batch]
        positions = np.zeros((len(batch), max(map(len, places))), dtype=np.int64)  # [B, P]
        for row, found in enumerate(places):
            positions[row, : len(found)] = found
        inputs = {name: padded[name] for name in ("input_ids", "attention_mask")}
        logits = self.model.run_numpy(**inputs, masked_positions=positions).logits  # [B, P, V]
        for row, found in enumerate(places):
            yield _softmax(logits[row, : len(found)])

    def _target_ids(self, targets: Sequence[str]) -> np.ndarray:
        """The id of each target's first piece, without repeats."""
        if not targets:
            raise ValueError("targets: expected at least one word, got none")
        found = []
        for target in targets:
            pieces = self.tokenizer.tokenize(target)
            if not pieces:
                raise ValueError(f"targets: expected words of the vocabulary, got {target!r}")
            if len(pieces) > 1:
                warnings.warn(
                    f"target {target!r} is {len(pieces)} pieces; ranked by its first, {pieces[0]!r}", stacklevel=3
                )
            found.append(self.tokenizer.convert_tokens_to_ids(pieces[0]))
        return np.array(list(dict.fromkeys(found)))

    def _fillings(
        self, ids: list[int], probabilities: np.ndarray, top_k: int, allowed: np.ndarray | None
    ) -> list[dict[str, Any]] | list[list[dict[str, Any]]]:
        places = self._masked(ids)
        choices = np.arange(probabilities.shape[1]) if allowed is None else allowed
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


def _softmax(logits: np.ndarray) -> np.ndarray:
    wide = logits.astype(np.promote_types(logits.dtype, np.float32))
    e = np.exp(wide - wide.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
