"""Which requests that a model wrote can be used, before anyone rates them: each by itself, beside the others, beside its twin."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from medsafe_train.judges.refusal import label
from medsafe_train.judges.refusal_signs import read
from medsafe_train.quality import near_copies

# Raise when a rule here changes: what is trained on is made by them.
VERSION = 2

LEAST_WORDS, MOST_WORDS, MOST_CHARACTERS = 4, 80, 600
# Jaccard of words. Of the 504 pairs in data/ none is below it, of 504 unrelated pairs out of them 1.6 % reach it.
TOPIC = 0.15

NOT_A_REQUEST = "not a request"
REFUSAL = "a refusal"
LENGTH = f"fewer than {LEAST_WORDS} words, or more than {MOST_WORDS} words or {MOST_CHARACTERS} characters"
REPEATED = "the same as an earlier one"
NEAR_COPY = "near-copy of an earlier one"
EVALUATED = "near-copy of an evaluated prompt"
SAME = "the same as the harmful request"
OFF_TOPIC = "on another topic than the harmful request"

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
# A question to whoever asked, as refusals end with, and none that a request would ask.
_OFFER = re.compile(
    r"(?:would|do) you (?:like|want|prefer)|(?:can|could|may|shall|should) I (?:help|offer|suggest|instead)",
    re.IGNORECASE,
)

Items = list[tuple[str, str]]


@dataclass
class Candidate:
    """A request that a model wrote; `reason` says why it is not used, empty where it is."""

    id: str
    prompt: str
    principle: int | None
    reason: str = ""
    rating: int | None = None


def screen(fresh: list[Candidate], earlier: list[Candidate], near: float, evaluated: Items, threshold: float) -> None:
    """Give each of `fresh` that cannot be used its reason, the first that holds.

    It repeats an earlier one after normalisation, is a near-copy of one (`near`, as near_copies.within has it) or of a
    prompt that is evaluated (`threshold`, as near_copies.find has it), whatever became of the earlier one.
    """
    for candidate in fresh:
        candidate.reason = candidate.reason or alone(candidate.prompt)
    seen = {near_copies.normalised(c.prompt) for c in earlier if _is_request(c)}
    for candidate in _open(fresh):
        text = near_copies.normalised(candidate.prompt)
        candidate.reason = REPEATED if text in seen else ""
        seen.add(text)
    items = [(c.id, c.prompt) for c in [*filter(_is_request, earlier), *_open(fresh)]]
    copies = {dropped for _, dropped, _ in near_copies.within(items, near)}
    _reject(fresh, copies, NEAR_COPY)
    reject_evaluated(fresh, evaluated, threshold)


def reject_evaluated(fresh: list[Candidate], evaluated: Items, threshold: float) -> None:
    """Give near-copies of a prompt that is evaluated their reason."""
    items = [(c.id, c.prompt) for c in _open(fresh)]
    _reject(fresh, {copy.training for copy in near_copies.find(items, evaluated, threshold)}, EVALUATED)


def unread(text: str) -> str:
    """Why a reply or a line in which no request was found cannot be used."""
    return REFUSAL if label(text) != "compliance" else NOT_A_REQUEST


def alone(text: str) -> str:
    """Why a text cannot be used as a request, by itself; empty where it can."""
    if _says_no(text):
        return REFUSAL
    good = LEAST_WORDS <= len(text.split()) <= MOST_WORDS and len(text) <= MOST_CHARACTERS
    return "" if good else LENGTH


def beside(twin: str, harmful: str) -> str:
    """Why a text cannot be the benign twin of a request, before it is rated; empty where it can."""
    if reason := alone(twin):
        return reason
    if near_copies.normalised(twin) == near_copies.normalised(harmful):
        return SAME
    one, other = near_copies.words(twin), near_copies.words(harmful)
    return "" if len(one & other) >= TOPIC * len(one | other) else OFF_TOPIC


def _says_no(text: str) -> bool:
    # The judge weighs answers. A request speaks of refusals and of crimes too, and must not be taken for one by that.
    if any("?" in part and not _OFFER.match(part) for part in _SENTENCE.split(text)):
        return False
    signs = read(text)
    declines = "declines_1" in signs or "declines_2" in signs
    return declines or ("rejects_1" in signs and signs["apology"] > 0)


def _open(candidates: Iterable[Candidate]) -> list[Candidate]:
    return [c for c in candidates if not c.reason]


def _is_request(candidate: Candidate) -> bool:
    return candidate.reason not in (NOT_A_REQUEST, REFUSAL, LENGTH)


def _reject(fresh: list[Candidate], ids: set[str], reason: str) -> None:
    for candidate in _open(fresh):
        if candidate.id in ids:
            candidate.reason = reason
