"""Holds a judge against people's labels: how far they agree, on which model, and what that does to a before/after difference."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from medsafe_train import agreement, artifacts, progress, statistics
from medsafe_train.artifacts import Artifact, Store
from medsafe_train.judges import string_match, validated
from medsafe_train.judges.verdict import HARMFUL, HIGHEST, LOWEST, coverage, harmful
from medsafe_train.markdown import cell, line
from medsafe_train.sources.labels import AFTER, BEFORE, LABELS, Labelled, Labels

VERSION = 1
Pair = tuple[Labelled, dict[str, Any]]


def answers(store: Store, labels: Labels) -> Artifact:
    """The labelled answers as an artifact that a judge can read, `responses.jsonl`."""

    def build(folder: Path) -> None:
        records = ({"id": row.id, "prompt": row.prompt, "response": row.response} for row in labels.rows)
        artifacts.write_jsonl(folder / "responses.jsonl", records)

    return store.make("labelled", _made_from(labels), build)


def place(store: Store, labels: Labels) -> Artifact:
    """Where the labelled answers are or will be."""
    return store.place("labelled", _made_from(labels))


def _made_from(labels: Labels) -> dict[str, Any]:
    return {"version": VERSION, "files": labels.files, "n": len(labels.rows)}


def run(folder: Path, labels: Labels, verdicts: Artifact, about: dict[str, Any]) -> dict[str, Any]:
    """Write `judge_validation.json` and `disagreements.csv` into the run's folder, print a table, and return the former."""
    by_id = {verdict["id"]: verdict for verdict in verdicts.records("verdicts.jsonl")}
    pairs = [(row, by_id[row.id]) for row in labels.rows]
    name = about["judge"]["name"]
    fitted = validated.fitted_on(name, labels.files)
    found = {"version": VERSION, **about, "labels": labels.files, "in_sample": fitted, **figures(pairs)}
    models = sorted({row.model for row, _ in pairs if row.model})
    found["models"] = {model: figures([pair for pair in pairs if pair[0].model == model]) for model in models}
    arms = {arm: [pair for pair in pairs if pair[0].arm == arm] for arm in (BEFORE, AFTER)}
    found["arms"] = {arm: figures(some) for arm, some in arms.items() if some}
    found["bias_of_difference"] = {
        "refusal_rate": bias(arms[BEFORE], arms[AFTER], _refusals),
        "mean_score": bias(arms[BEFORE], arms[AFTER], _scores),
    }
    artifacts.write_json(folder / "judge_validation.json", found)
    apart = [pair for pair in pairs if _apart(*pair)]
    artifacts.write_text(folder / "disagreements.csv", _as_csv(apart))
    show(found)
    if not any(found[name] for name in ("agreement", "weighted_kappa", "harmful")):
        progress.warn(
            f"nothing was compared: the judge {name} says nothing of what these labels say; scores are held against "
            "judges that score (estimate, rubric), labels against all"
        )
    if fitted:
        progress.warn(
            f"in sample: the weights of the judge {name} were fitted on {', '.join(fitted)}, so these figures are no evidence for other "
            f"answers. Without them: {validated.sentence(name)}"
        )
    progress.heading("validation", str(folder / "judge_validation.json"))
    progress.heading("disagreements", f"{folder / 'disagreements.csv'} ({len(apart)} of {len(pairs)} answers)")
    return found


def _apart(row: Labelled, verdict: dict[str, Any]) -> bool:
    """Whether raters and judge say something else: another of three labels, or a level that is one off or more."""
    labels = None not in (row.label, verdict["label"]) and row.label != verdict["label"]
    scores = None not in (row.score, verdict["score"]) and abs(row.score - verdict["score"]) >= 1
    return labels or scores


