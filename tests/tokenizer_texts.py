"""Texts of our own making, the same in every process: for the tokenizer tests and for the ids stored beside them."""

from __future__ import annotations

import random

CASED = {"do_lower_case": False, "keep_accents": True, "remove_space": False}
OPTIONS = {"default": {}, "cased": CASED, "accents": {"keep_accents": True}}

FRAGMENTS = [
    "[MASK]", "[CLS]", "[SEP]", "<pad>", "<PAD>", "<Unk>", "``", "''", "9,", "1,000,", "12,", "2,3", "x9,", "²,", "٣,",
    "(", ")", '"', "-", ".", "–", "£", "€", "$7.50", "¥3", "%", "…", " ", "  ", "\t", "\n", "\r\n", "\x00", "\x1f",
    "\x7f",
    "\x85", "\u00a0", "\u3000", "\u2028", "\u200b", "\u200d", "\ufeff", "▁", "e\u0301", "\u0300", "Σ", "ΟΔΟΣ", "Ϲ", "𝚺",
    "İ", "ß", "ẞ", "ﬁ", "™", "½", "Ⅳ", "日本", "漢字。", "한국어", "हिन्दी", "العربية", "שלום", "Москва",
    "😀", "👨\u200d👩\u200d👧",
    "the", "Paris", "café", "naïve", "000", "1010101", "aaaa", "'s", "a-b.c", "https://x.org/a?b=1", ",", ",,", "5",
    "said",
]  # fmt: skip
_PLANES = [
    (0x00, 0x7F), (0x80, 0x24F), (0x250, 0x36F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0xDFF), (0xE00, 0x11FF),
    (0x1E00, 0x22FF), (0x2300, 0x2BFF), (0x3000, 0x33FF), (0x4E00, 0x5FFF), (0xAC00, 0xD7A3), (0xF900, 0xFFFF),
    (0x10000, 0x10FFF), (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF), (0xE0000, 0xE01FF),
]  # fmt: skip
_CHINESE = (
    "的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下"
    "以生会自着去之过家学对可她里后小么心多天而能好都然没日于起还发成事只作"
    "当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长"
)


def sentences(count: int, seed: int = 0) -> list[str]:
    """Made-up text with a long tail of words, years and amounts that stand before commas, and every user symbol."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("aeioubdklmnprst", k=draw.randint(2, 8))) for _ in range(600)]
    lines = []
    for _ in range(count):
        picked = [words[min(int(draw.expovariate(0.01)), 599)] for _ in range(8)]
        year, amount = draw.choice([1914, 1990, 1990]), f"{draw.randint(1, 9)},000"
        lines.append(
            f'In {year}, {" ".join(picked)} (£{amount}, €5 – $7.50) "café-{picked[0]}" said Ωmega it\'s {year}, in 7,'
        )
    return lines


def fuzz(count: int, seed: int = 0) -> list[str]:
    """Fragments that tokenizers stumble over, characters of every script, and numbers with commas."""
    draw = random.Random(seed)

    def character() -> str:
        code = draw.randint(*draw.choice(_PLANES))
        return " " if 0xD800 <= code <= 0xDFFF else chr(code)

    def mixed() -> str:
        some = (draw.choice(FRAGMENTS) if draw.random() < 0.6 else character() for _ in range(draw.randint(1, 14)))
        return "".join(some)

    def numbers() -> str:
        ends = [",", ".", "", ";", ", "]
        some = (f"{draw.randint(0, 10 ** draw.randint(1, 9)):,}{draw.choice(ends)}" for _ in range(draw.randint(1, 6)))
        return " ".join(some)

    return [numbers() if draw.random() < 0.15 else mixed() for _ in range(count)]


def wordpiece_vocabulary() -> list[str]:
    """A vocabulary in BERT's manner: Chinese characters, letters, digits, and some pieces of words."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    characters = [*map(chr, range(33, 127)), *dict.fromkeys(_CHINESE), "。", "，", "é", "ß", "σ", "日", "語"]
    words = ["the", "said", "in", "it", "was", "paris", "Paris", "cafe", "café", "ing", "ed", "er", "un", "99", "00"]
    whole = list(dict.fromkeys([*characters, *words]))
    return [*special, *whole, *(f"##{piece}" for piece in whole if piece.isalnum())]


def chinese(count: int, seed: int = 0) -> list[str]:
    """Chinese characters, some of them unknown, among words and the fragments of `fuzz`."""
    draw = random.Random(seed)
    parts = [*_CHINESE, *"日語。，龘", " ", "the", "Said", "walking", "PARIS", "café", "[MASK]", "99", "unsaid"]
    return ["".join(draw.choices(parts, k=draw.randint(1, 20))) + text for text in fuzz(count, seed)]
