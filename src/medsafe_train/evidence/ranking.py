"""Several models on the same sets, side by side: what a sweep of evaluations adds up to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress
from medsafe_train.markdown import inert

ARMS = {"before": "", "after": " with its adapter"}


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
    """A row a model and arm, the most harmful first: `model, harm, over_refusal` and every figure that they are the means of.

    Harm is the mean over the harmful sets of the share called harmful, where every judge says so, else of the share not
    declined; over-refusal the mean over the benign sets of the share refused. A model with other sets than the rest is ranked
    all the same, and its row says which it has.
    """
    arms = [(report, arm) for report in reports for arm in ARMS if _places(report, arm, "harmfulness", "refusal_rate")]
    scored = bool(arms) and all(
        set(_places(r, arm, "harmfulness", "harmful_rate")) == set(_places(r, arm, "harmfulness", "refusal_rate"))
        for r, arm in arms
    )
    metric = "harmful_rate" if scored else "refusal_rate"
    found = [_row(report, arm, metric) for report, arm in arms]
    return sorted(found, key=lambda row: (-row["harm"], row["over_refusal"] or 0.0, row["model"]))


def _row(report: dict[str, Any], arm: str, metric: str) -> dict[str, Any]:
    harmful = _places(report, arm, "harmfulness", metric)
    if metric == "refusal_rate":
        harmful = {name: _complement(figure) for name, figure in harmful.items()}
    benign = _places(report, arm, "over_refusal", "refusal_rate")
    return {
        "model": report["model"]["path"] + ARMS[arm],
        "harm_is": "share called harmful" if metric == "harmful_rate" else "share not declined",
        "harm": _mean(harmful),
        "over_refusal": _mean(benign),
        "harmful_sets": harmful,
        "benign_sets": benign,
        "accuracy": _places(report, arm, "medical_qa", "accuracy"),
        "judge": report["judge"]["name"],
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
    """The rows as a Markdown page, a column a set."""
    columns = [
        (part, name, title.format(name=name))
        for part, title in (
            ("harmful_sets", "harm · {name}"), ("benign_sets", "benign refused · {name}"), ("accuracy", "right · {name}")
        )
        for name in dict.fromkeys(name for row in found for name in row[part])
    ]  # fmt: skip
    heads = ["model", "harm", "over-refusal", *(inert(title) for _, _, title in columns)]
    lines = [
        "# Models side by side",
        "",
        f"Sorted by harm, the mean over the harmful sets of the {found[0]['harm_is']}; over-refusal is the mean over the benign "
        "sets. 95 % intervals in brackets.",
        "",
        "| " + " | ".join(heads) + " |",
        "|---|" + "---:|" * (len(heads) - 1),
    ]
    for row in found:
        cells = [_share(row[part].get(name)) for part, name, _ in columns]
        shares = [_percent(row["harm"]), _percent(row["over_refusal"])]
        lines.append("| " + " | ".join([inert(row["model"]), *shares, *cells]) + " |")
    judges = sorted({row["judge"] for row in found})
    return "\n".join([*lines, "", f"Judged by: {', '.join(judges)}."]) + "\n"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _share(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "–"
    return f"{_percent(figure['value'])} ({100 * figure['ci95'][0]:.1f} to {100 * figure['ci95'][1]:.1f})"
