"""Finds requests that are near-copies of one another, between training and evaluation and inside one list.

Two requests are compared in four ways, from the strongest finding to the weakest: `exact`, `normalised` (equal but for
case, punctuation, white space and Unicode compatibility forms, NFKC), `trigrams` (Jaccard of the sets of three words
in a row) and `words` (Jaccard of the sets of words). The same words in the same order say more than the same words, so
a pair that both find is listed under `trigrams`.

What a word is: for `words`, a run of letters and digits (`patient's` is `patient` and `s`, `low-income` two words); for
`trigrams`, where it would stretch the sequence, apostrophes and hyphens inside a word belong to it. With these two,
MedSafetyBench's test split (arXiv 2403.03744) has 39 of 900 requests at a word Jaccard of 0.8 or more from a training
request, 161 at 0.6, and 43 at a trigram Jaccard of 0.6; runs of letters and digits would give 47 trigrams, whole words
154 words. Texts without spaces between words are compared by `exact` and `normalised` only.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import ceil

HOWS = ("exact", "normalised", "trigrams", "words")

_RUN = re.compile(r"[^\W_]+")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")

Items = list[tuple[str, str]]
Pairs = dict[tuple[int, int], float]
Rank = dict[str, tuple[int, str]]


@dataclass(frozen=True)
class NearCopy:
    """A request that is trained on and one that is asked in an evaluation, nearly the same."""

    training: str
    """id of the training request"""
    evaluation: str
    """id of the evaluation prompt"""
    how: str
    """exact, normalised, trigrams or words"""
    value: float
    """1 for exact and normalised, else the Jaccard similarity"""


def find(training: Items, evaluation: Items, threshold: float = 0.6) -> list[NearCopy]:
    """Every pair of a training request and an evaluation prompt, both `(id, text)`, that are near-copies.

    A pair is listed once, with its strongest finding; ordered as `evaluation`, then as `training`. `threshold` is the
    least Jaccard similarity, in (0, 1].
    """
    _check(threshold)
    texts, asked = [text for _, text in training], [text for _, text in evaluation]
    found: dict[tuple[int, int], tuple[str, float]] = {}
    for how, features in (("words", words), ("trigrams", trigrams)):  # the stronger finding overwrites the weaker
        found.update((pair, (how, value)) for pair, value in _join(texts, asked, features, threshold).items())
    found.update((pair, ("normalised", 1.0)) for pair in _equal(texts, asked, normalised))
    found.update((pair, ("exact", 1.0)) for pair in _equal(texts, asked, str))
    return [
        NearCopy(training[one][0], evaluation[other][0], *found[one, other])
        for one, other in sorted(found, key=lambda pair: (pair[1], pair[0]))
    ]


def within(items: Items, threshold: float) -> list[tuple[str, str, float]]:
    """(id kept, id dropped, similarity) for every item of one list that is a near-copy of an earlier one.

    The first of them is kept; what was dropped drops nothing itself. The similarity is the larger of word and trigram
    Jaccard, 1 for texts that are equal after normalisation; where several kept items are near, the nearest is named.
    """
    _check(threshold)
    texts = [text for _, text in items]
    near: dict[int, dict[int, float]] = defaultdict(dict)
    equal = ((pair, 1.0) for pair in _equal(texts, texts, normalised))
    joined = (pair for features in (words, trigrams) for pair in _join(texts, texts, features, threshold).items())
    for (one, other), value in (*equal, *joined):
        if one < other:
            near[other][one] = max(value, near[other].get(one, 0.0))
    dropped: dict[int, tuple[int, float]] = {}
    for later in sorted(near):
        kept = {first: value for first, value in near[later].items() if first not in dropped}
        if kept:
            first = max(kept, key=lambda position: (kept[position], -position))
            dropped[later] = (first, kept[first])
    return [(items[first][0], items[later][0], value) for later, (first, value) in dropped.items()]


def counts(found: list[NearCopy]) -> dict[str, int]:
    """How many evaluation prompts have a near-copy, by their strongest finding."""
    strongest: dict[str, str] = {}
    for copy in found:
        before = strongest.get(copy.evaluation, HOWS[-1])
        strongest[copy.evaluation] = min(before, copy.how, key=HOWS.index)
    number = Counter(strongest.values())
    return {how: number[how] for how in HOWS if number[how]}


def normalised(text: str) -> str:
    """A text without case, punctuation and differences of white space and Unicode form; punctuation alone stays."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_RUN.findall(plain)) or plain.strip()


def words(text: str) -> frozenset[str]:
    """The set of a text's words, runs of letters and digits."""
    return frozenset(_RUN.findall(unicodedata.normalize("NFKC", text).casefold()))


def trigrams(text: str) -> frozenset[str]:
    """The set of three words in a row; empty for a text of fewer words."""
    row = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return frozenset(" ".join(three) for three in zip(row, row[1:], row[2:], strict=False))


def _check(threshold: float) -> None:
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold {threshold} must be in (0, 1]")


def _equal(ones: list[str], others: list[str], form: Callable[[str], str]) -> Iterator[tuple[int, int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for position, text in enumerate(others):
        places[form(text)].append(position)
    for one, text in enumerate(ones):
        yield from ((one, other) for other in places.get(form(text), ()))


def _join(ones: list[str], others: list[str], features: Callable[[str], frozenset[str]], threshold: float) -> Pairs:
    """The pairs whose feature sets have at least this Jaccard similarity.

    Prefix filtering (Chaudhuri et al., ICDE 2006; Bayardo et al., WWW 2007): with features in one order, rarest first,
    sets of that similarity share one among the first few, so only these are indexed and looked up. Of one list joined
    with itself, each pair is found once, the earlier item first.
    """
    left = [features(text) for text in ones]
    if ones is others:
        return _scan(left, left, _rarest_first(left), threshold)
    right = [features(text) for text in others]
    rank = _rarest_first([*left, *right])
    if len(left) <= len(right):
        return _scan(left, right, rank, threshold)
    turned = _scan(right, left, rank, threshold)  # the shorter list is indexed: fewer places to look at
    return {(one, other): value for (other, one), value in turned.items()}


def _scan(indexed: list[frozenset[str]], scanned: list[frozenset[str]], rank: Rank, threshold: float) -> Pairs:
    alone = indexed is scanned
    index: dict[str, list[int]] = defaultdict(list)
    for one, held in enumerate([] if alone else indexed):
        for feature in _prefix(held, rank, threshold):
            index[feature].append(one)
    pairs: Pairs = {}
    for other, held in enumerate(scanned):
        prefix = _prefix(held, rank, threshold)
        for one in {one for feature in prefix for one in index.get(feature, ())}:
            value = _jaccard(indexed[one], held, threshold)
            if value >= threshold:
                pairs[one, other] = value
        for feature in prefix if alone else ():
            index[feature].append(other)
    return pairs


def _rarest_first(sets: Iterable[frozenset[str]]) -> Rank:
    number = Counter(feature for held in sets for feature in held)
    return {feature: (n, feature) for feature, n in number.items()}


def _prefix(held: frozenset[str], rank: Rank, threshold: float) -> list[str]:
    # Whoever shares ceil(t·n) of n features with this set shares one of its first n - ceil(t·n) + 1.
    return sorted(held, key=rank.__getitem__)[: len(held) - ceil(threshold * len(held) - 1e-9) + 1] if held else []


def _jaccard(one: frozenset[str], other: frozenset[str], threshold: float) -> float:
    small, large = sorted((len(one), len(other)))
    if small < threshold * large - 1e-9:  # sizes so different cannot reach it
        return 0.0
    shared = len(one & other)
    return shared / (small + large - shared)
