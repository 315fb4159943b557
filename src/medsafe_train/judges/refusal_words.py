"""Weighs the words and pairs of words of many answers at once, by where they stand.

Classes of words (refusal_letters) know the ways to decline that their author knew; the words themselves are weighed
with what was learned from labelled answers. Words stand in the first sentence (1), in the next three (2), or after
(3), and each place has its own weights. Longer stretches weigh no more than short ones: a warning is not outvoted by
the length of what follows. Words of the request are one and the same word here (`@`), whatever they are: its subject
says nothing about its answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, count
from pathlib import Path

import numpy as np

# How much the three places count, and how many sentences and words a sentence are read.
PLACES = (3.9, 3.0, 1.5)
SENTENCES, WORDS = 14, 30
STORED = Path(__file__).with_suffix(".tsv")

# A word, or two that follow each other.
Said = str | tuple[str, str]
# What each weighs in the first, the second and the third place.
Table = tuple[dict[Said, float], dict[Said, float], dict[Said, float]]
# An answer's words as they are or with the request's own as one, with "." for a sentence's end.
Reading = list[str]

# A word's number has so many bits in a key; the first of a pair is shifted by them, the reading and its place by twice as many:
# enough for a million different words, and as many readings, at a time.
_BITS = 20
_PAIR = (1 << 2 * _BITS) - 1


@dataclass(frozen=True)
class Weights:
    """A table as arrays: `keys` in order, each a pair of numbers of words, and `values` by key and place."""

    numbers: dict[str, int]
    keys: np.ndarray
    values: np.ndarray


def readings(said: list[str], request: Iterable[str]) -> list[Reading]:
    """An answer's words beside its request, where it takes up any of its words, and as they are."""
    asked = {token for token in request if len(token) > 3}.intersection(said)
    return [["@" if token in asked else token for token in said], said] if asked else [said]


def places(reading: Reading) -> list[set[Said]]:
    """The words and pairs of words in each of the three places."""
    found: list[set[Said]] = [set(), set(), set()]
    numbers, keys, at = _read([reading], {".": 0})
    words = dict(zip(numbers.values(), numbers, strict=True))
    for key, where in zip(keys.tolist(), at.tolist(), strict=True):
        one, other = words[key >> _BITS], key & ((1 << _BITS) - 1)
        found[where].add((one, words[other]) if other else one)
    return found


def scale(place: int, count: int) -> float:
    """What one of `count` words counts in a place."""
    return PLACES[place] / count**0.5 if count else 0.0


def weigh(answers: Sequence[Sequence[Reading]], weights: Weights) -> list[float]:
    """The words' share of each answer's log-odds that it declines.

    It is the mean over an answer's readings, beside its request and as it is: requests have more forms than were seen.
    """
    if not answers:
        return []
    each = [len(readings) for readings in answers]
    _, keys, at = _read([reading for readings in answers for reading in readings], weights.numbers)
    known = np.searchsorted(weights.keys, keys)
    known[weights.keys[known] != keys] = len(weights.keys) - 1
    cells = 3 * sum(each)
    counts = np.bincount(at, minlength=cells)
    sums = np.bincount(at, weights.values[known, at % 3], cells)
    odds = (sums / np.sqrt(np.maximum(counts, 1))).reshape(-1, 3) @ np.array(PLACES)
    return (np.add.reduceat(odds, np.cumsum([0, *each[:-1]])) / each).tolist()


def packed(table: Table) -> Weights:
    """A table as arrays; the last key is no word's, and weighs nothing."""
    pairs = {said: (said, "") if isinstance(said, str) else said for said in set().union(*table)}
    words = sorted({word for pair in pairs.values() for word in pair} - {".", ""})
    numbers = {word: number for number, word in enumerate([".", *words])}
    keys = {numbers[one] << _BITS | (numbers[other] if other else 0): said for said, (one, other) in pairs.items()}
    values = [[known.get(keys[key], 0.0) for known in table] for key in sorted(keys)]
    return Weights(numbers, np.array([*sorted(keys), _PAIR + 1]), np.array([*values, [0.0, 0.0, 0.0]]))


@cache
def shipped() -> Weights:
    """The weights as they come with the package; written by benchmarks/refusal_judge.py --write."""
    return packed(stored())


def stored() -> Table:
    """The table in the file: a row a word or pair of words, with hundredths of log-odds for each of the three places."""
    found: Table = ({}, {}, {})
    for line in STORED.read_text("utf-8").splitlines():
        word, *weights = line.split("\t")
        one, _, other = word.partition(" ")
        for known, weight in zip(found, map(int, weights), strict=True):
            if weight:
                known[(one, other) if other else one] = weight / 100
    return found


def _read(readings: Sequence[Reading], numbers: dict[str, int]) -> tuple[dict[str, int], np.ndarray, np.ndarray]:
    """All words by number; the keys that are said, each once a place of a reading; and that place, three a reading."""
    known = defaultdict(count(len(numbers)).__next__, numbers)
    lengths = np.array([len(reading) + 1 for reading in readings])
    ended = chain.from_iterable(chain(reading, ".") for reading in readings)
    said = np.fromiter(map(known.__getitem__, ended), np.int64, lengths.sum())
    at = np.arange(len(said))
    ends = said == 0
    # How many words stand before each in its sentence, and how many sentences that say something in its reading.
    before = at - 1 - np.append(-1, np.maximum.accumulate(np.where(ends, at, -1))[:-1])
    begun = np.append(0, np.cumsum((before == 0) & ~ends))
    sentence = begun[1:] - 1 - np.repeat(begun[np.cumsum(lengths) - lengths], lengths)
    read = ~ends & (before < WORDS) & (sentence < SENTENCES)
    place = 3 * np.repeat(np.arange(len(lengths)), lengths) + (sentence > 0) + (sentence > 3)
    words = (place << _BITS | said) << _BITS
    pairs = words[:-1] | said[1:]
    keys = np.sort(np.concatenate([words[read], pairs[read[:-1] & read[1:]]]))
    # NumPy's own `unique` takes many times as long: it goes by a hash table here.
    keys = keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys
    return known, keys & _PAIR, keys >> 2 * _BITS
