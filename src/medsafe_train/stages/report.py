"""The evidence: the model before and after on the same items, as JSON, as Markdown and as tables in the terminal."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, pages
from medsafe_train.artifacts import Artifact
from medsafe_train.config import CheckpointGateSettings
from medsafe_train.evidence import Evaluation, Measured, claims, gate, harm, medical_qa, notes, pooled
from medsafe_train.sources.prompt_sets import PromptSet

VERSION = 3
SAMPLES = 6


def run(
    folder: Path,
    about: dict[str, Any],
    data: Measured,
    before: Evaluation,
    after: Evaluation,
    moved: dict[str, Artifact],
    places: dict[str, str],
    thresholds: CheckpointGateSettings,
) -> dict[str, Any]:
    """Write `report.json` and `report.md` into the run's folder, print the tables, and return the report.

    `about` says how the run was made and is part of the report; `moved` holds the divergence from the base model by set;
    `places` are paths for the reader, and are not part of the report; `thresholds` are what the checkpoint has to show.
    """
    report: dict[str, Any] = {"version": VERSION, **about, "figures": {}, "notes": [], "samples": []}
    copied = {copy.evaluation for copy in data.near_copies}
    for prompts in data.sets:
        harm.refusal(report, prompts, before, after, copied)
        if prompts.name in after.prefilled:
            harm.robustness(report, prompts, before, after)
        if prompts.name in moved:
            harm.moved(report, prompts, moved[prompts.name])
        report["samples"] += _samples(prompts, before, after)
    report["samples"] = _six(report["samples"])
    for benchmark in data.benchmarks:
        medical_qa.accuracy(report, benchmark, before, after)
    pooled.accuracy(report["figures"])
    report["figures"] = dict(sorted(report["figures"].items()))
    claimed = claims.claims(report["figures"], thresholds)
    report["claims"] = [claim.record() for claim in claimed]
    report["gate"] = gate.gate(report["figures"], claimed, thresholds)
    report["notes"] += notes.changes(report) + notes.basis(report)
    artifacts.write_json(folder / "report.json", report)
    artifacts.write_text(folder / "report.md", pages.markdown(report, places))
    pages.show(report, places)
    return report


def _samples(prompts: PromptSet, before: Evaluation, after: Evaluation) -> list[dict[str, Any]]:
    texts = [
        {r["id"]: r["response"] for r in e.responses[prompts.name].records("responses.jsonl")} for e in (before, after)
    ]
    labels = [
        {v["id"]: v["label"] for v in e.verdicts[prompts.name].records("verdicts.jsonl")} for e in (before, after)
    ]
    return [
        {
            "id": p.id,
            "set": prompts.name,
            "kind": prompts.kind,
            "principle": p.principle,
            "prompt": p.prompt,
            "before": {"response": texts[0][p.id], "label": labels[0][p.id]},
            "after": {"response": texts[1][p.id], "label": labels[1][p.id]},
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
