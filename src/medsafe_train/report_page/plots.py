"""The plots of the report page, from report.json and the transcripts; a run without the figures has no plot."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from medsafe_train.agreement import level
from medsafe_train.markdown import line
from medsafe_train.principles import PRINCIPLES
from medsafe_train.report_page import words
from medsafe_train.report_page.svg import COLOURS, SETTINGS, drawn

# Inches at 72 to the inch: half of a wide page, and little wider than a phone.
WIDTH, ROW = 5.6, 0.56
INK, MUTED, LINE, PAPER = (COLOURS[name] for name in ("ink", "muted", "line", "paper"))
BEFORE, AFTER = COLOURS["before"], COLOURS["after"]


@dataclass(frozen=True)
class Plot:
    """A picture, what it shows and how to read it; `name` is its anchor in the page."""

    name: str
    title: str
    reading: str
    svg: str


@dataclass(frozen=True)
class Row:
    """A line of a dumbbell plot: the same share before and after, or of one model alone; `chance`: what guessing would give."""

    label: str
    before: dict[str, Any]
    after: dict[str, Any] | None = None
    chance: float | None = None


def draw(report: dict[str, Any], items: list[dict[str, Any]], curve: list[dict[str, Any]]) -> list[Plot]:
    """All that this run has figures for, in the page's order; `items` are its transcripts, `curve` its training.jsonl."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's own matplotlibrc says
        matplotlib.rcParams.update(SETTINGS)
        found = [
            _plane(report),
            _scores(items),
            *_principles(report),
            _attacks(report),
            _questions(report),
            _training(curve),
        ]
    return [plot for plot in found if plot]


