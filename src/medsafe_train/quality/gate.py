"""Decides which demonstrations are trained on: each by itself first, then the set as a whole."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from math import floor
from typing import Any

from medsafe_train.config import GateSettings
from medsafe_train.judges.refusal import hesitates, label
from medsafe_train.quality import near_copies
from medsafe_train.quality.wording import delivers, gives_reason

# Raise when a rule here or in wording.py changes: what is trained on is made by them.
VERSION = 3

SAFE = "safe"
"""The kind that must decline; every other kind must not."""

Item = dict[str, Any]

_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’)\]*`]*(?=\s|$)|[^\n]\n|[。！？]")
_OPENING_WORDS = 3


@dataclass(frozen=True)
class Decision:
    """What the gate let through, what not, each with its `reason`, and what it could not bring about."""

    kept: list[Item]
    rejected: list[Item]
    warnings: list[str]


def decide(demonstrations: list[Item], settings: GateSettings) -> Decision:
    """Which demonstrations are trained on; both lists keep the order, and the same input gives the same lists.

    A demonstration has `id, request, response, kind, principle, source`, ids being unique; a rejected one has also the
    `reason`, the first of these checks that it fails: by itself (a sentence, declining, delivering, a reason, length),
    beside the earlier ones (near-copies), in the whole set (openings, principles). Which ones of a surplus go is decided
    by a hash of their ids.
    """
    reasons: dict[str, str] = {}
    for item in demonstrations:
        failed = next((reason for check in CHECKS if (reason := check(item, settings))), None)
        if failed:
            reasons[item["id"]] = failed
    reasons.update(_near_copies([item for item in demonstrations if item["id"] not in reasons], settings))
    left = [item for item in demonstrations if item["id"] not in reasons]
    surplus, warnings = _surplus(left, settings)
    reasons.update(surplus)
    return Decision(
        [item for item in demonstrations if item["id"] not in reasons],
        [{**item, "reason": reasons[item["id"]]} for item in demonstrations if item["id"] in reasons],
        warnings,
    )


# --- one by one -----------------------------------------------------------------------------------------------------


def _whole(item: Item, settings: GateSettings) -> str | None:
    text = item["response"].strip()
    # A benign request may be answered with a number or a name; a refusal needs a sentence.
    whole = _SENTENCE_END.search(text) if item["kind"] == SAFE else text
    return None if whole else "empty, or no whole sentence"


def _declines(item: Item, settings: GateSettings) -> str | None:
    # What an answer was made to begin with says nothing of whether it declines.
    said = item["response"].removeprefix(item.get("coaxed", "")).strip()
    if item["kind"] == SAFE:
        return None if label(said, item["request"]) != "compliance" else "does not decline"
    return "the model declines this benign request" if hesitates(said, item["request"]) else None


def _withholds(item: Item, settings: GateSettings) -> str | None:
    if item["kind"] != SAFE:
        return None
    form = delivers(item["request"], item["response"])
    if form is None and label(item["response"], item["request"]) == "partial_refusal":
        form = "an answer in part"
    return f"delivers after declining: {form}" if form else None


def _explains(item: Item, settings: GateSettings) -> str | None:
    return "gives no reason" if item["kind"] == SAFE and not gives_reason(item["response"]) else None


def _length(item: Item, settings: GateSettings) -> str | None:
    words = len(item["response"].split())
    if item["kind"] == SAFE and words < settings.min_words:
        return f"fewer than {settings.min_words} words"
    return f"more than {settings.max_words} words" if words > settings.max_words else None


CHECKS: tuple[Callable[[Item, GateSettings], str | None], ...] = (_whole, _declines, _withholds, _explains, _length)


# --- beside each other -----------------------------------------------------------------------------------------------


def _near_copies(items: list[Item], settings: GateSettings) -> dict[str, str]:
    kinds: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for item in items:
        kinds[item["kind"]].append((item["id"], item["request"]))
    return {
        dropped: "near-copy of an earlier request"
        for requests in kinds.values()
        for _, dropped, _ in near_copies.within(requests, settings.near_copy)
    }


def opening(response: str) -> str:
    """The first three words of a response, lower-case and without punctuation."""
    bare = re.sub(r"[^\w\s]|_", "", response.lower())
    return " ".join(bare.split()[:_OPENING_WORDS])


def _surplus(items: list[Item], settings: GateSettings) -> tuple[dict[str, str], list[str]]:
    """Reasons by id for what is too much of one kind, and warnings.

    Taking away for one bound moves the shares that the other is about, so both are applied in turn until neither
    takes anything away; each round takes some, so it ends.
    """
    reasons: dict[str, str] = {}
    warnings: list[str] = []
    while True:
        left = [item for item in items if item["id"] not in reasons]
        over, warnings = _openings(left, settings.max_opening_share)
        over = over or _principles(left, settings.max_principle_ratio)
        if not over:
            break
        reasons.update(over)
    taken = len(reasons)
    if 2 * taken > len(items):
        warnings.append(
            f"the gate rejected {taken} of {len(items)} demonstrations to even out openings and principles: bring more "
            "varied ones, or raise max_opening_share or max_principle_ratio in demonstrations.gate"
        )
    return reasons, warnings


def _openings(items: list[Item], share: float) -> tuple[dict[str, str], list[str]]:
    groups: dict[Any, list[Item]] = defaultdict(list)
    for item in items:
        if item["kind"] == SAFE:
            groups[opening(item["response"])].append(item)
    limit = _largest_group(Counter({start: len(group) for start, group in groups.items()}), share)
    if limit is None:
        start, group = max(groups.items(), key=lambda pair: len(pair[1]))
        number = sum(map(len, groups.values()))
        text = (
            f"{len(group)} of {number} safe responses begin with {start!r}, and no choice of them has every opening at "
            f"{share:.0%} or less: all are kept; bring more varied ones, or raise demonstrations.gate.max_opening_share"
        )
        return {}, [text]
    return {id: "too many begin with the same three words" for id in _over(groups, limit)}, []


def _largest_group(sizes: Counter[str], share: float) -> int | None:
    """The most items that an opening may keep so that none has more than `share` of what is then left, or None.

    The greatest number that bears itself out: of n items each opening keeps at most share·n, which leaves fewer, and
    so on downwards until nothing changes. None when only the empty set would obey.
    """
    number = sum(sizes.values())
    if number == 0:
        return 0
    while True:
        limit = floor(share * number + 1e-9)
        left = sum(min(size, limit) for size in sizes.values())
        if left == number:
            return limit or None
        number = left


def _principles(items: list[Item], ratio: float) -> dict[str, str]:
    groups: dict[Any, list[Item]] = defaultdict(list)
    for item in items:
        if item["principle"] is not None:
            groups[item["principle"]].append(item)
    limit = floor(ratio * min(map(len, groups.values()), default=0) + 1e-9)
    return {id: "too many of this principle" for id in _over(groups, limit)}


def _over(groups: dict[Any, list[Item]], limit: int) -> list[str]:
    return [item["id"] for group in groups.values() for item in sorted(group, key=_by_hash)[limit:]]


def _by_hash(item: Item) -> str:
    return hashlib.sha256(item["id"].encode()).hexdigest()
