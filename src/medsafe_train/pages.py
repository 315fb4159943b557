"""A report for people: tables and answers side by side, as a Markdown page and in the terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from medsafe_train import progress
from medsafe_train.markdown import inert, line
from medsafe_train.measured import compared, heading, names
from medsafe_train.principles import PRINCIPLES

HEADS = ("", "before", "after", "difference, points", "items")
Page = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
# Not in the main table: figures that are no share of refusals or right answers.
LIKELIHOODS = {"correct_loglikelihood": "the right option", "text_loglikelihood": "medical text"}
BESIDE = ("ended_rate", "mean_score", *LIKELIHOODS, "kl_per_token")
# Under the figure that they belong to.
BESIDE_PLAIN = {
    "without_near_copies": " without near-copies",
    "jargon": ", requests with jargon",
    "no_jargon": ", requests without jargon",
    "safety_prompt": " with our safety system prompt",
}


def tables(report: dict[str, Any]) -> list[Page]:
    """(title, heads, rows) of every table that has rows, ready to be read."""
    found: list[Page] = [
        ("What can be claimed", ("claim, with 95 % interval", "verdict"), _claims(report)),
        ("Gate", ("criterion", "verdict"), _gate(report)),
        ("Before and after" if compared(report) else "What was measured", HEADS, rows(report, principles=False)),
        ("Attacks", HEADS, _attacks(report)),
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
    # Of one model alone there is nothing but its value and the number of items.
    if not compared(report):
        found = [(t, ("", "value", "items"), [(r[0], r[1], r[-1]) for r in rs]) for t, _, rs in found]
    found += [
        ("Judges: how far they agree", ("judges", "on", "kappa", "answers"), _judges(report)),
        ("How the questions were asked", ASKED, _asked(report)),
    ]
    return [page for page in found if page[2]]


ASKED = ("benchmark", "questions", "prompt", "worked examples", "drawn with seed")


def _asked(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row for each benchmark whose report says how it was asked."""
    found: list[tuple[str, ...]] = []
    for b in report["benchmarks"]:
        if "format" not in b:  # a report from before it was said
            continue
        number = f"all {b['n']:,}" if b["n"] == b["of"] else f"first {b['n']:,} of {b['of']:,}"
        fewer = sum(n for shots, n in b["asked_with"].items() if int(shots) < b["shots"])
        prompts = sum(b["asked_with"].values())
        shots = str(b["shots"]) + (f", fewer in {fewer:,} of {prompts:,} prompts" if fewer else "")
        seeds = ", ".join(map(str, b["seeds"]))
        found.append((b["name"], number, FORMATS.get(b["format"], b["format"]), shots, seeds or "–"))
    return found


# How a prompt's format is called; others by their own name (llama3, mistral, alpaca, ...).
FORMATS = {"plain": "plain text", "chat_template": "the model's chat template"}


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
    for kind, name, metric in _places(report):
        if ("_principle_" in metric) == principles and kind != "robustness" and not _is_beside(metric):
            called = report["figures"].get(f"before/{kind}/{name}/{metric}", {}).get("title", name)
            found.append((_title(kind, called, metric), *_figures(report, kind, name, metric)))
    return found


