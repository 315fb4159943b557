"""Reads answers that people or other raters have labelled: XSTest's completions, or any JSONL or CSV with the columns below."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medsafe_train import artifacts
from medsafe_train.config import UserError
from medsafe_train.sources.files import Row, read_file, text_of

LABELS = ("refusal", "partial_refusal", "compliance")
# As XSTest's annotators call them (Röttger et al. 2023, arXiv 2308.01263).
XSTEST = {"1_full_compliance": "compliance", "2_full_refusal": "refusal", "3_partial_refusal": "partial_refusal"}
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class Labelled:
    """An answer with what raters said of it; `score` is 1 to 5 where it was rated, `arm` before or after where it is known."""

    id: str
    prompt: str
    response: str
    label: str | None
    score: float | None
    model: str | None
    arm: str | None


@dataclass(frozen=True)
class Labels:
    """Labelled answers and the files they came from."""

    rows: list[Labelled]
    files: dict[str, str] = field(default_factory=dict)
    """sha256 by file name"""


def load(path: str) -> Labels:
    """The labelled answers of a file, or of all files of a folder that hold any.

    Columns: `prompt`, `response`, `label` (refusal, partial_refusal, compliance) or `score` (1 to 5) or both; where they are there
    `id` (else the row's number, with the file's name where that is not enough), `model`, `arm` (before, after). XSTest's own:
    `completion`, `final_label`, and the model from the file's name. Without `arm`, a model called base is before and every other
    after. Raises UserError with file and line.
    """
    place = Path(path)
    if not place.exists():
        raise UserError(f"judge_validation.labels={path}: no such file or folder: correct it")
    names = sorted(f for f in place.iterdir() if f.suffix in (".csv", ".jsonl", ".json")) if place.is_dir() else [place]
    tables = {file: read_file(file) for file in names}
    if place.is_dir():
        tables = {file: rows for file, rows in tables.items() if rows and _is_labelled(rows[0])}
    numbered = [(row, n, file) for file, rows in tables.items() for n, row in enumerate(rows, 1)]
    found = [_labelled(row, str(n), file) for row, n, file in numbered]
    if not found:
        raise UserError(
            f"judge_validation.labels={path} holds no labelled answers: columns response and label (or score) are needed"
        )
    # Rows without an id are called by their number, which begins at 1 in each file.
    counts, places = Counter(answer.id for answer in found), dict[str, str]()
    for at, (row, n, file) in enumerate(numbered):
        if counts[found[at].id] > 1:
            found[at] = _labelled(row, f"{file.name}:{n}", file)
        answer = found[at]
        if (before := places.setdefault(answer.id, row.place)) != row.place:
            raise UserError(
                f"{row.place}: two answers of one model are called {answer.id}, the other at {before}: give each its own id"
            )
    return Labels(_with_arms(found), {file.name: artifacts.sha256(file) for file in tables})


def _is_labelled(row: Row) -> bool:
    return bool({"label", "final_label", "score"} & set(row.values)) and bool(
        {"response", "completion"} & set(row.values)
    )


def _labelled(row: Row, number: str, file: Path) -> Labelled:
    values = row.values
    ours = "completion" not in values or "response" in values
    if not _is_labelled(row):
        raise UserError(
            f"{row.place}: columns response and label (or score) are needed, there are: {', '.join(map(str, values))}"
        )
    model = _optional(values.get("model")) or (None if ours else file.stem.rpartition("completions_")[2])
    id = _optional(values.get("id")) or number
    arm = _optional(values.get("arm"))
    if arm not in (None, BEFORE, AFTER):
        raise UserError(f"{row.place}: arm {arm!r} is neither before nor after: correct it")
    return Labelled(
        id=f"{model}/{id}" if model else id,
        prompt=text_of(row, "prompt"),
        response=_answer(row, "response" if ours else "completion"),
        label=_label(row),
        score=_score(row),
        model=model,
        arm=arm,
    )


def _answer(row: Row, column: str) -> str:
    # An empty answer is one too.
    return text_of(row, column) if str(row.values.get(column) or "").strip() else ""


def _optional(value: Any) -> str | None:
    return None if value in (None, "") else str(value).strip()


def _label(row: Row) -> str | None:
    said = _optional(row.values.get("label", row.values.get("final_label")))
    if said is None and row.values.get("score") in (None, ""):
        raise UserError(f"{row.place}: neither a label nor a score: give one of them")
    found = XSTEST.get(said or "", said)
    if found not in (None, *LABELS):
        raise UserError(f"{row.place}: label {said!r} is none of {', '.join(LABELS)}: correct it")
    return found


def _score(row: Row) -> float | None:
    said = row.values.get("score")
    if said in (None, ""):
        return None
    try:
        score = 0.0 if isinstance(said, bool) else float(said)
    except (TypeError, ValueError):
        score = 0.0
    if not 1 <= score <= 5:
        raise UserError(f"{row.place}: score {said!r} is no number from 1 to 5: correct it")
    return score


def _with_arms(rows: list[Labelled]) -> list[Labelled]:
    if any(row.arm for row in rows) or not any(row.model == "base" for row in rows):
        return rows
    return [Labelled(**{**vars(row), "arm": BEFORE if row.model == "base" else AFTER}) for row in rows]
