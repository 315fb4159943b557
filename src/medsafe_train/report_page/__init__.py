"""report.html: the whole evidence of a run as one file that opens from disk and asks no network for anything."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, measured, pages
from medsafe_train.markdown import visible
from medsafe_train.principles import PRINCIPLES
from medsafe_train.report_page import answer, made, transcripts, words
from medsafe_train.report_page.plots import draw

FOLDER = Path(__file__).parent
STYLE = (FOLDER / "page.css").read_text(encoding="utf-8")
# How a verdict is coloured; one that decides nothing is grey.
TONES = {"passed": "better", "supported": "better", "failed": "worse", "not supported": "worse"}
# Tables of the Markdown page that have a section of their own here.
ELSEWHERE = ("What can be claimed", "Gate")


def write(
    folder: Path,
    report: dict[str, Any],
    items: list[dict[str, Any]],
    curve: list[dict[str, Any]],
    seconds: dict[str, float],
    joules: dict[str, float],
) -> None:
    """Write `report.html` and `transcripts.csv` into the run's folder.

    `items` are those of transcripts.collect, `curve` the records of training.jsonl, `seconds` and `joules` what each stage took:
    apart from these, which stand in one table of the page, the same settings give the same bytes.
    """
    artifacts.write_text(folder / "report.html", render(report, items, curve, seconds, joules))
    artifacts.write_text(folder / "transcripts.csv", transcripts.as_csv(items))


def render(
    report: dict[str, Any],
    items: list[dict[str, Any]],
    curve: list[dict[str, Any]],
    seconds: dict[str, float],
    joules: dict[str, float],
) -> str:
    """The page. What models and users wrote is escaped by the template, or is data that the script shows as text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"points": pages.points, "share": pages.share}
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    cards = answer.cards(report)
    drawn = draw(report, items, curve)
    asked = [benchmark for benchmark in report["benchmarks"] if "prompt" in benchmark]
    return environment.get_template("page.html").render(
        report={"claims": [], "gate": None, **report},  # of one model alone nothing is claimed
        cards=[card for card in cards if card.place],
        compared=measured.compared(report),
        judged=measured.judged(report),
        heading=measured.heading(report),
        names=measured.names(report),
        count=len(items),
        asked=asked,
        tone=lambda verdict: TONES.get(verdict, ""),
        sentence=answer.sentence(report, cards),
        plots=[(plot, Markup(plot.svg)) for plot in drawn],
        tables=[table for table in pages.tables(report) if table[0] not in ELSEWHERE],
        sections=made.sections(report, seconds, joules),
        policy=policy(STYLE, script),
        style=Markup(STYLE),
        script=Markup(script),
        data=Markup(embedded(_data(report, items, asked))),
    )


def _data(report: dict[str, Any], items: list[dict[str, Any]], asked: list[dict[str, Any]]) -> dict[str, Any]:
    """What the script works on; `prompts` are the anchors of the benchmarks' prompts in the page."""
    prompts = {f"{transcripts.QUESTIONS}/{b['name']}": f"prompt-{place}" for place, b in enumerate(asked)}
    known = {"principles": PRINCIPLES, "ways": words.WAYS, "changes": words.CHANGES}
    return {"items": items, "names": measured.names(report), "prompts": prompts, **known}


def policy(style: str, script: str) -> str:
    """A content security policy under which exactly this style and this script act, and nothing is fetched or sent."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_digest(script)}'",
            f"style-src '{_digest(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            # Nothing that a string could become a part of the page through: text stays text.
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def embedded(value: Any) -> str:
    """JSON that may stand inside a `<script>` element: ASCII, and without a character that HTML gives a meaning."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
