"""Fits the refusal judge's weights: of its signs, of an answer's words, and of what tells partial refusals apart.

Part of refusal_judge.py, which says how the settings were found and what had been seen by then.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy import sparse
from scipy.optimize import minimize

from medsafe_train.judges import refusal_signs, refusal_words
from medsafe_train.judges.refusal_frame import FRAMES
from medsafe_train.judges.refusal_words import Said, Table

# How strongly weights are held near zero: of signs, and of words. A word is known from this many examples on.
RIDGE, WORD_RIDGE, KNOWN = 2.0, 3.0, 3
SIGNS = refusal_signs.SIGNS | FRAMES
# What tells a refusal that goes on to answer from one that does not.
DELIVERY = ("items", "names", "plain", "plain_share", "code", *(f"{s}_{z}" for s in "nFZ0" for z in "23"))
DELIVERY += (
    "you_can_2",
    "you_can_3",
    "offers_2",
    "turns_1",
    "turns_2",
    "turns_3",
    "not_real_1",
    "not_real_2",
    "not_real_3",
    "draft",
    "declines_1",
)
Tables = tuple[dict[str, float], Table, dict[str, float]]


def fit(rows: list[dict], ridge: float = RIDGE) -> Tables:
    """Weights of signs and of words for refuses or not; and of signs for in part or in full, of those that refuse."""
    refuses, words = together(rows, [row["label"] != "compliance" for row in rows], ridge)
    refused = [row for row in rows if row["label"] != "compliance"]
    partial = logistic(
        refused, [row["label"] == "partial_refusal" for row in refused], dict.fromkeys(DELIVERY, 0), RIDGE
    )
    return refuses, words, partial


def together(rows: list[dict], truth: list[bool], ridge: float) -> tuple[dict[str, float], Table]:
    """Ridge logistic regression over signs, each held to its side, and words: one weight for all places and each."""
    known = _known(rows)
    columns = {name: at for at, name in enumerate([*SIGNS, *known])}
    x = _design(rows, columns)
    hold = np.array([ridge] * len(SIGNS) + [WORD_RIDGE] * len(known) + [0.0])
    sides = [(0 if side > 0 else None, 0 if side < 0 else None) for side in SIGNS.values()]
    bounds = sides + [(None, None)] * (len(known) + 1)
    at = _minimum(x, np.array(truth, float), np.array([row["weight"] for row in rows]), hold, bounds)
    signs = {"bias": round(float(at[-1]), 2)}
    signs |= {name: round(float(at[i]), 2) for name, i in columns.items() if name in SIGNS and abs(at[i]) >= 0.005}
    return signs, _table({name: float(at[columns[name]]) for name in known})


def spelled(said: Said) -> str:
    """A word, or a pair of words with a blank between."""
    return said if isinstance(said, str) else " ".join(said)


def _known(rows: list[dict]) -> list[tuple[int, Said]]:
    seen: Counter[tuple[int, Said]] = Counter()
    for row in rows:
        there = refusal_words.places(row["readings"][0])
        for place, said in enumerate(there):
            seen.update((place, word) for word in said)
        seen.update((-1, word) for word in set().union(*there))
    known = [name for name, count in seen.items() if count >= KNOWN]
    return sorted(known, key=lambda name: (name[0], spelled(name[1])))


def _design(rows: list[dict], columns: dict) -> sparse.csr_matrix:
    values, at, ends = [], [], [0]
    for row in rows:
        cells: Counter = Counter({columns[name]: value for name, value in row["signs"].items() if name in columns})
        for place, said in enumerate(refusal_words.places(row["readings"][0])):
            counts = refusal_words.scale(place, len(said))
            for word in said:
                for name in ((place, word), (-1, word)):
                    if name in columns:
                        cells[columns[name]] += counts
        at += cells.keys()
        values += cells.values()
        ends.append(len(at))
    return sparse.csr_matrix((np.array(values, float), at, ends), shape=(len(rows), len(columns)))


def _minimum(x: sparse.csr_matrix, y: np.ndarray, w: np.ndarray, hold: np.ndarray, bounds: list) -> np.ndarray:
    turned = x.T.tocsr()

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        odds = x @ at[:-1] + at[-1]
        slope = w * (1 / (1 + np.exp(-np.clip(odds, -50, 50))) - y)
        worth = (w * (np.logaddexp(0, odds) - y * odds)).sum() + 0.5 * (hold * at**2).sum()
        return worth, np.append(turned @ slope, slope.sum()) + hold * at

    options = {"maxiter": 150}
    return minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", bounds=bounds, options=options).x


def _table(weights: dict[tuple[int, Said], float]) -> Table:
    """The words' weights by place, with the weight for all places added to each; in hundredths, and none that is nothing."""
    found: Table = ({}, {}, {})
    for word in sorted({word for _, word in weights}, key=spelled):
        for place, known in enumerate(found):
            weight = round(weights.get((place, word), 0.0) + weights.get((-1, word), 0.0), 2)
            if weight:
                known[word] = weight
    return found


def logistic(rows: list[dict], truth: list[bool], signs: dict[str, int], ridge: float) -> dict[str, float]:
    """Ridge logistic regression in which a weight has its sign's side or is zero; accelerated projected gradient."""
    names = ["bias", *signs]
    x = np.array([[1.0, *(row["signs"].get(name, 0.0) for name in signs)] for row in rows])
    y, w = np.array(truth, float), np.array([row["weight"] for row in rows])
    low = np.array([-np.inf, *(0.0 if side > 0 else -np.inf for side in signs.values())])
    high = np.array([np.inf, *(0.0 if side < 0 else np.inf for side in signs.values())])
    hold = np.array([0.0] + [ridge] * len(signs))
    step = 1 / (0.25 * np.linalg.norm((x * w[:, None]).T @ x, 2) + ridge)
    at = ahead = np.zeros(len(names))
    for i in range(1500):
        slope = x.T @ (w * (1 / (1 + np.exp(-x @ ahead)) - y)) + hold * ahead
        to = np.clip(ahead - step * slope, low, high)
        at, ahead = to, to + i / (i + 3) * (to - at)
    return {name: round(float(weight), 2) for name, weight in zip(names, at, strict=True) if abs(weight) >= 0.005}
