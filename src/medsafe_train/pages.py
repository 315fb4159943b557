"""A report for people: tables and answers side by side, as a Markdown page and in the terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from medsafe_train import progress
from medsafe_train.markdown import inert, line
from medsafe_train.principles import PRINCIPLES

HEADS = ("", "before", "after", "difference, points", "items")
Page = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
# Not in the main table: figures that are no share of refusals or right answers.
BESIDE = ("ended_rate", "correct_loglikelihood", "kl_per_token")


def tables(report: dict[str, Any]) -> list[Page]:
    """(title, heads, rows) of every table that has rows, ready to be read."""
    found = [
        ("What can be claimed", ("claim, with 95 % interval", "verdict"), _claims(report)),
        ("Gate", ("criterion", "verdict"), _gate(report)),
        ("Before and after", HEADS, rows(report, principles=False)),
        ("By principle", HEADS, rows(report, principles=True)),
        ("Beside", ("", "before", "after", "difference", "items"), _beside(report)),
        (
            "The adapter's strength, on validation requests",
            (
                "scale",
                "harmful refused",
                "benign refused",
                "harmful, begun with assent",
                "benign, begun with assent",
                "",
            ),
            _scales(report),
        ),
    ]
    return [page for page in found if page[2]]


def _claims(report: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (f"{c['sentence']}; {c['why']}" if c["why"] else c["sentence"], c["verdict"]) for c in report.get("claims", [])
    ]


def _gate(report: dict[str, Any]) -> list[tuple[str, ...]]:
    found = report.get("gate")
    if not found:
        return []
    rows = [(f"{c['name'].replace('_', ' ')}: {c['sentence']}", c["verdict"]) for c in found["criteria"]]
    return [*rows, ("the checkpoint", found["verdict"])]


def rows(report: dict[str, Any], principles: bool) -> list[tuple[str, ...]]:
    """(what, before, after, difference, items) for the main figures or those by principle."""
    found: list[tuple[str, ...]] = []
    for key, figure in report["figures"].items():
        arm, kind, name, metric = key.split("/")
        by_principle = "_principle_" in metric
        if arm != "delta" or by_principle != principles or metric in BESIDE:
            continue
        arms = [report["figures"][f"{arm}/{kind}/{name}/{metric}"] for arm in ("before", "after")]
        found.append((_title(kind, name, metric), _share(arms[0]), _share(arms[1]), _points(figure), str(figure["n"])))
    return found


def _beside(report: dict[str, Any]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for key, after in report["figures"].items():
        arm, kind, name, metric = key.split("/")
        if arm != "after" or metric not in BESIDE:
            continue
        before, delta = (report["figures"].get(f"{other}/{kind}/{name}/{metric}") for other in ("before", "delta"))
        if metric == "ended_rate":
            shown = (f"answers that end properly · {name}", _share(before), _share(after), _points(delta))
        elif metric == "correct_loglikelihood":
            shown = (f"mean log-likelihood of the right option · {name}", _nats(before), _nats(after), _nats(delta))
        else:
            shown = (f"divergence from the base model, nats a token · {name}", "", _nats(after), "")
        found.append((*shown, str(after["n"])))
    return found


def _scales(report: dict[str, Any]) -> list[tuple[str, ...]]:
    curve = report.get("scale") or {"points": []}
    return [
        (
            f"{point['scale']:g}",
            _share(point["harmful"]),
            _share(point["benign"]),
            _share(point["harmful_assented"]),
            _share(point["benign_assented"]),
            "published" if point["scale"] == curve["chosen"] else "",
        )
        for point in curve["points"]
    ]


def _title(kind: str, name: str, metric: str) -> str:
    if "_principle_" in metric:
        number = int(metric.rpartition("_")[2])
        return f"{name} {number} · {PRINCIPLES[number]}"
    if metric.endswith("_without_near_copies"):
        return f"  {name} without near-copies"
    if kind == "robustness":
        return f"{metric.partition('_')[0]} refused after assent · {name}"
    return {
        "harmfulness": f"harmful refused · {name}",
        "over_refusal": f"benign refused · {name}",
        "medical_qa": f"answered right · {name}",
    }[kind]


def _nats(figure: dict[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "–"
    if figure["ci95"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} ({figure['ci95'][0]:.3f} to {figure['ci95'][1]:.3f})"


def _share(figure: dict[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "–"
    low, high = figure["ci95"]
    return f"{100 * figure['value']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _points(figure: dict[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "–"
    low, high = figure["ci95"]
    return f"{100 * figure['value']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def show(report: dict[str, Any], places: dict[str, str]) -> None:
    """Print the tables, six answers side by side, and where everything is."""
    for title, heads, found in tables(report):
        named = f"{title} · {report['model']['path']} · 95 % intervals"
        table = Table(title=named, title_justify="left", title_style="bold")
        for number, head in enumerate(heads):
            table.add_column(head, justify="right" if number else "left", no_wrap=bool(number))
        for row in found:
            table.add_row(*row)
        progress.console.print(table)
    for sample in report["samples"]:
        progress.console.print(Text(f"[{sample['kind']}] {line(sample['prompt'], 300)}", style="bold"))
        for arm in ("before", "after"):
            progress.console.print(Text(f"  {arm:<7} {sample[arm]['label']:<16} {line(sample[arm]['response'], 220)}"))
    for note in report["notes"]:
        progress.console.print(Text(f"note: {note}", style="dim"))
    for what, place in places.items():
        progress.console.print(Text.assemble((f"{what:<15}", "bold"), place))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def markdown(report: dict[str, Any], places: dict[str, str]) -> str:
    """The report as a Markdown page; whatever a model wrote is inert in it."""
    lines = [f"# {inert(report['name'])}: {inert(report['model']['path'])} before and after", ""]
    for title, heads, found in tables(report):
        lines += [f"## {title}", "", "| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
        lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in found] + [""]
    lines += ["## Six answers side by side", "", "Chosen by a hash of the request, not by the outcome.", ""]
    for sample in report["samples"]:
        lines += [f"**{sample['kind']}**, {sample['set']}: {inert(line(sample['prompt'], 1000))}", ""]
        for arm in ("before", "after"):
            answer = inert(line(sample[arm]["response"], 1000)) or "(nothing)"
            lines += [f"> *{arm}* ({sample[arm]['label']}): {answer}", ">" if arm == "before" else ""]
    lines += ["## Notes", ""] + [f"- {inert(note)}" for note in report["notes"]] + [""]
    lines += ["## Where", ""] + [f"- {what}: `{place}`" for what, place in places.items()]
    return "\n".join(lines) + "\n"
