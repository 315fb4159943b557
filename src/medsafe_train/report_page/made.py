"""How a run was made, as the page's last section: judge, data, training, settings, versions, time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from medsafe_train import measured
from medsafe_train.progress import duration

SETS = (
    ("prompt_sets", "evaluated"),
    ("benchmarks", "evaluated"),
    ("training_sets", "trained on"),
    ("validation_sets", "tried for the strength"),
)


@dataclass(frozen=True)
class Section:
    """A heading with terms and their values, or with a table; `folded` where few will want to read it."""

    name: str
    title: str
    terms: list[tuple[str, str]] = field(default_factory=list)
    heads: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)
    folded: bool = False


def sections(report: dict[str, Any], seconds: dict[str, float], joules: dict[str, float]) -> list[Section]:
    """What the report knows of how it came about, in the page's order; what it does not know is left out."""
    found = [
        Section(
            "model", "Model", flat(report["model"] | ({"adapter": report["adapter"]} if report.get("adapter") else {}))
        ),
        Section("judge", "Judge", _judge(report["judge"]) if measured.judged(report) else []),
        Section("training", "Training", _training(report) if report.get("finetune") else []),
        Section("data", "Data", heads=("set", "items", "licence", "source", "sha256"), rows=_data(report)),
        Section("time", "Time and energy" if joules else "Time", _spent(seconds, joules)),
        Section("versions", "Versions", flat(report["versions"])),
        Section("settings", "Settings", flat(report["settings"]), folded=True),
        Section("artifacts", "Artifacts", flat(report["artifacts"]), folded=True),
    ]
    return [section for section in found if section.terms or section.rows]


def flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested values as (dotted name, text)."""
    found: list[tuple[str, str]] = []
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            found += flat(inner, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", text(inner)))
    return found


def text(value: Any) -> str:
    """A setting's value for a reader."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(text(inner) for inner in value) or "none"
    return "none" if value == {} else str(value)


def _judge(judge: dict[str, Any]) -> list[tuple[str, str]]:
    # In words it is easier to read than as a table of tables.
    known = {key: value for key, value in judge.items() if key not in ("validation", "validation_in_words")}
    if judge.get("validation_in_words"):
        return [*flat(known), *(("validation", sentence) for sentence in judge["validation_in_words"])]
    if not judge.get("validation"):
        return [*flat(known), ("validation", "not measured in this run")]
    return flat(judge)


def _training(report: dict[str, Any]) -> list[tuple[str, str]]:
    found = [("seed", text(report["settings"]["seed"]))]
    for key, said in (
        ("demonstrations", "demonstrations"),
        ("finetune", "trained on"),
        ("merge_check", "merged checkpoint"),
    ):
        found += [(f"{said}, {name}", value) for name, value in flat(report.get(key) or {})]
    if near := report.get("near_copies"):
        shown = f"{near['found']} found, {near['dropped']} training requests left out"
        found.append(("near-copies of evaluated prompts", shown))
    if report.get("scale"):
        found.append(("strength published", f"{report['scale']['chosen']:g} of the trained adapter"))
    return found


def _data(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row for each set, with all that it was used for: one file may be trained on, chosen on and evaluated, each a part."""
    found: dict[tuple[str, ...], list[str]] = {}
    for key, use in SETS:
        for s in report.get(key, []):
            hashes = " ".join(f"{file} {digest}" for file, digest in s["sha256"].items())
            found.setdefault((s["name"], s["licence"], s["citation"], hashes), []).append(f"{s['n']} {use}")
    return [(name, ", ".join(uses), *origin) for (name, *origin), uses in found.items()]


def _spent(seconds: dict[str, float], joules: dict[str, float]) -> list[tuple[str, str]]:
    if not seconds:
        return []
    told = [(stage, _took(took, joules.get(stage))) for stage, took in seconds.items()]
    return [*told, ("together", _took(sum(seconds.values()), sum(joules.values()) if joules else None))]


def _took(seconds: float, joules: float | None) -> str:
    return duration(seconds) + ("" if joules is None else f", {joules / 3600:.1f} Wh of the GPUs")
