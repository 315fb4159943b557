"""What is in a teacher's reply: a list of requests, or a rating; anything else in it is neither."""

from __future__ import annotations

import re
from typing import NamedTuple

from medsafe_train import prompts

# Raise when a rule here changes: what is trained on is read by them.
VERSION = 1

# Spaces and marks are bounded: a reply may hold ten thousand of either.
_NUMBER = re.compile(r"^[*_#]{0,3}\s?\(?\d{1,3}[.):][*_]{0,3}(?:\s+|(?=[^\W\d]|[\"“‘'*]))(.*)$")
_BULLET = re.compile(r"^(?:[-*•–—▪◦‣+])\s+(.*)$")
_AROUND = re.compile(r"^(?:request|prompt|question|instruction)\s?\d{0,3}\s?[:\-–]\s+", re.IGNORECASE)
# What a model says around a list, or in place of one.
_TALK = re.compile(
    r"^\W*(?:sure\b|certainly\b|of course\b|absolutely\b|okay\b|ok\b|here(?:'s|’s| is| are)\b|below\b|the following\b|(?:please )?note(?::| that)"
    r"|these (?:requests|prompts|examples|are)\b|i hope\b|let me know\b|disclaimer\b|warning\b|each (?:of these|request)\b"
    r"|as an ai\b|i(?:'m|’m| am) (?:sorry|unable|not able)\b|sorry\b|i (?:cannot|can't|can’t|won't|won’t|will not|must decline)\b)",
    re.IGNORECASE,
)
_PAIRS = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "„": "“", "`": "`"}
_ENDS = ".!?…。！？"
# "8", "8.", "**8**", "8/10", "Rating: 8 out of 10"; never 8.5, 7-8, -3, 0 or 11.
_RATING = re.compile(
    r"[\s\"'*_(]*(?:(?:rating|score)\s?[:=]\s?)?[\s*_]*(10|[1-9])(?:\s?(?:/|out of)\s?10)?[\s\"'*_).]*", re.IGNORECASE
)


class Listed(NamedTuple):
    """The requests in a reply, and its other lines."""

    requests: list[str]
    others: list[str]


def listed(text: str, finish_reason: str = "stop") -> Listed:
    """The requests in a numbered list, else in a list of bullets, else in plain lines that end as sentences do.

    A numbered list beats bullets, which then are details; a heading, what is said around a list, a refusal and, where the
    reply was cut off (`length`), an unfinished last line are others. Every line that is not empty is in one of the two.
    """
    lines = [line.strip() for line in _said(text).splitlines() if line.strip()]
    found, others = [], []
    for position, (line, item) in enumerate(zip(lines, _items(lines), strict=True)):
        request = _bare(item)
        cut = finish_reason == "length" and position == len(lines) - 1 and not _ends(request)
        if cut or not re.search(r"[^\W\d_]", request) or request.endswith(":"):
            others.append(line)
        else:
            found.append(request)
    return Listed(found, others)


def rating(text: str, finish_reason: str = "stop") -> int | None:
    """The rating from 1 to 10 that a reply consists of; None for anything else, and for a reply that was cut off."""
    said = _said(text)
    match = _RATING.fullmatch(said) if finish_reason != "length" and len(said) <= 40 else None
    return int(match[1]) if match else None


def _said(text: str) -> str:
    # Some templates open the thinking themselves, so that a reply holds only its end.
    return prompts.clean_reply(text).rpartition("</think>")[2].strip()


def _items(lines: list[str]) -> list[str]:
    # Each line without its mark, empty where it is no item.
    for mark in (_NUMBER, _BULLET):
        found = [mark.match(line) for line in lines]
        if any(found):
            return [match[1] if match else "" for match in found]
    return [line if _ends(line) and not _TALK.search(line) else "" for line in lines]


def _ends(line: str) -> bool:
    return line.rstrip("\"'”’»`*_").endswith(tuple(_ENDS))


def _bare(item: str) -> str:
    # Without marks of emphasis, a label and quotation marks around the whole.
    text = " ".join(re.sub(r"\*\*|__", "", item).split())
    text = _AROUND.sub("", text)
    while len(text) > 1 and _PAIRS.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    return text
