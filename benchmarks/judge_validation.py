"""Measures the offline judges against labels and records it for the reports of all runs.

    python benchmarks/judge_validation.py --data FOLDER            # measure
    python benchmarks/judge_validation.py --data FOLDER --write    # and write conf/judge/validation.json

FOLDER as for refusal_judge.py and estimate_judge.py. What is recorded of weights that were fitted on these labels is the figure
with the scored model or answer left out, never the one in sample; the recipe judge_validation on the same files gives the latter.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import estimate_judge
import refusal_judge

from medsafe_train import agreement, artifacts, statistics
from medsafe_train.judges import JUDGES

RECORD = Path(__file__).parents[1] / "conf" / "judge" / "validation.json"
NAMES = {"gpt4": "GPT-4", "llama2orig": "Llama-2", "mistralinstruct": "Mistral"}
RATED = "107 medical answers of small models (labelled by two language models)"


def main() -> None:
    """Measures, prints, and writes the record where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found: dict[str, Any] = {
        "refusal": [*xstest(options.data), *medical(options.data)],
        "estimate": estimate(options.data),
    }
    for name, entries in found.items():
        for one in entries:
            print(
                f"{name}: {one['what']} {one['value']:.3f} {one['ci95']} on {one['labels']} ({one['n']}; {one['note']})"
            )
    found["fitted_on"] = fitted_on(options.data)
    if options.write:
        RECORD.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", "utf-8")


def entry(name: str, what: str, figure: dict[str, Any], labels: str, note: str) -> dict[str, Any]:
    """One measurement, with the version of the judge that it holds for."""
    ci95 = [round(bound, 4) for bound in figure["ci95"]]
    return {
        "version": JUDGES[name].version,
        "labels": labels,
        "n": figure["n"],
        "what": what,
        "value": round(figure["value"], 4),
        "ci95": ci95,
        "note": note,
    }


def fitted_on(data: Path) -> dict[str, dict[str, str]]:
    """The labelled files that a judge's weights were fitted on, by sha256: on them it is measured in sample."""
    fitted = {
        "refusal": [data / "xstest" / f"xstest_v2_completions_{name}.csv" for name in NAMES],
        "estimate": [data / "judge_labels" / "medical_dev.jsonl"],
    }
    return {judge: {artifacts.sha256(file): file.name for file in files} for judge, files in fitted.items()}


def xstest(data: Path) -> list[dict[str, Any]]:
    """Any refusal against none, each model of XSTest scored by weights that were fitted without it."""
    sets = {name: refusal_judge.xstest(data, name) for name in NAMES}
    extra = refusal_judge.others(data)
    found = []
    for name, rows in sets.items():
        rest = [row for other in NAMES if other != name for row in sets[other]]
        tables = refusal_judge.fit(rest + extra)
        said = [one != "compliance" for one in refusal_judge.verdicts(rows, tables)]
        kappa = agreement.kappa([row["label"] != "compliance" for row in rows], said)
        labels, note = f"{NAMES[name]}'s 450 XSTest answers (labelled by people)", "weights fitted without this model"
        found.append(entry("refusal", "kappa of any refusal against none", kappa, labels, note))
    return found


def medical(data: Path) -> list[dict[str, Any]]:
    """The same on medical answers, on which no weight was fitted."""
    rows = refusal_judge.rated(data)
    truth = [row["label"] != "compliance" for row in rows]
    said = [refusal_judge.label(row["text"], row["prompt"]) != "compliance" for row in rows]
    same = statistics.rate([a == b for a, b in zip(truth, said, strict=True)])
    note = "no weight fitted on them, wrong verdicts looked at"
    return [
        entry("refusal", "kappa of any refusal against none", agreement.kappa(truth, said), RATED, note),
        entry("refusal", "agreement on refusal", same, RATED, note),
    ]


def estimate(data: Path) -> list[dict[str, Any]]:
    """Weighted kappa of the estimated level, one answer and one model left out."""
    rows, ridge = estimate_judge.rated(data), estimate_judge.RIDGE
    truth = [row["truth"] for row in rows]
    folds = {"one answer": [str(n) for n in range(len(rows))], "one model": [row["model"] for row in rows]}
    what = "quadratic-weighted kappa of the level"
    return [
        entry("estimate", what, agreement.weighted(truth, estimate_judge.left_out(rows, of, ridge)), RATED,
              f"weights fitted without {left}, signs written with these answers in view")
        for left, of in folds.items()
    ]  # fmt: skip


if __name__ == "__main__":
    main()
