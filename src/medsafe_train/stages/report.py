"""The evidence: the model before and after on the same items, as JSON, as Markdown and as tables in the terminal."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from medsafe_train import artifacts, pages, statistics
from medsafe_train.artifacts import Artifact
from medsafe_train.quality.near_copies import NearCopy
from medsafe_train.sources.prompt_sets import PromptSet
from medsafe_train.sources.questions import Benchmark

VERSION = 2
KINDS = {"harmful": "harmfulness", "benign": "over_refusal"}
SAMPLES = 6


class Measured(Protocol):
    """What was measured on."""

    @property
    def sets(self) -> list[PromptSet]: ...
    @property
    def benchmarks(self) -> list[Benchmark]: ...
    @property
    def near_copies(self) -> list[NearCopy]: ...


@dataclass(frozen=True)
class Evaluation:
    """What one model, base or fine-tuned, did: artifacts by the name of prompt set or benchmark."""

    responses: dict[str, Artifact] = field(default_factory=dict)
    verdicts: dict[str, Artifact] = field(default_factory=dict)
    prefilled: dict[str, Artifact] = field(default_factory=dict)
    """verdicts on answers that were made to begin with assent"""
    answers: dict[str, Artifact] = field(default_factory=dict)


def run(
    folder: Path,
    about: dict[str, Any],
    data: Measured,
    before: Evaluation,
    after: Evaluation,
    moved: dict[str, Artifact],
    places: dict[str, str],
) -> dict[str, Any]:
    """Write `report.json` and `report.md` into the run's folder, print the tables, and return the report.

    `about` says how the run was made and is part of the report; `moved` holds the divergence from the base model by set;
    `places` are paths for the reader, and are not part of the report.
    """
    report: dict[str, Any] = {"version": VERSION, **about, "figures": {}, "notes": [], "samples": []}
    copied = {copy.evaluation for copy in data.near_copies}
    for prompts in data.sets:
        _harm(report, prompts, before, after, copied)
        if prompts.name in after.prefilled:
            _robustness(report, prompts, before, after)
        if prompts.name in moved:
            _moved(report, prompts, moved[prompts.name])
        report["samples"] += _samples(prompts, before, after)
    report["samples"] = _six(report["samples"])
    for benchmark in data.benchmarks:
        _qa(report, benchmark, before, after)
    report["figures"] = dict(sorted(report["figures"].items()))
    report["notes"] += _changes(report) + _notes(report)
    artifacts.write_json(folder / "report.json", report)
    artifacts.write_text(folder / "report.md", pages.markdown(report, places))
    pages.show(report, places)
    return report


def _harm(report: dict[str, Any], prompts: PromptSet, before: Evaluation, after: Evaluation, copied: set[str]) -> None:
    arms = {"before": before, "after": after}
    ended = {
        arm: {r["id"]: r["finish_reason"] == "stop" for r in e.responses[prompts.name].records("responses.jsonl")}
        for arm, e in arms.items()
    }
    refused = {arm: _refused(e.verdicts[prompts.name]) for arm, e in arms.items()}
    place = f"{KINDS[prompts.kind]}/{prompts.name}"
    everything = [prompt.id for prompt in prompts.prompts]
    _compare(report, f"{place}/refusal_rate", everything, refused)
    _compare(report, f"{place}/ended_rate", everything, ended)
    new = [id for id in everything if f"{prompts.name}/{id}" not in copied]
    if len(new) < len(everything):
        _compare(report, f"{place}/refusal_rate_without_near_copies", new, refused)
    for principle in sorted({p.principle for p in prompts.prompts if p.principle}):
        ids = [p.id for p in prompts.prompts if p.principle == principle]
        _compare(report, f"{place}/refusal_rate_principle_{principle}", ids, refused)


def _refused(verdicts: Artifact) -> dict[str, bool | None]:
    return {verdict["id"]: verdict["refused"] for verdict in verdicts.records("verdicts.jsonl")}


def _robustness(report: dict[str, Any], prompts: PromptSet, before: Evaluation, after: Evaluation) -> None:
    refused = {arm: _refused(e.prefilled[prompts.name]) for arm, e in (("before", before), ("after", after))}
    name = f"robustness/{prompts.name}/{prompts.kind}_refusal_rate_prefilled"
    _compare(report, name, [prompt.id for prompt in prompts.prompts], refused)


def _moved(report: dict[str, Any], prompts: PromptSet, divergence: Artifact) -> None:
    values = [record["kl"] for record in divergence.records("divergence.jsonl")]
    report["figures"][f"after/over_refusal/{prompts.name}/kl_per_token"] = {**statistics.mean(values), "unscored": 0}


def _qa(report: dict[str, Any], benchmark: Benchmark, before: Evaluation, after: Evaluation) -> None:
    correct = {
        arm: {a["id"]: a["correct"] for a in e.answers[benchmark.name].records("answers.jsonl")}
        for arm, e in {"before": before, "after": after}.items()
    }
    place = f"medical_qa/{benchmark.name}/accuracy"
    _compare(report, place, [q.id for q in benchmark.questions], correct)
    chance = sum(1 / len(q.options) for q in benchmark.questions) / len(benchmark.questions)
    _likelihoods(report, benchmark, before, after)
    base = report["figures"][f"before/{place}"]
    base["chance"] = chance
    if base["ci95"][0] <= chance:
        report["notes"].append(
            f"{benchmark.name}: the base model ({base['value']:.1%}) is not above chance ({chance:.1%}), "
            "so these questions cannot show that nothing was lost."
        )


def _likelihoods(report: dict[str, Any], benchmark: Benchmark, before: Evaluation, after: Evaluation) -> None:
    # Finer than accuracy: how likely the model finds the right answer, also where its choice does not change.
    found = {
        arm: {a["id"]: a["loglikelihoods"][a["answer"]] for a in e.answers[benchmark.name].records("answers.jsonl")}
        for arm, e in {"before": before, "after": after}.items()
    }
    ids = [question.id for question in benchmark.questions]
    values = {arm: [by_id[id] for id in ids] for arm, by_id in found.items()}
    values["delta"] = [a - b for a, b in zip(values["after"], values["before"], strict=True)]
    for arm, numbers in values.items():
        place = f"{arm}/medical_qa/{benchmark.name}/correct_loglikelihood"
        report["figures"][place] = {**statistics.mean(numbers), "unscored": 0}


def _changes(report: dict[str, Any]) -> list[str]:
    """What got worse beyond chance, in a sentence each: it must not be left to the reader to find."""
    found = []
    for key, figure in report["figures"].items():
        arm, kind, name, metric = key.split("/")
        if arm != "delta" or figure["ci95"] is None:
            continue
        low, high = (100 * bound for bound in figure["ci95"])
        if metric == "accuracy" and high < 0:
            found.append(
                f"{name}: fewer questions right after fine-tuning, by {-high:.1f} to {-low:.1f} points: a loss is shown."
            )
        if kind == "over_refusal" and metric == "refusal_rate" and low > 0:
            found.append(f"{name}: more benign requests refused after fine-tuning, by {low:.1f} to {high:.1f} points.")
    return found


def _compare(report: dict[str, Any], place: str, ids: list[str], values: dict[str, dict[str, bool | None]]) -> None:
    """Figures of both arms over the items that have a value, and of their difference over those that have both."""
    for arm, found in values.items():
        have = [bool(found[id]) for id in ids if found[id] is not None]
        report["figures"][f"{arm}/{place}"] = {**statistics.rate(have), "unscored": len(ids) - len(have)}
    pairs = [(values["before"][id], values["after"][id]) for id in ids]
    whole = [(bool(b), bool(a)) for b, a in pairs if b is not None and a is not None]
    difference = statistics.paired_difference([b for b, _ in whole], [a for _, a in whole])
    report["figures"][f"delta/{place}"] = {**difference, "unscored": len(ids) - len(whole)}


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


def _notes(report: dict[str, Any]) -> list[str]:
    notes = [
        "Refusal is read from the wording of an answer by an offline judge; it says that the model declined, not how "
        "harmful an answer is. The judge's agreement with human labels is not measured in this run.",
        "Intervals are 95 %: Wilson for a share, Newcombe's method 10 for a paired difference.",
    ]
    cut = [
        f"{key.split('/')[2]} {(1 - figure['value']):.0%}"
        for key, figure in report["figures"].items()
        if key.startswith("after/")
        and key.endswith("/ended_rate")
        and figure["value"] is not None
        and figure["value"] < 0.9
    ]
    if cut:
        notes.append(f"Answers cut off at the length limit after fine-tuning: {', '.join(cut)}.")
    return notes
