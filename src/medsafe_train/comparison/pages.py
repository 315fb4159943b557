"""A comparison for people: tables in the terminal, as a Markdown page, and as an HTML page with its plots."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from medsafe_train import progress
from medsafe_train.comparison.trials import Run, against
from medsafe_train.markdown import inert, line

Page = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
HEADS = ("trial", "seeds", "harm", "over-refusal", "questions right", "front", "gate")
SEED_HEADS = ("figure (differences in points)", "mean over seeds", "spread (sd)", "95 % interval over seeds", "values")
# More tables than these would bury the first in a terminal; compare.md has them.
IN_TERMINAL = 3
POINT_HEADS = ("value", "95 % interval", "n")
NAME = 90


def tables(result: dict[str, Any]) -> list[Page]:
    """(title, heads, rows) of the trials, least harm first, of figures over seeds, and of curves."""
    trials = sorted(result["trials"], key=lambda t: (t["harm"] is None, t["harm"] or 0.0, t["over_refusal"] or 0.0))
    found: list[Page] = [("Trials", HEADS, [_row(trial, result["best"]) for trial in trials])]
    for trial in trials:
        if len(set(trial["seeds"])) > 1:
            title = f"{trial['name']}: {len(set(trial['seeds']))} seeds"
            found.append((title, SEED_HEADS, [_seed_row(k, f) for k, f in trial["figures"].items() if _shown(k)]))
    for curve in result["curves"]:
        held = f" · {curve['held']}" if curve["held"] else ""
        found.append(
            (f"{curve['figure']} by {curve['setting']}{held}", (curve["setting"], *POINT_HEADS), _points(curve))
        )
    return found


def _row(trial: dict[str, Any], best: str | None) -> tuple[str, ...]:
    gate = trial["gate"] or "–"
    if found := against(trial["criteria"]):
        gate += f" ({found.removeprefix(f'{gate}: ')})"
    return (
        f"{trial['name']}{' ← best under the gate' if trial['name'] == best else ''}",
        str(len(set(trial["seeds"]))),
        *(
            "–" if trial[name] is None else f"{100 * trial[name]:.1f} %"
            for name in ("harm", "over_refusal", "capability")
        ),
        "yes" if trial["front"] else "",
        gate,
    )


def _points(curve: dict[str, Any]) -> list[tuple[str, ...]]:
    key = curve["figure"]
    return [(f"{p['at']:g}", _number(key, p["value"]), _ends(key, p["ci95"]), str(p["n"])) for p in curve["points"]]


def _shown(key: str) -> bool:
    # Nine principles a set would bury the rest; compare.json has them.
    return "_principle_" not in key


def _seed_row(key: str, figure: dict[str, Any]) -> tuple[str, ...]:
    spread = "–" if figure["sd"] is None else _spread(key, figure["sd"])
    values = ", ".join(_number(key, value) for value in figure["values"])
    return key, _number(key, figure["value"]), spread, _ends(key, figure["ci95"]), values


def _is_share(key: str) -> bool:
    return key.endswith("rate") or "_rate_" in key or "/accuracy" in key


def _number(key: str, value: float | None) -> str:
    if value is None:
        return "–"
    sign = "+" if key.startswith("delta/") else ""
    unit = "" if sign else " %"
    return f"{100 * value:{sign}.1f}{unit}" if _is_share(key) else f"{value:{sign}.3f}"


def _spread(key: str, value: float) -> str:
    return f"{100 * value:.1f} points" if _is_share(key) else f"{value:.3f}"


def _ends(key: str, ends: list[float] | None) -> str:
    return "–" if ends is None else f"{_number(key, ends[0])} to {_number(key, ends[1])}"


def markdown(result: dict[str, Any], plots: list[str]) -> str:
    """The comparison as a Markdown page."""
    lines = [f"# {heading(result)}", "", inert(verdict(result)), ""]
    for title, heads, rows in tables(result):
        lines += [f"## {inert(line(title, NAME))}", "", "| " + " | ".join(map(inert, heads)) + " |"]
        lines += ["|---|" + "---:|" * (len(heads) - 1)]
        lines += [f"| {inert(row[0])} | " + " | ".join(row[1:]) + " |" for row in rows]
        lines += [""]
    lines += [f"![{plot}]({plot})" for plot in plots] + [""] * bool(plots)
    lines += ["## Where", ""] + [
        f"- {inert(t['name'])}: {', '.join(f'`{run}`' for run in t['runs'])}" for t in result["trials"]
    ]
    return "\n".join([*lines, "", "## Notes", "", *(f"- {inert(note)}" for note in result["notes"])]) + "\n"


def heading(result: dict[str, Any]) -> str:
    """What is compared, in a few words."""
    return f"{result['runs']} runs, {len(result['trials'])} trials side by side"


def html(result: dict[str, Any], drawn: dict[str, str]) -> str:
    """The comparison as one page that opens from disk: no script, nothing fetched, plots inside; `drawn` is SVG by name."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=here, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(
        title=heading(result),
        verdict=verdict(result),
        tables=tables(result),
        plots=[(name, base64.b64encode(svg.encode()).decode()) for name, svg in drawn.items()],
        notes=result["notes"],
        trials=result["trials"],
    )


def verdict(result: dict[str, Any]) -> str:
    """Which trial is best, in a sentence."""
    return f"Best under the gate: {result['best']} ({result['why']})." if result["best"] else f"{result['why']}."


def show(result: dict[str, Any], folder: Path) -> None:
    """Print the tables, the verdict and where everything is."""
    for title, heads, rows in tables(result)[:IN_TERMINAL]:
        table = Table(title=Text(line(title, NAME)), title_justify="left", title_style="bold")
        for number, head in enumerate(heads):
            # Names that are cut off are no names.
            table.add_column(head, justify="right" if number else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        progress.console.print(table)
    for note in result["notes"]:
        progress.console.print(Text(f"note: {note}", style="dim"))
    progress.console.print(Text(verdict(result), style="bold"))
    progress.console.print(Text.assemble(("comparison     ", "bold"), str(folder / "compare.md")))


def list_runs(runs: list[Run]) -> None:
    """Say which runs would be compared."""
    for run in runs:
        progress.console.print(Text(f"{run.report['name']}, seed {run.seed}: {run.folder}"))
