"""The evidence: the model before and after on the same items, as JSON, as Markdown and as tables in the terminal."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, pages
from medsafe_train.artifacts import Artifact
from medsafe_train.attacks.rounds import PLAIN
from medsafe_train.config import CheckpointGateSettings
from medsafe_train.evidence import (
    Evaluation,
    Measured,
    answers,
    claims,
    gate,
    harm,
    medical_qa,
    notes,
    pooled,
    robustness,
    scores,
    several_judges,
)
from medsafe_train.sources.prompt_sets import PromptSet

VERSION = 7
SAMPLES = 6


def run(
    folder: Path,
    about: dict[str, Any],
    data: Measured,
    arms: dict[str, Evaluation],
    moved: dict[str, Artifact],
    places: dict[str, str],
    thresholds: CheckpointGateSettings,
) -> dict[str, Any]:
    """Write `report.json` and `report.md` into the run's folder, print the tables, and return the report.

    `arms` are `before` and `after`, or `before` alone where only one model was measured: then nothing is claimed. `about` says
    how the run was made and is part of the report; `moved` holds the divergence from the base model by set; `places` are paths
    for the reader, and are not part of the report; `thresholds` are what the checkpoint has to show.
    """
    report: dict[str, Any] = {"version": VERSION, **about, "figures": {}, "notes": [], "samples": []}
    copied = {copy.evaluation for copy in data.near_copies}
    for prompts in data.sets:
        harm.refusal(report, prompts, arms, copied)
        scores.harmfulness(report, prompts, arms)
        if prompts.name in moved:
            harm.moved(report, prompts, moved[prompts.name])
        report["samples"] += _samples(prompts, arms)
    for asked in data.rounds:
        (answers if asked.way == PLAIN else robustness).figures(report, asked, arms)
    report["samples"] = _six(report["samples"])
    report["benchmarks"] = [
        {**known, **_asked(arms["before"].answers[known["name"]])} for known in report["benchmarks"]
    ]
    for benchmark in data.benchmarks:
        medical_qa.accuracy(report, benchmark, arms)
    pooled.mark_repeated(report, data.benchmarks, arms)
    pooled.accuracy(report["figures"])
    report["figures"] = dict(sorted(report["figures"].items()))
    report |= {"claims": [], "gate": None}
    if "after" in arms:
        claimed = claims.claims(report["figures"], thresholds)
        report["claims"] = [claim.record() for claim in claimed]
        report["gate"] = gate.gate(report["figures"], claimed, thresholds)
    report["judging"] = scores.coverage(arms)
    several_judges.compared(report, data.sets, arms)
    report["notes"] += notes.changes(report) + notes.basis(report)
    artifacts.write_json(folder / "report.json", report)
    artifacts.write_text(folder / "report.md", pages.markdown(report, places))
    pages.show(report, places)
    return report


def _asked(answers: Artifact) -> dict[str, Any]:
    """How a benchmark's questions were asked: `format`, worked `shots` and their `seeds`, and the first `prompt` of the first seed."""
    counts, prompts = answers.json("counts.json"), answers.records("prompts.jsonl")
    return {
        "format": prompts[0]["format"],
        "shots": counts["wanted"],
        "asked_with": counts["asked_with"],
        "seeds": [prompt["seed"] for prompt in prompts] if counts["wanted"] else [],
        "prompt": {key: prompts[0][key] for key in ("id", "prompt", "options")},
    }


def _samples(prompts: PromptSet, arms: dict[str, Evaluation]) -> list[dict[str, Any]]:
    texts = {
        arm: {r["id"]: r["response"] for r in e.responses[prompts.name].records("responses.jsonl")}
        for arm, e in arms.items()
    }
    labels = {
        arm: {v["id"]: v["label"] for v in e.verdicts[prompts.name].records("verdicts.jsonl")}
        for arm, e in arms.items()
    }
    return [
        {
            "id": p.id,
            "set": prompts.name,
            "kind": prompts.kind,
            "principle": p.principle,
            "prompt": p.prompt,
            **{arm: {"response": texts[arm][p.id], "label": labels[arm][p.id]} for arm in arms},
        }
        for p in prompts.prompts
    ]


def _six(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # Chosen by a hash of the prompt, never by how the answers came out; half of them harmful.
    items = sorted(items, key=lambda item: hashlib.sha256(item["prompt"].encode()).hexdigest())
    harmful = [item for item in items if item["kind"] == "harmful"]
    benign = [item for item in items if item["kind"] == "benign"]
    first = harmful[: max(SAMPLES // 2, SAMPLES - len(benign))]
    return first + benign[: SAMPLES - len(first)]