def _canvas(height: float, left: float, bottom: float, right: float = 0.2, top: float = 0.15) -> tuple[Any, Any]:
    """A figure of `height` inches and its axes, which keep these distances from its edges."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height))
    FigureCanvasSVG(figure)
    place = (left / WIDTH, bottom / height, 1 - (left + right) / WIDTH, 1 - (top + bottom) / height)
    return figure, figure.add_axes(place)


def _percent(axis: Any) -> None:
    axis.set_ticks([0, 25, 50, 75, 100], labels=["0", "25", "50", "75", "100 %"])


def _shares(report: dict[str, Any], kind: str, metric: str) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """(before, after) by set, of every figure of a kind that has values in both arms."""
    figures, found = report["figures"], {}
    for key, after in figures.items():
        arm, place = key.split("/", 1)
        parts = place.split("/")
        before = figures.get(f"before/{place}")
        if (
            arm == "after"
            and parts[0] == kind
            and parts[2] == metric
            and before
            and _drawable(before)
            and _drawable(after)
        ):
            found[parts[1]] = (before, after)
    return found


def _drawable(figure: dict[str, Any]) -> bool:
    return figure["value"] is not None and figure["ci95"] is not None


def _dumbbells(name: str, title: str, reading: str, rows: list[Row]) -> Plot | None:
    """A row for each share: hollow before, full after, thin lines for the intervals, a notch where guessing would be."""
    if not rows:
        return None
    figure, axes = _canvas(ROW * len(rows) + 0.45, left=0.15, bottom=0.35, right=0.35, top=0.1)
    for place, row in enumerate(reversed(rows)):
        shown = ((row.before, BEFORE, PAPER, 0.0), (row.after, AFTER, AFTER, -0.2))
        for found, colour, face, shift in shown:
            if found is None:
                continue
            low, high = (100 * bound for bound in found["ci95"])
            axes.plot([low, high], [place + shift] * 2, color=colour, linewidth=1.6, solid_capstyle="round", zorder=2)
            axes.plot(
                100 * found["value"], place + shift, "o", markersize=6.5, color=colour, markerfacecolor=face, zorder=3
            )
        if row.chance is not None:
            axes.plot(
                [100 * row.chance] * 2, [place - 0.35, place + 0.15], color=MUTED, linewidth=1, linestyle=(0, (1, 1.5))
            )
        axes.text(0, place + 0.34, line(row.label, 60), va="center", color=INK, fontsize=9.5)
        numbers = f"{_numbers(row, ' → ')} %"
        axes.text(100, place + 0.34, numbers, va="center", ha="right", color=MUTED, fontsize=9.5)
    _frame(axes, len(rows))
    return Plot(name, title, reading, drawn(figure, name, f"{title}. {_aloud(rows)}"))


def _frame(axes: Any, rows: int) -> None:
    axes.set_xlim(-1, 101)
    axes.set_ylim(-0.45, rows - 0.45)
    axes.set_yticks([])
    axes.grid(axis="x", color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(length=0)
    _percent(axes.xaxis)


def _aloud(rows: list[Row]) -> str:
    said = [f"{row.label}: {_numbers(row, ' to ')} percent" for row in rows]
    return "; ".join(line(text, 120) for text in said)


def _numbers(row: Row, between: str) -> str:
    return between.join(f"{100 * found['value']:.0f}" for found in (row.before, row.after) if found)


def _principles(report: dict[str, Any]) -> list[Plot | None]:
    """One plot for each prompt set that tells principles apart."""
    found: list[Plot | None] = []
    for number, described in enumerate(report["prompt_sets"]):
        kind, name = described["kind"], described["name"]
        group = "harmfulness" if kind == "harmful" else "over_refusal"
        rows = []
        for principle, title in PRINCIPLES.items():
            pair = _shares(report, group, f"refusal_rate_principle_{principle}").get(name)
            rows += [Row(f"{principle} · {title}", *pair)] if pair else []
        what = "Harmful requests refused" if kind == "harmful" else "Harmless requests refused"
        better = "Right is better" if kind == "harmful" else "Left is better"
        reading = f"{name}, by the principle of medical ethics at stake. {better}."
        found.append(_dumbbells(f"principles-{number}", f"{what}, by principle", reading, rows))
    return found


def _attacks(report: dict[str, Any]) -> Plot | None:
    """Attacks that succeed, each beside the same requests as they were asked."""
    named = {key.rpartition("/")[2] for key in report["figures"] if key.startswith("after/robustness/")}
    ways = sorted(
        metric.removeprefix(ATTACK) for metric in named if metric.startswith(ATTACK) and "_principle_" not in metric
    )
    rows = [
        Row(f"{name}, {words.way(way)}", *pair)
        for way in sorted(ways, key=lambda way: way != "plain")
        for name, pair in _shares(report, "robustness", f"{ATTACK}{way}").items()
    ]
    reading = "Harmful requests answered instead of declined, as they are and put as an attacker would. Left is better."
    return _dumbbells("attacks", "Attacks that succeed", reading, rows)


ATTACK = "attack_success_rate_"


def _questions(report: dict[str, Any]) -> Plot | None:
    figures, rows = report["figures"], []
    for key, before in figures.items():
        arm, kind, name, metric = key.split("/")
        if (arm, kind, metric) == ("before", "medical_qa", "accuracy") and _drawable(before):
            after = figures.get(key.replace("before", "after", 1))
            rows.append(
                Row(
                    before.get("title", name),
                    before,
                    after if after and _drawable(after) else None,
                    before.get("chance"),
                )
            )
    reading = "Dotted: what guessing would give, or always the same answer. "
    reading += "Where the interval" + (" before" if any(row.after for row in rows) else "") + " reaches it, "
    reading += "these questions cannot show a loss." if any(row.after for row in rows) else "no knowledge is shown."
    return _dumbbells("questions", "Medical questions answered right", reading, rows)


def _plane(report: dict[str, Any]) -> Plot | None:
    """Harmful refused against harmless refused: before, after, and the strengths between which validation chose."""
    harmful, benign = (list(_shares(report, kind, "refusal_rate").items()) for kind in ("harmfulness", "over_refusal"))
    if not harmful or not benign:
        return None
    (bad, harm), (good, harmless) = harmful[0], benign[0]
    figure, axes = _canvas(4.4, left=0.65, bottom=0.6, right=0.3, top=0.2)
    axes.plot([0, 100], [0, 100], color=LINE, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    axes.text(97, 93, "refuses both alike", color=MUTED, fontsize=8.5, ha="right", va="top", rotation=0)
    points = _strengths(axes, report)
    for arm, x, y, colour, face in zip(
        ("before", "after"), harmless, harm, (BEFORE, AFTER), (PAPER, AFTER), strict=True
    ):
        across, up = 100 * x["value"], 100 * y["value"]
        axes.plot([100 * b for b in x["ci95"]], [up, up], color=colour, linewidth=1.6, zorder=4)
        axes.plot([across, across], [100 * b for b in y["ci95"]], color=colour, linewidth=1.6, zorder=4)
        axes.plot(across, up, "o", markersize=9, color=colour, markerfacecolor=face, zorder=5)
        axes.annotate(
            arm, (across, up), xytext=(9, -13), textcoords="offset points", color=colour, fontsize=10, weight="bold"
        )
    for axis, label in ((axes.xaxis, f"harmless refused · {good}"), (axes.yaxis, f"harmful refused · {bad}")):
        axis.set_label_text(line(label, 60), fontsize=9.5)
        _percent(axis)
    axes.set_xlim(-2, 102)
    axes.set_ylim(-2, 104)
    axes.grid(color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    reading = "Up is safer, left is more helpful; the best corner is top left. On the dashed line a model tells nothing apart."
    if points:
        reading += " Small marks: the adapter at other strengths, on requests kept for that choice."
    said = f"before {_said(harm[0])} of harmful and {_said(harmless[0])} of harmless refused, after {_said(harm[1])} and {_said(harmless[1])}"
    return Plot(
        "plane", "Safety against helpfulness", reading, drawn(figure, "plane", f"Safety against helpfulness: {said}")
    )


def _said(figure: dict[str, Any]) -> str:
    return f"{100 * figure['value']:.0f} percent"


def _strengths(axes: Any, report: dict[str, Any]) -> int:
    """Draw the curve that the scale stage tried; returns how many points it has."""
    curve = report.get("scale") or {"points": [], "chosen": None}
    tried = [p for p in curve["points"] if p["harmful"]["value"] is not None and p["benign"]["value"] is not None]
    if len(tried) < 2:
        return 0
    across, up = ([100 * point[kind]["value"] for point in tried] for kind in ("benign", "harmful"))
    axes.plot(across, up, color=MUTED, linewidth=1, zorder=2)
    for x, y, point in zip(across, up, tried, strict=True):
        chosen = point["scale"] == curve["chosen"]
        axes.plot(x, y, "D" if chosen else "s", markersize=5 if chosen else 3.5, color=MUTED, zorder=3)
    # Strengths lie close together; the ends and the chosen one tell the way.
    named = {tried[0]["scale"], tried[-1]["scale"], curve["chosen"]}
    for x, y, point in zip(across, up, tried, strict=True):
        if point["scale"] in named:
            axes.annotate(
                f"×{point['scale']:g}",
                (x, y),
                xytext=(-5, 5),
                textcoords="offset points",
                fontsize=8.5,
                color=MUTED,
                ha="right",
            )
    return len(tried)


def _scores(items: list[dict[str, Any]]) -> Plot | None:
    """How the judge's scores 1-5 are spread over the answers to harmful requests as they were asked."""
    arms = {
        arm: Counter(_score(item, arm) for item in items if item["kind"] == "harmful" and not item["attack"])
        for arm in ("before", "after")
        if any(arm in item for item in items)
    }
    counts = {arm: {score: found[score] for score in range(1, 6)} for arm, found in arms.items()}
    if not counts or not all(sum(found.values()) for found in counts.values()):
        return None
    figure, axes = _canvas(0.7 + 0.6 * len(counts), left=0.75, bottom=0.35, right=0.35, top=0.35)
    for place, (_, found) in enumerate(reversed(counts.items())):
        start, whole = 0.0, sum(found.values())
        for score, count in found.items():
            share = 100 * count / whole
            axes.barh(
                place, share, left=start, height=0.56, color=COLOURS[f"score-{score}"], edgecolor=PAPER, linewidth=1
            )
            if share >= 6:
                axes.text(
                    start + share / 2,
                    place,
                    f"{share:.0f}",
                    ha="center",
                    va="center",
                    fontsize=9.5,
                    color=PAPER if score in (1, 5) else INK,
                )
            start += share
    _frame(axes, len(counts))
    axes.set_yticks(range(len(counts)), labels=[*reversed(counts)])
    for score in range(1, 6):
        axes.text((score - 1) * 20, len(counts) - 0.38, "■", color=COLOURS[f"score-{score}"], fontsize=11)
        axes.text((score - 1) * 20 + 4.5, len(counts) - 0.37, f"{score}", color=MUTED, fontsize=9.5)
    said = "; ".join(
        f"{arm}: " + ", ".join(f"{n} scored {score}" for score, n in found.items()) for arm, found in counts.items()
    )
    reading = "Share of answers to harmful requests by the judge's score: 1 declines, 5 fulfils the request."
    return Plot(
        "scores", "How harmful the answers are", reading, drawn(figure, "scores", f"Harmfulness scores. {said}")
    )


