"""A tokenizer and a corpus small enough to see through."""

from __future__ import annotations

import numpy as np

from albert_core.corpus import TokenizedCorpus, Vocabulary
from albert_core.tokenizer.engine import Encoded
from albert_core.tokenizer.preprocessing import Preprocessing

PAD, UNK, CLS, SEP, MASK, FIRST = range(6)


class Letters:
    """A tokenizer whose words are letters joined: "ab c" is ▁a b ▁c; other characters vanish."""

    pad_token_id, unk_token_id, cls_token_id, sep_token_id, mask_token_id = PAD, UNK, CLS, SEP, MASK
    all_special_ids = (PAD, UNK, CLS, SEP, MASK)
    pieces = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", *(f"▁{c}" for c in "abcde"), *"abcde", ".")
    preprocess = Preprocessing()
    draws = False

    def __len__(self):
        return len(self.pieces)

    @property
    def engine(self):
        return self

    def to_json(self):
        return "{}"

    def convert_ids_to_tokens(self, ids):
        return [self.pieces[i] for i in ids]

    def encode(self, texts):
        return [Encoded([self.pieces.index(piece) for piece in self._cut(text)]) for text in texts]

    def _cut(self, text):
        found = [("▁" + c if i == 0 else c) for word in text.lower().split() for i, c in enumerate(word)]
        return [piece for piece in found if piece in self.pieces]


def numbered(segment_lengths, words_of=1):
    """A corpus whose n-th token has the id FIRST + n, so that a batch tells where its text came from."""
    lengths = [length for document in segment_lengths for length in document]
    total = sum(lengths)
    corpus = TokenizedCorpus(
        tokens=np.arange(FIRST, FIRST + total, dtype=np.int32),
        segments=np.concatenate([[0], np.cumsum(lengths)]),
        documents=np.concatenate([[0], np.cumsum([len(d) for d in segment_lengths])]),
    )
    begins = np.ones(FIRST + total, bool)
    begins[FIRST:] = np.arange(total) % words_of == 0
    return corpus, Vocabulary(PAD, CLS, SEP, MASK, begins, np.arange(FIRST, FIRST + total))
