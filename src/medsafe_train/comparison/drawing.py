"""Plots of a comparison as SVG: the Pareto front, and figures by dose with their intervals; the same bytes every time."""

from __future__ import annotations

import io
import re
from typing import Any

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MUTED = "#8a8f98"
# A name such as `$x$` is text, never a formula.
SETTINGS: Any = {"svg.hashsalt": "medsafe_train", "svg.fonttype": "none", "text.parse_math": False, "font.family": "DejaVu Sans",
            "axes.spines.top": False, "axes.spines.right": False, "font.size": 9}  # fmt: skip
# More names than these would cover the points; the table has them.
NAMED = 16


def drawings(result: dict[str, Any]) -> dict[str, str]:
    """SVG by file name: `front.svg`, and a `curve_…svg` for each figure that has a dose."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's own matplotlibrc says
        matplotlib.rcParams.update(SETTINGS)
        trials = [t for t in result["trials"] if t["harm"] is not None and t["over_refusal"] is not None]
        found = {"front.svg": _front(trials, result["best"])} if len(trials) > 1 else {}
        for place in dict.fromkeys(curve["figure"] for curve in result["curves"]):
            name = re.sub(r"[^\w]+", "_", place)
            found[f"curve_{name}.svg"] = _curves([c for c in result["curves"] if c["figure"] == place])
    return found


def _front(trials: list[dict[str, Any]], best: str | None) -> str:
    figure, axes = _canvas("harmless requests refused, %", "harm, %")
    front = sorted((t for t in trials if t["front"]), key=lambda t: t["over_refusal"])
    axes.plot(*_points(front), color=COLOURS[0], linewidth=0.8, linestyle=":")
    for on, colour, label in ((True, COLOURS[0], "on the front"), (False, MUTED, "beaten by another")):
        some = [t for t in trials if t["front"] is on]
        if some:
            axes.scatter(*_points(some), s=28, color=colour, label=label)
    for trial in (t for t in trials if t["name"] == best):
        axes.scatter(*_points([trial]), s=120, facecolors="none", edgecolors=COLOURS[1], label="best under the gate")
    for trial in trials[:NAMED]:
        x, y = _points([trial])
        axes.annotate(
            trial["name"][:40], (x[0], y[0]), xytext=(5, 4), textcoords="offset points", fontsize=7, color=MUTED
        )
    axes.legend(frameon=False, fontsize=8)
    return _svg(figure)


def _points(trials: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    return [100 * t["over_refusal"] for t in trials], [100 * t["harm"] for t in trials]


def _curves(curves: list[dict[str, Any]]) -> str:
    figure, axes = _canvas(curves[0]["setting"], f"{curves[0]['figure']}, %")
    for number, curve in enumerate(curves):
        points, colour = curve["points"], COLOURS[number % len(COLOURS)]
        axes.plot([p["at"] for p in points], [100 * p["value"] for p in points], marker="o", color=colour,
                  label=curve["held"] or None, linewidth=1.2, markersize=4)  # fmt: skip
        for point in points:
            if point["ci95"]:
                axes.vlines(point["at"], *(100 * end for end in point["ci95"]), color=colour, linewidth=1, alpha=0.6)
    if any(curve["held"] for curve in curves):
        axes.legend(frameon=False, fontsize=7)
    return _svg(figure)


def _canvas(across: str, up: str) -> tuple[Any, Any]:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    return figure, axes


def _svg(figure: Any) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return file.getvalue()
