"""What a report is of: one model or two, with requests that a judge reads or medical questions alone, and what they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def compared(report: dict[str, Any]) -> bool:
    """Whether a model was measured before and after."""
    return any(key.startswith("delta/") for key in report["figures"])


def judged(report: dict[str, Any]) -> bool:
    """Whether anything was measured that a judge reads, beside questions."""
    return any(key.split("/")[1] != "medical_qa" for key in report["figures"])


def heading(report: dict[str, Any]) -> str:
    """What the report is of, by what the run has."""
    path = report["model"]["path"]
    if compared(report):
        return f"{path} before and after fine-tuning"
    return f"Evaluation of {path}" if judged(report) or not report["figures"] else f"Medical QA of {path}"


def names(report: dict[str, Any]) -> dict[str, str]:
    """What each arm is called: one that has none beside it is just the model."""
    return {"before": "before", "after": "after"} if compared(report) else {"before": "model"}


def subject(report: dict[str, Any]) -> str:
    """What the model before is called in a sentence: the base model, or by its name where no other was measured beside it."""
    path = str(report["model"]["path"]) if not compared(report) else ""
    return Path(path).name or path or "the base model"
