"""The card of a set of demonstrations: what made it, what is in it, what was rejected, and what it looks like."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from statistics import median
from typing import Any

from medsafe_train.markdown import inert, line
from medsafe_train.principles import PRINCIPLES
from medsafe_train.quality.gate import SAFE, opening
from medsafe_train.quality.near_copies import HOWS

SAMPLES = 10
OPENINGS = 10
SHOWN = 600
"""Characters of a sample that are shown."""

Item = dict[str, Any]


def card(
    kept: list[Item], rejected: list[Item], near_copies_counts: dict[str, dict[str, int]], about: dict[str, Any]
) -> str:
    """The card as a Markdown page, with whatever a model or a stranger's file wrote inert in it.

    `near_copies_counts` has for each evaluation set what `near_copies.counts` returns; `about` says what made the set,
    as names and values. The same arguments give the same page.
    """
    parts = [
        ["# Demonstrations", "", f"{len(kept)} demonstrations are trained on, {len(rejected)} were rejected."],
        ["## What made them", "", *(f"- {_text(name)}: {_text(value)}" for name, value in about.items())],
        _contents(kept),
        _rejected(rejected),
        _openings(kept),
        _lengths(kept),
        _contamination(near_copies_counts),
        _samples(kept),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _contents(kept: list[Item]) -> list[str]:
    counts: Counter[tuple[str, str]] = Counter()
    for item in kept:
        number = item["principle"]
        principle = "none" if number is None else f"{number} · {PRINCIPLES.get(number, 'unknown')}"
        counts.update([("kind", item["kind"]), ("source", item["source"]), ("principle", principle)])
    fields = ("kind", "source", "principle")
    rows = [(field, value, n) for (field, value), n in counts.items()]
    rows.sort(key=lambda row: (fields.index(row[0]), row[1]))
    return ["## What is in it", "", *_table(("by", "", "demonstrations"), rows)]


def _rejected(rejected: list[Item]) -> list[str]:
    counts = Counter((item["reason"], item["kind"]) for item in rejected)
    rows = [(reason, kind, n) for (reason, kind), n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]
    return ["## Rejected", "", *(_table(("reason", "kind", "demonstrations"), rows) if rows else ["None."])]


def _openings(kept: list[Item]) -> list[str]:
    safe = [opening(item["response"]) for item in kept if item["kind"] == SAFE]
    frequent = sorted(Counter(safe).items(), key=lambda pair: (-pair[1], pair[0]))[:OPENINGS]
    rows = [(f"{start} …", n, f"{n / len(safe):.1%}") for start, n in frequent]
    note = f"The most frequent first three words of the {len(safe)} safe responses, of {len(set(safe))} in all."
    return ["## Openings", "", note, "", *_table(("opening", "safe responses", "share"), rows)]


def _lengths(kept: list[Item]) -> list[str]:
    lengths: dict[str, list[int]] = defaultdict(list)
    for item in kept:
        lengths[item["kind"]].append(len(item["response"].split()))
    rows = [(kind, min(n), f"{median(n):g}", max(n)) for kind, n in sorted(lengths.items())]
    return ["## Lengths", "", "Words of a response.", "", *_table(("kind", "shortest", "median", "longest"), rows)]


def _contamination(counts: dict[str, dict[str, int]]) -> list[str]:
    head = ["## Near-copies in the evaluation", ""]
    if not counts:
        return [*head, "Not looked for: no evaluation set was given."]
    rows = [(name, *(by.get(how, 0) for how in HOWS)) for name, by in counts.items()]
    note = (
        "Prompts of each evaluation set that have a near-copy among the training requests, by their strongest finding."
    )
    return [*head, note, "", *_table(("evaluation set", *HOWS), rows)]


def _samples(kept: list[Item]) -> list[str]:
    chosen = _choose(kept)
    found = [
        f"## {len(chosen)} samples",
        "",
        "Chosen by a hash of the id, half of them safe responses where there are enough.",
    ]
    for item in chosen:
        found += ["", f"**{_text(item['kind'])}** {_text(item['id'])}: {_text(item['request'], SHOWN)}", ""]
        found += [f"> Response: {_text(item['response'], SHOWN)}"]  # a word first: no list can begin
    return found


def _choose(kept: list[Item]) -> list[Item]:
    items = sorted(kept, key=lambda item: hashlib.sha256(item["id"].encode()).hexdigest())
    safe = [item for item in items if item["kind"] == SAFE]
    others = [item for item in items if item["kind"] != SAFE]
    first = safe[: max(SAMPLES // 2, SAMPLES - len(others))]
    return first + others[: SAMPLES - len(first)]


def _table(heads: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    # Words to the left, numbers to the right.
    lines = [[*heads], *([_text(cell) for cell in row] for row in rows)]
    right = [all(row[n][:1].isdigit() for row in lines[1:]) and n > 0 for n in range(len(heads))]
    lines.insert(1, ["---:" if number else "---" for number in right])
    return [f"| {' | '.join(row)} |" for row in lines]


def _text(value: Any, length: int = 200) -> str:
    return inert(line(str(value), length))
