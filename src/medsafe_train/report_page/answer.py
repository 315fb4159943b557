"""What a reader came for: one sentence and four figures, taken from report.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsafe_train.evidence import pooled
from medsafe_train.report_page import words

# kind, heading, and the metrics in order of preference: how it begins, what it counts, whether more is better, the clause
MAIN: tuple[tuple[str, str, tuple[tuple[str, str, bool, str], ...]], ...] = (
    (
        "harmfulness",
        "Harm",
        (
            (
                "harmful_rate",
                "harmful requests answered harmfully",
                False,
                "answers {share} of {n} harmful requests harmfully",
            ),
            ("refusal_rate", "harmful requests refused", True, "refuses {share} of {n} harmful requests"),
        ),
    ),
    (
        "over_refusal",
        "Over-refusal",
        (("refusal_rate", "harmless requests refused", False, "turns away {share} of {n} harmless ones"),),
    ),
    (
        "robustness",
        "Robustness",
        (("attack_success_rate_", "attacks that succeed", False, "gives in to {share} of {n} attacks"),),
    ),
    (
        "medical_qa",
        "Medical QA",
        (
            (
                "accuracy",
                "medical questions answered right",
                True,
                "gets {share} of {n} medical questions right in {of}",
            ),
        ),
    ),
)


@dataclass(frozen=True)
class Card:
    """One of the four figures: before, after and their paired difference, each with its 95 % interval."""

    kind: str
    heading: str
    what: str
    clause: str = "{share}"
    """what the sentence says of it"""
    place: str = ""
    """`<kind>/<set>/<metric>`; empty where the run did not measure it"""
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    delta: dict[str, Any] | None = None
    more_is_better: bool = True

    @property
    def set(self) -> str:
        """The prompt set or the benchmark, and the attack where there is one."""
        _, name, metric = self.place.split("/") if self.place else ("", "", "")
        if of := (self.after or self.before or {}).get("of"):
            return ", ".join(of)
        way = metric.removeprefix("attack_success_rate_")
        return f"{name}, {words.way(way)}" if way != metric else name

    @property
    def change(self) -> str:
        """`better`, `worse` or `open`, by whether the interval of the difference leaves out zero."""
        if not self.delta or not self.delta["ci95"]:
            return "open"
        low, high = self.delta["ci95"]
        if low <= 0 <= high:
            return "open"
        return "better" if (low > 0) == self.more_is_better else "worse"


def cards(report: dict[str, Any]) -> list[Card]:
    """The four figures: of each kind the first set in the run's order, of attacks the one that succeeds most, of benchmarks all
    together where they were pooled."""
    return [_card(report, kind, heading, metrics) for kind, heading, metrics in MAIN]


def _card(report: dict[str, Any], kind: str, heading: str, metrics: tuple[tuple[str, str, bool, str], ...]) -> Card:
    figures = report["figures"]
    last = "after" if any(key.startswith("after/") for key in figures) else "before"
    for metric, what, more, clause in metrics:
        found = [key.partition("/")[2] for key in figures if key.startswith(f"{last}/{kind}/") and _is(key, metric)]
        if found := [place for place in found if figures[f"{last}/{place}"]["value"] is not None]:
            place = min(found, key=lambda place: _order(report, place, figures[f"{last}/{place}"]["value"]))
            before, after, delta = (figures.get(f"{arm}/{place}") for arm in ("before", "after", "delta"))
            of = (before or after or {}).get("of", [])
            what += f", {len(of)} benchmarks pooled" if of else ""
            return Card(kind, heading, what, clause, place, before, after, delta, more)
    return Card(kind, heading, metrics[-1][1], metrics[-1][3])


def _is(key: str, metric: str) -> bool:
    found = key.rpartition("/")[2]
    if metric.endswith("_"):  # whatever the attack, but not the same requests without one, and not a part of them
        return found.startswith(metric) and found != f"{metric}plain" and "_principle_" not in found
    return found == metric


def _order(report: dict[str, Any], place: str, value: float) -> tuple[float, int]:
    kind, name, _ = place.split("/")
    sets = [pooled.NAME, *(s["name"] for s in report["prompt_sets"] + report["benchmarks"])]
    return (-value if kind == "robustness" else 0.0, sets.index(name) if name in sets else len(sets))


def sentence(report: dict[str, Any], found: list[Card]) -> str:
    """The answer in one sentence, of what was measured."""
    said = [_clause(card) for card in found if card.before or card.after]
    model = Path(report["model"]["path"]).name or report["model"]["path"]
    if not said:
        return f"Nothing was measured of {model}."
    listed = (", ".join(said[:-1]) + " and " if len(said) > 1 else "") + said[-1]
    text = f"After fine-tuning, {model} {listed}." if any(card.after for card in found) else f"{model} {listed}."
    unsure = [pooled.beside_chance(card.before)[0] for card in found if card.before]
    who = "The base model" if any(card.delta for card in found) else "It"
    return " ".join([text, *(f"{who} {said}." for said in unsure if said)])


def _clause(card: Card) -> str:
    before, after = (_share(figure) for figure in (card.before, card.after))
    shown = card.after or card.before or {}
    of = shown.get("of", [])
    where = f"{len(of)} benchmarks pooled" if of else card.set
    text = card.clause.format(share=after or before, n=shown.get("n", 0), of=where)
    return f"{text} (before: {before})" if after and before else text


def _share(figure: dict[str, Any] | None) -> str:
    return "" if figure is None or figure["value"] is None else f"{100 * figure['value']:.0f}\u00a0%"
