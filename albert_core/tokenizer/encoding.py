"""Text in, model inputs out: the calls of a tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from albert_core.tokenizer.batch_encoding import BatchEncoding
from albert_core.tokenizer.engine import Encoded, Places
from albert_core.tokenizer.rows import EncodedSample, RowOptions, Rows, laid_out
from albert_core.tokenizer.text_inputs import Sample, samples_of

__all__ = ["TextEncoding"]


class TextEncoding(Rows):
    """The part of a tokenizer that takes text."""

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Turn text into model inputs: `[CLS] A [SEP]`, or `[CLS] A [SEP] B [SEP]` for a pair.

        A lone surrogate in a text counts as U+FFFD.

        Args:
            text: A text, a list of texts, or a list of pairs; with `is_split_into_words` a list of words or a list
                of such lists.
            text_pair: The second text or texts, in the same form.
            text_target: Texts whose ids become "labels"; alone, they are encoded as `text` would be.
            text_pair_target: The second texts of `text_target`.
            add_special_tokens: Add [CLS] and [SEP].
            padding: True or "longest" pads, on the right, to the longest row, "max_length" to `max_length`.
            truncation: True or "longest_first" shortens the longer text first, "only_first" and "only_second" that one;
                None means "longest_first" if `max_length` is given and `padding` is False, else none.
            max_length: Longest row, in tokens, special tokens included; `model_max_length` if None.
            stride: Tokens that a row shares with the one before, with `return_overflowing_tokens`.
            is_split_into_words: Texts come as lists of words, each word tokenized by itself.
            pad_to_multiple_of: Round the padded length up to a multiple of this.
            padding_side: "right"; see Raises.
            return_tensors: "np", "pt", "tf" or "jax" for arrays [B, S] of that framework; None for lists.
            return_token_type_ids: Include "token_type_ids": 0 for the first text, 1 for the second; None means yes.
            return_attention_mask: Include "attention_mask": 1 for tokens, 0 for padding; None means yes.
            return_overflowing_tokens: What truncation cuts off comes in rows of its own, and
                "overflow_to_sample_mapping" gives the number of each row's text. Of a pair, every stretch of the first
                text meets every stretch of the second.
            return_special_tokens_mask: Include "special_tokens_mask": 1 for added tokens.
            return_offsets_mapping: Include "offset_mapping": start and end of each token in its text (or word), in
                characters, (0, 0) for added tokens. The white space before a word is not part of it.
            return_length: Include "length": the tokens of each row, padding not counted.
            verbose: Accepted; there is nothing to be silent about.

        Returns:
            The inputs; for a single text flat lists, but with `return_tensors` or `return_overflowing_tokens` rows.

        Raises:
            TypeError: Something that is no text.
            ValueError: An argument's value is not one of those above, or padding on the left was asked for: positions
                are absolute and counted from the left, so the model would see another text.
            TokenizerError: The texts cannot be truncated as asked.
            BackendMissing: The framework of `return_tensors` is not installed.
        """
        options = RowOptions(
            add_special_tokens=add_special_tokens,
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            stride=stride,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side,
            return_tensors=return_tensors,
            return_token_type_ids=return_token_type_ids,
            return_attention_mask=return_attention_mask,
            return_overflowing_tokens=return_overflowing_tokens,
            return_special_tokens_mask=return_special_tokens_mask,
            return_offsets_mapping=return_offsets_mapping,
            return_length=return_length,
        )
        if text_target is None:
            return self._inputs(text, text_pair, is_split_into_words, options)
        target = self._inputs(text_target, text_pair_target, is_split_into_words, options)
        if text is None:
            return target
        inputs = self._inputs(text, text_pair, is_split_into_words, options)
        inputs["labels"] = target["input_ids"]
        return inputs

    def prepare_for_model(self, ids: list[int], pair_ids: list[int] | None = None, **options: Any) -> BatchEncoding:
        """As `__call__`, from the ids of one text or two; without offsets and maps.

        Args:
            ids: Ids of the first text.
            pair_ids: Ids of the second.
            **options: As in `__call__`.

        Raises:
            ValueError: As in `__call__`.
        """
        sample = [Encoded(list(part)) for part in (ids, pair_ids) if part is not None]
        return self._batch([sample], None, False, RowOptions(**options))

    def encode(self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **options: Any) -> Any:
        """The "input_ids" of one text or pair; options as in `__call__`."""
        return self(text, text_pair, add_special_tokens=add_special_tokens, **options)["input_ids"]

    def encode_plus(
        self, text: Any, text_pair: Any = None, add_special_tokens: bool = True, **options: Any
    ) -> BatchEncoding:
        """`__call__` for one text or pair, under its old name."""
        return self(text, text_pair, add_special_tokens=add_special_tokens, **options)

    def batch_encode_plus(
        self, batch_text_or_text_pairs: Sequence[Any], add_special_tokens: bool = True, **options: Any
    ) -> BatchEncoding:
        """`__call__` for a list of texts or of pairs, under its old name."""
        return self(list(batch_text_or_text_pairs), add_special_tokens=add_special_tokens, **options)

    def tokenize(self, text: str, pair: str | None = None, add_special_tokens: bool = False) -> list[str]:
        """The pieces of a text, or of a text and its pair; an unknown piece is its own text."""
        samples, _ = samples_of(text, pair, words=False)
        texts = [self.engine.tokenize(each[0]) for each in samples[0] if each is not None]
        return laid_out(texts, add_special_tokens, self.cls_token, self.sep_token)

    def _inputs(self, text: Any, text_pair: Any, words: bool, options: RowOptions) -> BatchEncoding:
        samples, batched = samples_of(text, text_pair, words)
        located = options.return_offsets_mapping or self.engine.draws
        encoded = list(self._encoded(samples, words, located))

        def locate(number: int) -> EncodedSample:
            return encoded[number] if located else next(self._encoded([samples[number]], words, places=True))

        return self._batch(encoded, locate, batched, options)

    def _encoded(self, samples: list[Sample], words: bool, places: bool) -> Iterator[EncodedSample]:
        """All texts go through the engine in one call."""
        texts = [text for sample in samples for given in sample if given is not None for text in given]
        found = iter(self.engine.encode(texts, places))
        for sample in samples:
            parts = ([next(found) for _ in given] for given in sample if given is not None)
            yield [_joined(part) if words else part[0] for part in parts]


def _joined(words: list[Encoded]) -> Encoded:
    """The words of a pre-split text as one."""
    ids = [number for word in words for number in word.ids]
    if any(word.places is None for word in words):
        return Encoded(ids)
    spans = [span for word in words for span in (word.places or ((),))[0]]
    return Encoded(ids, Places(spans, [n for n, word in enumerate(words) for _ in word.ids]))
