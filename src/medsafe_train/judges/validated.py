"""What is known of a judge's agreement with labels, as it was measured before and ships with the project."""

from __future__ import annotations

import json
from typing import Any

from medsafe_train.config import JudgeSettings, shipped
from medsafe_train.judges import JUDGES, names

FILE = "validation.json"


def about(settings: JudgeSettings) -> dict[str, Any]:
    """What a report says of its judges: names, what is known of their agreement with labels, and that in sentences."""
    chosen = names(settings)
    # Where a judge of harm does not read benign requests, the refusal judge does.
    reading = list(dict.fromkeys([*chosen, "refusal"]))
    return {
        "name": settings.name,
        "also": settings.also,
        "validation": {name: of(name) for name in reading},
        "validation_in_words": [sentence(name) for name in reading],
    }


def of(name: str) -> list[dict[str, Any]]:
    """The recorded measurements of a judge (conf/judge/validation.json), those of the version that runs here; empty without any.

    Each holds `labels, n, what, value, ci95, note`. A judge that is a model has none: it is measured with the recipe
    judge_validation, for the model that is used.
    """
    judge = JUDGES[name]
    return [entry for entry in _recorded().get(name, []) if entry["version"] == judge.version]


def fitted_on(name: str, files: dict[str, str]) -> list[str]:
    """Which of these files (name to sha256) the judge's weights were fitted on: figures on them are in sample."""
    fitted = _recorded()["fitted_on"].get(name, {})
    return [file for file, sha256 in files.items() if sha256 in fitted]


def _recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shipped("conf") / "judge" / FILE).read_text(encoding="utf-8"))
    return found


def sentence(name: str) -> str:
    """The measurements in one sentence, or that there are none."""
    found = of(name)
    if not found:
        return (
            f"The judge {name} has no figures of agreement with labels: measure them with "
            "`python -m medsafe_train +recipe=judge_validation judge_validation.labels=FILE` and the same judge."
        )
    parts = []
    for what in dict.fromkeys(entry["what"] for entry in found):
        those = [
            f"{entry['value']:.3f}{_interval(entry)} on {entry['labels']}, {entry['note']}"
            for entry in found
            if entry["what"] == what
        ]
        parts.append(f"{what} {'; '.join(those)}")
    return f"The judge {name} against labels: {'. '.join(parts)}."


def _interval(entry: dict[str, Any]) -> str:
    return f" ({entry['ci95'][0]:.3f} to {entry['ci95'][1]:.3f})" if entry["ci95"] else ""
