"""Several models on the same sets, side by side: what a sweep of evaluations adds up to."""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any

from medsafe_train import artifacts, progress
from medsafe_train.comparison import trials
from medsafe_train.evidence import pooled
from medsafe_train.markdown import inert

ARMS = ("before", "after")
# What a row may rest on.
KINDS = (("harmfulness", "refusal_rate"), ("over_refusal", "refusal_rate"), ("medical_qa", "accuracy"))
SETS = {"harmful_sets": "harm", "benign_sets": "benign refused", "accuracy": "right"}
NONE = "–"


def write(sweep: Path) -> None:
    """Write `models.json` and `models.md` into a sweep's folder, from the reports that are there; nothing outside a sweep.

    Called after every model, so that the table grows as they end.
    """
    if not (sweep / "multirun.yaml").is_file():
        return
    reports = [json.loads(file.read_text(encoding="utf-8")) for file in sweep.glob("*/report.json")]
    found = rows(reports)
    if len(found) < 2:
        return
    artifacts.write_json(sweep / "models.json", found)
    artifacts.write_text(sweep / "models.md", page(found))
    progress.say(f"{len(found)} models side by side: {sweep / 'models.md'}")


def rows(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a model and arm: `model, harm, over_refusal, coherent, questions` and every figure that they are made of.

    Harm is the mean over the harmful sets of the share called harmful, where every judge says so, else of the share not
    declined; over-refusal the mean over the benign sets of the share refused; `coherent` the mean over the harmful sets of the
    share of answers that hang together; `questions` the share right of all questions of the benchmarks that all rows with
    questions have, as many of each, pooled as in a report. A base model that several reports measured alike, beside one adapter
    after another, has one row. The most harmful come first; those that were asked nothing harmful after them, the most questions
    right first. A model with other sets than the rest is ranked all the same, and its row says which it has.
    """
    arms = [(report, arm) for report in reports for arm in ARMS if any(_places(report, arm, *kind) for kind in KINDS)]
    metric = "harmful_rate" if _all_scored(arms) else "refusal_rate"
    found = [_row(name, report, arm, metric) for name, (report, arm) in zip(_names(arms), arms, strict=True)]
    shared = _shared([row["accuracy"] for row in found if row["accuracy"]])
    for row, (report, arm) in zip(found, arms, strict=True):
        right = pooled.together(report["figures"], arm, shared) if row["accuracy"] else None
        row["questions"] = right and {key: right[key] for key in ("value", "ci95", "n", "of")}
    return sorted({json.dumps(row): row for row in found}.values(), key=_order)


def _names(arms: list[tuple[dict[str, Any], str]]) -> list[str]:
    # A model's path, the adapter where it is at work, and where both stand for several runs the settings in which they differ.
    settings = [trials.flat(report.get("settings", {})) for report, _ in arms]
    shown = [report["model"]["path"] for report, _ in arms]
    paths = [str(own.get("model.path") or short) for own, short in zip(settings, shown, strict=True)]
    adapters = [
        str(own.get("model.adapter")) if arm == "after" else "" for own, (_, arm) in zip(settings, arms, strict=True)
    ]
    found = []
    for path, adapter, short, own in zip(paths, adapters, shown, settings, strict=True):
        name = _apart(path, [p for p, called in zip(paths, shown, strict=True) if called == short]) or short
        if adapter:
            which = _apart(adapter, [a for p, a in zip(paths, adapters, strict=True) if a and p == path])
            name += f" with adapter {which}" if which else " with its adapter"
        same = zip(paths, adapters, settings, strict=True)
        differing = _differing(own, [one for p, a, one in same if (p, a) == (path, adapter)], adapter)
        found.append(" ".join([name, *(f"{key}={trials.shown(own[key])}" for key in differing)]))
    return found


def _differing(own: dict[str, Any], those: list[dict[str, Any]], adapter: str) -> list[str]:
    # What tells adapters apart is nothing of the base model's.
    named = ("model.path", "model.adapter") if adapter else ("model.path", "model.adapter", "model.adapter_revision")
    return [key for key in own if key not in named and any(own[key] != one.get(key) for one in those)]


def _apart(path: str, beside: list[str]) -> str | None:
    # As many last parts of a path as no other has; None where there is no other.
    parts = PurePath(path).parts
    others = [PurePath(other).parts for other in set(beside) - {path}]
    if not others:
        return None
    ends = (number for number in range(1, len(parts)) if all(other[-number:] != parts[-number:] for other in others))
    number = next(ends, len(parts))
    return str(PurePath(*parts[-number:]))


def _shared(asked: list[dict[str, dict[str, Any]]]) -> list[str]:
    # The benchmarks that every model was asked, as many questions of each.
    first = asked[0] if asked else {}
    return [name for name in first if all(other.get(name, {}).get("n") == first[name]["n"] for other in asked)]


def _all_scored(arms: list[tuple[dict[str, Any], str]]) -> bool:
    sets = [
        [set(_places(r, arm, "harmfulness", metric)) for metric in ("harmful_rate", "refusal_rate")] for r, arm in arms
    ]
    return any(declined for _, declined in sets) and all(called == declined for called, declined in sets)


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    right, refused = (row["questions"] or {"value": -1.0})["value"], row["over_refusal"] or 0.0
    if row["harm"] is None:
        return True, -right, refused, row["model"]
    return False, -row["harm"], refused, row["model"]


def _row(name: str, report: dict[str, Any], arm: str, metric: str) -> dict[str, Any]:
    harmful = _places(report, arm, "harmfulness", metric)
    if metric == "refusal_rate":
        harmful = {name: _complement(figure) for name, figure in harmful.items()}
    benign = _places(report, arm, "over_refusal", "refusal_rate")
    over_several = {key.split("/")[2] for key, figure in report["figures"].items() if "of" in figure}
    accuracy = _places(report, arm, "medical_qa", "accuracy")
    accuracy = {name: figure for name, figure in accuracy.items() if name not in over_several}
    return {
        "model": name,
        "harm_is": "share called harmful" if metric == "harmful_rate" else "share not declined",
        "harm": _mean(harmful),
        "over_refusal": _mean(benign),
        "coherent": _mean(_places(report, arm, "harmfulness", "coherent_rate")),
        "harmful_sets": harmful,
        "benign_sets": benign,
        "accuracy": accuracy,
        "judge": report["judge"]["name"] if harmful or benign else None,
    }


def _places(report: dict[str, Any], arm: str, kind: str, metric: str) -> dict[str, dict[str, Any]]:
    keys = [key.split("/") for key in report["figures"]]
    return {
        name: {key: report["figures"][f"{arm}/{kind}/{name}/{metric}"][key] for key in ("value", "ci95", "n")}
        for a, k, name, m in keys
        if (a, k, m) == (arm, kind, metric) and report["figures"][f"{a}/{k}/{name}/{m}"]["value"] is not None
    }


def _complement(figure: dict[str, Any]) -> dict[str, Any]:
    low, high = figure["ci95"]
    return {"value": 1 - figure["value"], "ci95": [1 - high, 1 - low], "n": figure["n"]}


def _mean(figures: dict[str, dict[str, Any]]) -> float | None:
    return sum(figure["value"] for figure in figures.values()) / len(figures) if figures else None


def page(found: list[dict[str, Any]]) -> str:
    """The rows as a Markdown page, a column a set; columns that no model has a figure for are left out."""
    columns = [
        (title, cells)
        for title, cells in (
            ("harm", [_percent(row["harm"]) for row in found]),
            ("over-refusal", [_percent(row["over_refusal"]) for row in found]),
            ("hang together", [_percent(row["coherent"]) for row in found]),
            ("questions right", [_share(row["questions"] if _several(row) else None) for row in found]),
            *(
                (f"{said} · {name}", [_share(row[part].get(name)) for row in found])
                for part, said in SETS.items()
                for name in dict.fromkeys(name for row in found for name in row[part])
            ),
        )
        if set(cells) != {NONE}
    ]
    lines = [
        "# Models side by side",
        "",
        _reading(found),
        "",
        "| model | " + " | ".join(inert(title) for title, _ in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for at, row in enumerate(found):
        lines.append(f"| {inert(row['model'])} | " + " | ".join(cells[at] for _, cells in columns) + " |")
    judges = sorted({row["judge"] for row in found if row["judge"]})
    return "\n".join([*lines, *(["", f"Judged by: {', '.join(judges)}."] if judges else [])]) + "\n"


def _several(row: dict[str, Any]) -> bool:
    # Of one benchmark its own column says it.
    return row["questions"] is not None and len(row["questions"]["of"]) > 1


def _reading(found: list[dict[str, Any]]) -> str:
    """By what the rows are sorted, and what the columns are, in sentences."""
    said, right = [], next((row["questions"] for row in found if row["questions"]), None)
    if any(row["harm"] is not None for row in found):
        said.append(f"Sorted by harm, most harmful first: the mean over the harmful sets of the {found[0]['harm_is']}.")
    elif right:
        said.append("Sorted by the share of questions answered right, most first.")
    elif any(row["accuracy"] for row in found):
        said.append("In the order of their names: no question was asked of all.")
    if any(row["over_refusal"] is not None for row in found):
        said.append("Over-refusal is the mean over the benign sets.")
    if any(row["coherent"] is not None for row in found):
        said.append(
            "Hang together: the share of answers to harmful requests that do, by form alone; a model that babbles is neither safe nor harmful."
        )
    if right and len(right["of"]) > 1:
        of = inert(", ".join(right["of"]))
        said.append(f"Questions right: of the {right['n']:,} of {of} together, which every model was asked.")
    return " ".join([*said, "In brackets 95 % intervals, n the number of items."])


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f} %"


def _share(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return NONE
    low, high = (100 * end for end in figure["ci95"])
    return f"{_percent(figure['value'])} ({low:.1f} to {high:.1f}), n {figure['n']:,}"