def _score(item: dict[str, Any], arm: str) -> int | None:
    score = item[arm]["score"]
    return None if score is None else level(score)


def _training(curve: list[dict[str, Any]]) -> Plot | None:
    points = [(entry["step"], entry["loss"]) for entry in curve if "loss" in entry]
    if len(points) < 2:
        return None
    figure, axes = _canvas(2.9, left=0.6, bottom=0.55)
    steps, losses = zip(*points, strict=True)
    axes.plot(steps, losses, color=LINE, linewidth=1, zorder=2)
    axes.plot(steps, _smooth(losses), color=AFTER, linewidth=2, zorder=3)
    axes.set_xlabel("update", fontsize=9.5)
    axes.set_ylabel("loss", fontsize=9.5)
    axes.set_ylim(0, None)
    axes.margins(x=0.02)
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    axes.tick_params(length=0)
    said = f"Training loss from {losses[0]:.2f} to {losses[-1]:.2f} in {steps[-1]} updates"
    return Plot(
        "training", "Training", "Loss by update; the strong line is a running mean.", drawn(figure, "training", said)
    )


def _smooth(values: tuple[float, ...]) -> list[float]:
    reach = max(1, len(values) // 40)
    return [
        sum(near) / len(near)
        for place in range(len(values))
        if (near := values[max(0, place - reach) : place + reach + 1])
    ]
