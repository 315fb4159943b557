"""The evidence: the model before and after on the same items, as JSON, as Markdown and as tables in the terminal."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from medsafe_train import artifacts, progress, statistics
from medsafe_train.artifacts import Artifact
from medsafe_train.markdown import inert, line
from medsafe_train.principles import PRINCIPLES
from medsafe_train.sources.prompt_sets import PromptSet
from medsafe_train.sources.questions import Benchmark

VERSION = 1
KINDS = {"harmful": "harmfulness", "benign": "over_refusal"}
SAMPLES = 6


@dataclass(frozen=True)
class Evaluation:
    """What one model, base or fine-tuned, did: artifacts by the name of prompt set or benchmark."""

    responses: dict[str, Artifact] = field(default_factory=dict)
    verdicts: dict[str, Artifact] = field(default_factory=dict)
    answers: dict[str, Artifact] = field(default_factory=dict)


def run(
    folder: Path,
    about: dict[str, Any],
    sets: list[PromptSet],
    benchmarks: list[Benchmark],
    before: Evaluation,
    after: Evaluation,
    places: dict[str, str],
) -> dict[str, Any]:
    """Write `report.json` and `report.md` into the run's folder, print the tables, and return the report.

    `about` says how the run was made and is part of the report; `places` are paths for the reader, and are not.
    """
    report: dict[str, Any] = {"version": VERSION, **about, "figures": {}, "notes": [], "samples": []}
    for prompts in sets:
        _harm(report, prompts, before, after)
        report["samples"] += _samples(prompts, before, after)
    report["samples"] = _six(report["samples"])
    for benchmark in benchmarks:
        _qa(report, benchmark, before, after)
    report["figures"] = dict(sorted(report["figures"].items()))
    report["notes"] += _changes(report) + _notes(report)
    artifacts.write_json(folder / "report.json", report)
    artifacts.write_text(folder / "report.md", markdown(report, places))
    show(report, places)
    return report


def _harm(report: dict[str, Any], prompts: PromptSet, before: Evaluation, after: Evaluation) -> None:
    arms = {"before": before, "after": after}
    verdicts = {
        arm: {v["id"]: v for v in e.verdicts[prompts.name].records("verdicts.jsonl")} for arm, e in arms.items()
    }
    ended = {
        arm: {r["id"]: r["finish_reason"] == "stop" for r in e.responses[prompts.name].records("responses.jsonl")}
        for arm, e in arms.items()
    }
    refused = {arm: {id: v["refused"] for id, v in found.items()} for arm, found in verdicts.items()}
    place = f"{KINDS[prompts.kind]}/{prompts.name}"
    everything = [prompt.id for prompt in prompts.prompts]
    _compare(report, f"{place}/refusal_rate", everything, refused)
    _compare(report, f"{place}/ended_rate", everything, ended)
    for principle in sorted({p.principle for p in prompts.prompts if p.principle}):
        ids = [p.id for p in prompts.prompts if p.principle == principle]
        _compare(report, f"{place}/refusal_rate_principle_{principle}", ids, refused)


def _qa(report: dict[str, Any], benchmark: Benchmark, before: Evaluation, after: Evaluation) -> None:
    correct = {
        arm: {a["id"]: a["correct"] for a in e.answers[benchmark.name].records("answers.jsonl")}
        for arm, e in {"before": before, "after": after}.items()
    }
    place = f"medical_qa/{benchmark.name}/accuracy"
    _compare(report, place, [q.id for q in benchmark.questions], correct)
    chance = sum(1 / len(q.options) for q in benchmark.questions) / len(benchmark.questions)
    base = report["figures"][f"before/{place}"]
    base["chance"] = chance
    if base["ci95"][0] <= chance:
        report["notes"].append(
            f"{benchmark.name}: the base model ({base['value']:.1%}) is not above chance ({chance:.1%}), "
            "so these questions cannot show that nothing was lost."
        )


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


# --- for people -----------------------------------------------------------------------------------------------------


def rows(report: dict[str, Any], principles: bool) -> list[tuple[str, str, str, str, int]]:
    """(what, before, after, difference, items) for the main figures or those by principle, ready to be read."""
    found = []
    for key, figure in report["figures"].items():
        arm, kind, name, metric = key.split("/")
        by_principle = "_principle_" in metric
        if arm != "delta" or by_principle != principles or metric == "ended_rate":
            continue
        arms = [report["figures"][f"{arm}/{kind}/{name}/{metric}"] for arm in ("before", "after")]
        found.append((_title(kind, name, metric), _share(arms[0]), _share(arms[1]), _points(figure), figure["n"]))
    return found


def _title(kind: str, name: str, metric: str) -> str:
    if "_principle_" in metric:
        number = int(metric.rpartition("_")[2])
        return f"{name} {number} · {PRINCIPLES[number]}"
    return {
        "harmfulness": f"harmful refused · {name}",
        "over_refusal": f"benign refused · {name}",
        "medical_qa": f"answered right · {name}",
    }[kind]


def _share(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "–"
    low, high = figure["ci95"]
    return f"{100 * figure['value']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _points(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "–"
    low, high = figure["ci95"]
    return f"{100 * figure['value']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


HEADS = ("", "before", "after", "difference, points", "items")


def show(report: dict[str, Any], places: dict[str, str]) -> None:
    """Print the tables, six answers side by side, and where everything is."""
    for title, principles in (("Before and after", False), ("By principle", True)):
        found = rows(report, principles)
        if not found:
            continue
        table = Table(
            title=f"{title} · {report['model']['path']} · 95 % intervals", title_justify="left", title_style="bold"
        )
        for head in HEADS:
            table.add_column(head, justify="left" if not head else "right", no_wrap=bool(head))
        for row in found:
            table.add_row(*map(str, row))
        progress.console.print(table)
    for sample in report["samples"]:
        progress.console.print(Text(f"[{sample['kind']}] {line(sample['prompt'], 300)}", style="bold"))
        for arm in ("before", "after"):
            progress.console.print(Text(f"  {arm:<7} {sample[arm]['label']:<16} {line(sample[arm]['response'], 220)}"))
    for note in report["notes"]:
        progress.console.print(Text(f"note: {note}", style="dim"))
    for what, place in places.items():
        progress.console.print(Text.assemble((f"{what:<15}", "bold"), place))


def markdown(report: dict[str, Any], places: dict[str, str]) -> str:
    """The report as a Markdown page; whatever a model wrote is inert in it."""
    lines = [f"# {inert(report['name'])}: {inert(report['model']['path'])} before and after", ""]
    for title, principles in (("Before and after", False), ("By principle", True)):
        found = rows(report, principles)
        if found:
            lines += [f"## {title}", "", "| " + " | ".join(HEADS) + " |", "|---|---:|---:|---:|---:|"]
            lines += ["| " + " | ".join(map(str, row)) + " |" for row in found] + [""]
    lines += ["## Six answers side by side", "", "Chosen by a hash of the request, not by the outcome.", ""]
    for sample in report["samples"]:
        lines += [f"**{sample['kind']}**, {sample['set']}: {inert(line(sample['prompt'], 1000))}", ""]
        for arm in ("before", "after"):
            answer = inert(line(sample[arm]["response"], 1000)) or "(nothing)"
            lines += [f"> *{arm}* ({sample[arm]['label']}): {answer}", ">" if arm == "before" else ""]
    lines += ["## Notes", ""] + [f"- {inert(note)}" for note in report["notes"]] + [""]
    lines += ["## Where", ""] + [f"- {what}: `{place}`" for what, place in places.items()]
    return "\n".join(lines) + "\n"