def _as_csv(pairs: Sequence[Pair]) -> str:
    """Answers on which they differ, for a spreadsheet in which no cell is a formula; refused or not at all comes first."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    said = ("label", "judge_label", "score", "judge_score")
    writer.writerow(["id", "model", "arm", *said, "prompt", "response", "explanation"])
    for row, verdict in sorted(pairs, key=lambda pair: _refused(pair[0]) in (None, pair[1]["refused"])):
        found = (row.label, verdict["label"], row.score, verdict["score"])
        cells = [row.id, row.model, row.arm, *found, row.prompt, row.response, verdict["explanation"]]
        writer.writerow(["" if value is None else cell(str(value)) for value in cells])
    return file.getvalue()


def figures(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Agreement on refusal (any against none, and of three labels), on the level, and on what counts as harmful.

    Each is null where the raters or the judge do not say. Only answers with a verdict count; `coverage` says how many have none.
    """
    refused = _both(pairs, _refused, lambda verdict: verdict["refused"])
    labelled = _both(pairs, lambda row: row.label, lambda verdict: verdict["label"])
    scored = _both(pairs, lambda row: row.score, lambda verdict: verdict["score"])
    called = _both(pairs, lambda row: None if row.score is None else row.score >= HARMFUL, harmful)
    strings = [(_refused(row), string_match.matches(row.response)) for row, _ in pairs if row.label]
    return {
        "n": len(pairs),
        "coverage": coverage([verdict for _, verdict in pairs]),
        **_two(refused),
        "string_match": _two(strings)["kappa"],
        "confusion": _confusion(labelled, LABELS),
        "three_labels": agreement.kappa(*_columns(labelled)) if labelled else None,
        "weighted_kappa": agreement.weighted(*_columns(scored)) if scored else None,
        "score_difference": statistics.mean([b - a for a, b in scored], (LOWEST - HIGHEST, HIGHEST - LOWEST))
        if scored
        else None,
        "score_confusion": _confusion([(agreement.level(a), agreement.level(b)) for a, b in scored], agreement.LEVELS),
        "harmful": _two(called) if called else None,
    }


def _refused(row: Labelled) -> bool | None:
    return None if row.label is None else row.label != "compliance"


def _both(
    pairs: Sequence[Pair], rater: Callable[[Labelled], Any], judge: Callable[[dict[str, Any]], Any]
) -> list[tuple[Any, Any]]:
    """What raters and judge say of the answers of which both say something."""
    said = [(rater(row), judge(verdict)) for row, verdict in pairs]
    return [(a, b) for a, b in said if a is not None and b is not None]


def _two(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """Agreement and kappa on a yes or no, and by how much the judge says yes more often."""
    if not pairs:
        return {"agreement": None, "kappa": None, "rate_difference": None}
    return {
        "agreement": statistics.rate([a == b for a, b in pairs]),
        "kappa": agreement.kappa(*_columns(pairs)),
        "rate_difference": statistics.mean([float(b) - float(a) for a, b in pairs], (-1.0, 1.0)),
    }


def _columns(pairs: Sequence[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    return [a for a, _ in pairs], [b for _, b in pairs]


def _confusion(pairs: Sequence[tuple[Any, Any]], names: Sequence[Any]) -> dict[str, Any] | None:
    """Counts: a row for what the raters said, a column for what the judge said."""
    return {"names": list(names), "rows_are_raters": agreement.table(*_columns(pairs), names)} if pairs else None


def _refusals(pairs: Sequence[Pair]) -> list[float]:
    return [float(b) - float(a) for a, b in _both(pairs, _refused, lambda verdict: verdict["refused"])]


def _scores(pairs: Sequence[Pair]) -> list[float]:
    return [b - a for a, b in _both(pairs, lambda row: row.score, lambda verdict: verdict["score"])]


def bias(
    before: Sequence[Pair], after: Sequence[Pair], errors: Callable[[Sequence[Pair]], list[float]]
) -> dict[str, Any] | None:
    """By how much the judge's before/after difference is off: the difference of its mean errors, with Welch's 95 % interval.

    None without answers of both arms; 0 where the judge errs alike in both, which then cancels.
    """
    from scipy import stats

    one, other = errors(before), errors(after)
    if not one or not other:
        return None
    value = sum(other) / len(other) - sum(one) / len(one)
    n = len(one) + len(other)
    if min(len(one), len(other)) < 2 or len({*one}) == len({*other}) == 1:  # no spread to make an interval of
        return {"value": value, "ci95": None, "n": n}
    interval = stats.ttest_ind(other, one, equal_var=False).confidence_interval(0.95)
    return {"value": value, "ci95": [float(interval.low), float(interval.high)], "n": n}


def show(found: dict[str, Any]) -> None:
    """Print the figures, all together and by model and arm."""
    table = Table(title="The judge against labels", title_justify="left", title_style="bold")
    heads = ("", "answers", "verdicts", "refusal: agreement", "kappa", "string match", "1 to 5: weighted kappa")
    for head in heads:
        table.add_column(head, justify="left" if head == "" else "right")
    for name, part in [("all", found), *found["models"].items(), *found["arms"].items()]:
        shares = (part["agreement"], part["kappa"], part["string_match"], part["weighted_kappa"])
        table.add_row(Text(line(name, 60)), str(part["n"]), f"{part['coverage']['share']:.1%}", *map(_shown, shares))
    progress.console.print(table)


def _shown(figure: dict[str, Any] | None) -> str:
    if figure is None or figure["value"] is None:
        return "–"
    low, high = figure["ci95"] or (None, None)
    return f"{figure['value']:.3f}" + (f" ({low:.3f} to {high:.3f})" if low is not None else "")
