"""Text in, model inputs out: the calls of a tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from albert_core.tokenizer.assembly import PADDING, TRUNCATION, kept_lengths, pad_rows, strategy
from albert_core.tokenizer.batch_encoding import BatchEncoding
from albert_core.tokenizer.engine import Encoded
from albert_core.tokenizer.text_inputs import Sample, samples_of, well_formed
from albert_core.tokenizer.vocabulary import Vocabulary

__all__ = ["TextEncoding", "check_side"]

_NO_LENGTH = 10**9  # a model_max_length above it means that nobody gave one


class TextEncoding(Vocabulary):
    """The part of a tokenizer that builds model inputs."""

    model_max_length: int
    truncation_side: str
    model_input_names = ("input_ids", "token_type_ids", "attention_mask")

    def __call__(
        self,
        text: Any,
        text_pair: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        *,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool = True,
        return_attention_mask: bool = True,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        padding_side: str | None = None,
    ) -> BatchEncoding:
        """Turn text into model inputs: `[CLS] A [SEP]`, or `[CLS] A [SEP] B [SEP]` for a pair.

        A lone surrogate in a text counts as U+FFFD.

        Args:
            text: A text, a list of texts, or a list of pairs; with `is_split_into_words` a list of words or a list
                of such lists.
            text_pair: The second text or texts, in the same form.
            add_special_tokens: Add [CLS] and [SEP].
            padding: True or "longest" pads, on the right, to the longest row, "max_length" to `max_length`.
            truncation: True or "longest_first" shortens the longer text first, "only_first" and "only_second" that one;
                None means "longest_first" if `max_length` is given without padding, else no truncation.
            max_length: Longest row, in tokens, special tokens included; `model_max_length` if None.
            is_split_into_words: Texts come as lists of words, each word tokenized by itself.
            pad_to_multiple_of: Round the padded length up to a multiple of this.
            return_tensors: "np", "pt", "tf" or "jax" for arrays [B, S] of that framework; None for lists.
            return_token_type_ids: Include "token_type_ids": 0 for the first text, 1 for the second.
            return_attention_mask: Include "attention_mask": 1 for tokens, 0 for padding.
            return_special_tokens_mask: Include "special_tokens_mask": 1 for added tokens.
            return_offsets_mapping: Include "offset_mapping": start and end of each token in its text, in characters,
                (0, 0) for added tokens. AlbertTokenizerFast only.
            padding_side: "right"; see Raises.

        Returns:
            The inputs; for a single text without `return_tensors` flat lists.

        Raises:
            TypeError: Something that is no text.
            ValueError: An argument's value is not one of those above, or padding on the left was asked for: positions
                are absolute and counted from the left, so the model would see another text.
            TokenizerError: The texts cannot be truncated as asked, or offsets of AlbertTokenizer.
            BackendMissing: The framework of `return_tensors` is not installed.
        """
        check_side(padding_side)
        samples, batched = samples_of(text, text_pair, is_split_into_words)
        pad_how = strategy("padding", padding, PADDING)
        if truncation is None:
            truncation = max_length is not None and pad_how == "do_not_pad"
        cut_how = strategy("truncation", truncation, TRUNCATION)
        wanted = {
            "token_type_ids": return_token_type_ids,
            "attention_mask": return_attention_mask,
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
        }
        limit = self._limit(max_length) if cut_how != "do_not_truncate" else None
        rows = [
            self._row(first, second, add_special_tokens, cut_how, limit)
            for first, second in self._encode_samples(samples, return_offsets_mapping)
        ]
        rows = [{name: value for name, value in row.items() if wanted.get(name, True)} for row in rows]
        pad_rows(rows, self._fill(), pad_how, lambda: self._padded_length(max_length), pad_to_multiple_of)
        if not batched:
            return BatchEncoding(rows[0]).convert_to_tensors(return_tensors, prepend_batch_axis=True)
        names = [name for name in self._row(Encoded([]), None, False, "", None) if wanted.get(name, True)]
        return BatchEncoding({n: [row[n] for row in rows] for n in names}).convert_to_tensors(return_tensors)

    def encode(self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **options: Any) -> Any:
        """The "input_ids" of one text or pair; options as in `__call__`."""
        return self(text, text_pair, add_special_tokens, **options)["input_ids"]

    def tokenize(self, text: str, pair: str | None = None, add_special_tokens: bool = False) -> list[str]:
        """The pieces of a text, or of a text and its pair; an unknown piece is its own text."""
        samples, _ = samples_of(text, pair, words=False)
        first = self.engine.tokenize(well_formed(samples[0].first[0]))
        second = None if pair is None else self.engine.tokenize(well_formed(pair))
        if not add_special_tokens:
            return first + (second or [])
        cls, sep = [self.cls_token], [self.sep_token]
        return cls + first + sep + ([] if second is None else second + sep)

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool = True,
        return_tensors: str | None = None,
        padding_side: str | None = None,
    ) -> BatchEncoding:
        """Pad rows that were encoded without padding, for instance in a data loader.

        Args:
            encoded_inputs: One encoding, a batch of them as a dict of lists, or a list of encodings.
            padding: As in `__call__`.
            max_length: As in `__call__`.
            pad_to_multiple_of: As in `__call__`.
            return_attention_mask: Add "attention_mask" where it is missing.
            return_tensors: As in `__call__`.
            padding_side: "right".

        Raises:
            ValueError: No "input_ids", or an argument's value is not one of those of `__call__`.
        """
        check_side(padding_side)
        rows, batched = _rows_of(encoded_inputs)
        for row in rows if return_attention_mask else ():
            row.setdefault("attention_mask", [1] * len(row["input_ids"]))
        how = strategy("padding", padding, PADDING)
        pad_rows(rows, self._fill(), how, lambda: self._padded_length(max_length), pad_to_multiple_of)
        if not batched:
            return BatchEncoding(rows[0]).convert_to_tensors(return_tensors, prepend_batch_axis=True)
        batch = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
        return BatchEncoding(batch).convert_to_tensors(return_tensors)

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens a text, or a pair, gets."""
        return len(self.build_inputs_with_special_tokens([], [] if pair else None))

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """`[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]`, as ids."""
        first = [self.cls_token_id, *token_ids_0, self.sep_token_id]
        return first if token_ids_1 is None else [*first, *token_ids_1, self.sep_token_id]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """0 for `[CLS] A [SEP]`, 1 for `B [SEP]`."""
        first = [0] * (len(token_ids_0) + 2)
        return first if token_ids_1 is None else first + [1] * (len(token_ids_1) + 1)

    def get_special_tokens_mask(
        self,
        token_ids_0: list[int],
        token_ids_1: list[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 where `build_inputs_with_special_tokens` puts a special token, 0 elsewhere.

        Args:
            token_ids_0: Ids of the first text.
            token_ids_1: Ids of the second.
            already_has_special_tokens: `token_ids_0` is a whole row; every special token in it counts.
        """
        if already_has_special_tokens:
            special = set(self.all_special_ids)
            return [int(number in special) for number in token_ids_0]
        first = [1, *[0] * len(token_ids_0), 1]
        return first if token_ids_1 is None else [*first, *[0] * len(token_ids_1), 1]

    def _encode_samples(self, samples: list[Sample], offsets: bool) -> Iterable[tuple[Encoded, Encoded | None]]:
        """All texts go through the engine in one call, which may work on them in parallel."""
        found = iter(self.engine.encode([text for s in samples for texts in s if texts for text in texts], offsets))
        for first, second in samples:
            yield (
                _joined([next(found) for _ in first]),
                None if second is None else _joined([next(found) for _ in second]),
            )

    def _row(
        self, first: Encoded, second: Encoded | None, add_special: bool, how: str, limit: int | None
    ) -> dict[str, list[Any]]:
        added = self.num_special_tokens_to_add(second is not None) if add_special else 0
        room = len(first.ids) + len(second.ids if second else []) if limit is None else limit - added
        if room < 0:
            raise ValueError(f"max_length: expected at least {added}, the special tokens alone, got {limit}")
        keep = kept_lengths(len(first.ids), len(second.ids) if second else 0, room, how)
        texts = [self._cut(text, length) for text, length in zip((first, second), keep, strict=True) if text]
        return self._assembled(texts, add_special)

    def _cut(self, text: Encoded, length: int) -> Encoded:
        kept = slice(len(text.ids) - length, None) if self.truncation_side == "left" else slice(length)
        return Encoded(text.ids[kept], text.offsets and text.offsets[kept])

    def _assembled(self, texts: list[Encoded], add_special: bool) -> dict[str, list[Any]]:
        parts = [text.ids for text in texts]
        spans = [text.offsets or [] for text in texts]
        if add_special:
            ids = self.build_inputs_with_special_tokens(*parts)
            types = self.create_token_type_ids_from_sequences(*parts)
            special = self.get_special_tokens_mask(parts[0], parts[1] if len(parts) > 1 else None)
            offsets = [(0, 0), *(span for text in spans for span in [*text, (0, 0)])]
        else:
            ids = [number for part in parts for number in part]
            types = [place for place, part in enumerate(parts) for _ in part]
            special = [0] * len(ids)
            offsets = [span for text in spans for span in text]
        return {
            "input_ids": ids,
            "token_type_ids": types,
            "attention_mask": [1] * len(ids),
            "special_tokens_mask": special,
            "offset_mapping": offsets,
        }

    def _fill(self) -> dict[str, Any]:
        return {
            "input_ids": self.pad_token_id,
            "token_type_ids": self.pad_token_type_id,
            "attention_mask": 0,
            "special_tokens_mask": 1,
            "offset_mapping": (0, 0),
        }

    def _limit(self, max_length: int | None) -> int | None:
        limit = self.model_max_length if max_length is None else max_length
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            raise ValueError(f"max_length: expected a number of tokens, got {max_length!r}")
        return limit if limit < _NO_LENGTH else None

    def _padded_length(self, max_length: int | None) -> int:
        limit = self._limit(max_length)
        if limit is None:
            raise ValueError("max_length: padding='max_length' needs one, and this tokenizer has no model_max_length")
        return limit


def check_side(padding_side: str | None) -> None:
    """Refuse padding on the left.

    Raises:
        ValueError: The side is not "right".
    """
    if padding_side not in (None, "right"):
        raise ValueError(
            f"padding_side: expected 'right', got {padding_side!r}; ALBERT counts positions from the left, padding"
            " there would move the text to other positions"
        )


def _joined(texts: list[Encoded]) -> Encoded:
    if len(texts) == 1:
        return texts[0]
    spans = [span for text in texts for span in text.offsets or []]
    return Encoded([number for text in texts for number in text.ids], spans)


def _rows_of(encoded: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, list[Any]]], bool]:
    """Encodings as rows of lists, and whether they are a batch."""
    if not isinstance(encoded, Mapping):
        rows = [{name: _as_list(value) for name, value in row.items()} for row in encoded]
        batched = True
    else:
        columns = {name: _as_list(value) for name, value in encoded.items()}
        ids = columns.get("input_ids", [])
        batched = bool(ids) and isinstance(ids[0], list)
        rows = [columns]
        if batched:
            rows = [{name: column[place] for name, column in columns.items()} for place in range(len(ids))]
    if missing := [row for row in rows if "input_ids" not in row]:
        raise ValueError(f"encoded_inputs: expected 'input_ids' in every row, got {', '.join(missing[0]) or 'nothing'}")
    return rows, batched


def _as_list(value: Any) -> Any:
    value = value.numpy() if hasattr(value, "numpy") else value
    return value.tolist() if hasattr(value, "tolist") else value