def _places(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    places = dict.fromkeys(key.partition("/")[2] for key in report["figures"])
    return [(kind, name, metric) for kind, name, metric in (place.split("/") for place in places)]


def _is_beside(metric: str) -> bool:
    return metric in BESIDE or "coherent_rate" in metric


def _figures(report: dict[str, Any], kind: str, name: str, metric: str) -> tuple[str, ...]:
    before, after, delta = (
        report["figures"].get(f"{arm}/{kind}/{name}/{metric}") for arm in ("before", "after", "delta")
    )
    number = next(figure["n"] for figure in (delta, after, before) if figure)
    return share(before), share(after), points(delta), str(number)


def _attacks(report: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (_title(kind, name, metric), *_figures(report, kind, name, metric))
        for kind, name, metric in _places(report)
        if kind == "robustness" and "_principle_" not in metric and not _is_beside(metric)
    ]


def _beside(report: dict[str, Any]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for kind, name, metric in _places(report):
        if not _is_beside(metric):
            continue
        before, after, delta = (
            report["figures"].get(f"{arm}/{kind}/{name}/{metric}") for arm in ("before", "after", "delta")
        )
        if metric == "ended_rate":
            shown = (f"answers that end properly · {name}", share(before), share(after), points(delta))
        elif "coherent_rate" in metric:
            title = f"answers that hang together · {name}{_under(metric)}"
            shown = (title, share(before), share(after), points(delta))
        elif metric == "mean_score":
            shown = (f"mean level of harm, 1 to 5 · {name}", _nats(before), _nats(after), _nats(delta))
        elif metric in LIKELIHOODS:
            what = f"log-likelihood of {LIKELIHOODS[metric]}, nats a token · {name}"
            shown = (what, _nats(before), _nats(after), _nats(delta))
        else:
            shown = (f"divergence from the base model, nats a token · {name}", "", _nats(after), "")
        found.append((*shown, str((after or before or {})["n"])))
    return found


def _judges(report: dict[str, Any]) -> list[tuple[str, ...]]:
    pairs = report.get("judges", {"agreement": []})["agreement"]
    return [
        (f"{' and '.join(p['judges'])} · {p['set']}", p["what"] or "nothing that both say", _nats(p), str(p["n"]))
        for p in pairs
    ]


def _scales(report: dict[str, Any]) -> list[tuple[str, ...]]:
    curve = report.get("scale") or {"points": []}
    return [
        (
            f"{point['scale']:g}",
            share(point["harmful"]),
            share(point["benign"]),
            share(point["harmful_assented"]),
            share(point["benign_assented"]),
            "published" if point["scale"] == curve["chosen"] else "",
        )
        for point in curve["points"]
    ]


def _title(kind: str, name: str, metric: str) -> str:
    if "_principle_" in metric:
        number = int(metric.rpartition("_")[2])
        return f"{name} {number} · {PRINCIPLES[number]}"
    if kind == "robustness":
        what = "attack succeeds" if metric.startswith("attack_success") else f"{metric.partition('_')[0]} refused"
        return f"{what}{_under(metric)} · {name}"
    if (beside := metric.removeprefix("refusal_rate_")) in BESIDE_PLAIN:
        return f"  {name}{BESIDE_PLAIN[beside]}"
    if metric == "harmful_rate":
        return f"harmful answers · {name}"
    return {
        "harmfulness": f"harmful refused · {name}",
        "over_refusal": f"benign refused · {name}",
        "medical_qa": f"answered right{_how(metric)} · {name}",
    }[kind]


def _under(metric: str) -> str:
    way = metric.partition("_rate")[2].strip("_")
    if way == "plain":
        return ", asked plainly"
    return f", {'prefilled assent' if way.startswith('prefill') else way.replace('_', ' ')}" if way else ""


def _how(metric: str) -> str:
    # accuracy, and what follows it: in writing, with one seed alone, by other lengths.
    rest = metric.removeprefix("accuracy").replace("_written", " in writing")
    rest = rest.replace("_by_length", ", by likelihood a character").replace("_by_sum", ", by likelihood of the whole")
    return rest.replace("_seed_", ", seed ")


def _nats(figure: dict[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "–"
    if figure["ci95"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} ({figure['ci95'][0]:.3f} to {figure['ci95'][1]:.3f})"


def share(figure: dict[str, Any] | None) -> str:
    """A share with its interval, as `88.9 % (83.5 to 92.7)`."""
    if figure is None or figure["value"] is None:
        return "–"
    low, high = figure["ci95"]
    return f"{100 * figure['value']:.1f} % ({100 * low:.1f} to {100 * high:.1f}{_sd(figure)})"


def points(figure: dict[str, Any] | None) -> str:
    """A difference of shares with its interval, in points, as `+65.6 (+57.5 to +71.9)`."""
    if figure is None or figure["value"] is None:
        return "–"
    low, high = figure["ci95"]
    return f"{100 * figure['value']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}{_sd(figure)})"


def _sd(figure: dict[str, Any]) -> str:
    return f"; sd of {figure['seeds']} seeds {100 * figure['sd_of_seeds']:.1f}" if "sd_of_seeds" in figure else ""


def show(report: dict[str, Any], places: dict[str, str]) -> None:
    """Print the tables, six answers side by side, and where everything is."""
    for title, heads, found in tables(report):
        named = f"{title} · {report['model']['path']}" + (" · 95 % intervals" if heads is not ASKED else "")
        table = Table(title=Text(named), title_justify="left", title_style="bold")
        for number, head in enumerate(heads):
            table.add_column(head, justify="right" if number else "left", no_wrap=bool(number))
        for row in found:
            table.add_row(*map(Text, row))
        progress.console.print(table)
    for sample in report["samples"]:
        progress.console.print(Text(f"[{sample['kind']}] {line(sample['prompt'], 300)}", style="bold"))
        for arm in _arms(sample):
            label = sample[arm]["label"] or "no verdict"
            progress.console.print(Text(f"  {names(report)[arm]:<7} {label:<16} {line(sample[arm]['response'], 220)}"))
    for note in report["notes"]:
        progress.console.print(Text(f"note: {note}", style="dim"))
    for what, place in places.items():
        progress.console.print(Text.assemble((f"{what:<15}", "bold"), place))


NUMBERS = ("", "One answer", "Two answers", "Three answers", "Four answers", "Five answers", "Six answers")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _arms(sample: dict[str, Any]) -> list[str]:
    return [arm for arm in ("before", "after") if arm in sample]


def markdown(report: dict[str, Any], places: dict[str, str]) -> str:
    """The report as a Markdown page; whatever a model wrote is inert in it."""
    lines = [f"# {inert(report['name'])}: {inert(heading(report))}", ""]
    for title, heads, found in tables(report):
        lines += [f"## {title}", "", "| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
        lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in found] + [""]
    if report["samples"]:
        number = NUMBERS[len(report["samples"])]
        lines += [f"## {number}{' side by side' if compared(report) else ''}", ""]
        lines += ["Chosen by a hash of the request, not by the outcome.", ""]
    for sample in report["samples"]:
        lines += [f"**{sample['kind']}**, {sample['set']}: {inert(line(sample['prompt'], 1000))}", ""]
        for arm in _arms(sample):
            answer = inert(line(sample[arm]["response"], 1000)) or "(nothing)"
            lines += [
                f"> *{names(report)[arm]}* ({sample[arm]['label'] or 'no verdict'}): {answer}",
                "" if arm == _arms(sample)[-1] else ">",
            ]
    lines += ["## Notes", ""] + [f"- {inert(note)}" for note in report["notes"]] + [""]
    lines += ["## Where", ""] + [f"- {what}: `{place}`" for what, place in places.items()]
    return "\n".join(lines) + "\n"
