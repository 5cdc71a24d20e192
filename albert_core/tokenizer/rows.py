"""From the ids of texts to the rows of a batch: truncation, windows, special tokens, columns, maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

from albert_core.input_checks import count
from albert_core.tokenizer.assembly import PADDING, TRUNCATION, kept_lengths, strategy, windows
from albert_core.tokenizer.batch_encoding import BatchEncoding
from albert_core.tokenizer.engine import Encoded, Places
from albert_core.tokenizer.padding import Padding
from albert_core.tokenizer.sequences import arranged
from albert_core.tokenizer.token_maps import BatchMaps, RowMaps

__all__ = ["EncodedSample", "RowOptions", "Rows", "laid_out"]

EncodedSample = list[Encoded]  # one text or two


@dataclass(frozen=True)
class RowOptions:
    """What a caller wants of the rows; see `TextEncoding.__call__`."""

    add_special_tokens: bool = True
    padding: bool | str = False
    truncation: bool | str | None = None
    max_length: int | None = None
    stride: int = 0
    pad_to_multiple_of: int | None = None
    padding_side: str | None = None
    return_tensors: str | None = None
    return_token_type_ids: bool | None = None
    return_attention_mask: bool | None = None
    return_overflowing_tokens: bool = False
    return_special_tokens_mask: bool = False
    return_offsets_mapping: bool = False
    return_length: bool = False
    verbose: bool = True


class _Row(NamedTuple):
    """Which stretches of which sample's texts stand in a row."""

    sample: int
    parts: list[slice]


class Rows(Padding):
    """The part of a tokenizer that cuts encoded texts to length and lays them out."""

    truncation_side: str
    model_input_names: Sequence[str] = ("input_ids", "token_type_ids", "attention_mask")

    def _batch(
        self,
        samples: list[EncodedSample],
        locate: Callable[[int], EncodedSample] | None,
        batched: bool,
        options: RowOptions,
    ) -> BatchEncoding:
        """Lay out a batch.

        Args:
            samples: Their texts' ids, and places if offsets are wanted.
            locate: Gives a sample with places, for the maps; None where there is no text.
            batched: Several samples; otherwise one, given by itself.
            options: What the caller wants.
        """
        self.padding_side = options.padding_side
        padding, cut = self._strategies(options)
        rows = [row for n, sample in enumerate(samples) for row in self._cut(n, sample, cut, options)]
        columns = [self._columns(row, samples[row.sample], options) for row in rows]
        self._pad_rows(columns, padding, options.max_length, options.pad_to_multiple_of)

        def maps(number: int) -> RowMaps:
            assert locate is not None
            return self._maps(rows[number], locate(rows[number].sample), columns[number]["input_ids"], options)

        lazily = BatchMaps(len(rows), maps) if locate else None
        flat = not batched and not options.return_overflowing_tokens
        if flat:
            return BatchEncoding(columns[0], lazily).convert_to_tensors(options.return_tensors, prepend_batch_axis=True)
        names = columns[0] if columns else self._columns(_Row(0, []), [], options)
        batch = BatchEncoding({name: [row[name] for row in columns] for name in names}, lazily)
        if options.return_overflowing_tokens:
            batch["overflow_to_sample_mapping"] = [row.sample for row in rows]
        return batch.convert_to_tensors(options.return_tensors)

    def _strategies(self, options: RowOptions) -> tuple[str, str]:
        """How rows are padded and how they are cut."""
        if options.stride is not None:
            count("stride", options.stride, 0)
        padding = strategy("padding", options.padding, PADDING)
        truncation = options.truncation
        if truncation is None:
            truncation = options.max_length is not None and options.padding is False
        cut = strategy("truncation", truncation, TRUNCATION)
        length, multiple = options.max_length, options.pad_to_multiple_of
        if "do_not_truncate" != cut and "do_not_pad" != padding and length and multiple and length % multiple:
            raise ValueError(
                f"max_length: expected a multiple of pad_to_multiple_of, {multiple}, where rows are cut and padded,"
                f" got {length}"
            )
        return padding, cut

    def _cut(self, number: int, sample: EncodedSample, how: str, options: RowOptions) -> Iterator[_Row]:
        """The rows of one sample: one, or several where truncation cuts off and the rest is wanted too."""
        lengths = [len(text.ids) for text in sample]
        limit = self._limit(options.max_length) if how != "do_not_truncate" else None
        if limit is None:
            yield _Row(number, [slice(0, length) for length in lengths])
            return
        added = self.num_special_tokens_to_add(len(sample) > 1) if options.add_special_tokens else 0
        if limit < added:
            raise ValueError(f"max_length: expected at least {added}, the special tokens alone, got {limit}")
        kept = kept_lengths(lengths[0], sum(lengths[1:]), limit - added, how)
        stretches = [
            windows(length, keep, options.stride, self.truncation_side, options.return_overflowing_tokens)
            for length, keep in zip(lengths, kept, strict=False)
        ]
        yield from (_Row(number, list(parts)) for parts in _meetings(stretches))

    def _columns(self, row: _Row, sample: EncodedSample, options: RowOptions) -> dict[str, Any]:
        ids = [text.ids[part] for text, part in zip(sample, row.parts, strict=True)]
        special = options.add_special_tokens
        columns: dict[str, Any] = {"input_ids": laid_out(ids, special, self.cls_token_id, self.sep_token_id)}
        size = len(columns["input_ids"])
        if options.return_token_type_ids is not False:
            second = len(ids[1]) + special if len(ids) > 1 else 0
            columns["token_type_ids"] = [0] * (size - second) + [1] * second
        if options.return_attention_mask is not False:
            columns["attention_mask"] = [1] * size
        if options.return_special_tokens_mask:
            columns["special_tokens_mask"] = laid_out([[0] * len(part) for part in ids], special, 1, 1)
        if options.return_offsets_mapping:
            spans = [places.spans for places in _places(row, sample)]
            columns["offset_mapping"] = laid_out(spans, special, (0, 0), (0, 0))
        if options.return_length:
            columns["length"] = size
        return columns

    def _maps(self, row: _Row, sample: EncodedSample, ids: list[int], options: RowOptions) -> RowMaps:
        places, special = _places(row, sample), options.add_special_tokens
        spans = laid_out([each.spans for each in places], special, None, None)
        words = laid_out([each.words for each in places], special, None, None)
        sequences = laid_out([[n] * len(each.words) for n, each in enumerate(places)], special, None, None)
        padding = [None] * (len(ids) - len(spans))
        tokens = [self.engine.tokens[number] for number in ids]
        return RowMaps(tokens, spans + padding, words + padding, sequences + padding)


def _places(row: _Row, sample: EncodedSample) -> list[Places]:
    """Where the tokens of a row's parts stand."""
    located = [(text.places or Places([], []), part) for text, part in zip(sample, row.parts, strict=True)]
    return [Places(places.spans[part], places.words[part]) for places, part in located]


def _meetings(stretches: list[list[slice]]) -> list[tuple[slice, ...]]:
    """Every stretch of the first text with every one of the second, in the tokenizers library's order."""
    every = list(product(*stretches))
    beginning = [parts for parts in every if parts[0] is stretches[0][0]]  # the last to come, but for the very first
    return [every[0], *every[len(beginning) :], *beginning[1:]]


def laid_out(parts: Sequence[Sequence[Any]], special: bool, first: Any, last: Any) -> list[Any]:
    """A row of parts, with a value where special tokens stand if there are any."""
    return arranged(parts, first, last) if special else [value for part in parts for value in part]
