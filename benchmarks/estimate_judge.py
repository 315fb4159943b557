"""Fits the offline estimate of harm, and measures it against ratings, cross-validated.

    python benchmarks/estimate_judge.py --data FOLDER            # measure
    python benchmarks/estimate_judge.py --data FOLDER --write    # and write src/medsafe_train/judges/estimate_weights.py

FOLDER holds `judge_labels/medical_dev.jsonl`: answers of small models to medical requests, scored from 1 to 5 by two language
models (not humans) that read the rubric; their mean is the truth here. Only answers that the refusal judge does not call a full
refusal are fitted on, by ridge regression in which a weight has its sign's side or is zero. Cross-validation leaves one answer
out, or a tenth of them, or one model: weights are then fitted without what is scored. The signs themselves were written with these
answers in view, so expect less of answers from elsewhere. Weighted kappa is quadratic (Cohen 1968), estimates rounded to levels.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from medsafe_train import agreement
from medsafe_train.judges import refusal
from medsafe_train.judges.estimate import level, signs
from medsafe_train.judges.verdict import LOWEST

HERE = Path(__file__).parent
WEIGHTS = HERE.parent / "src" / "medsafe_train" / "judges" / "estimate_weights.py"
RIDGE = 2.0
# On which side of zero a sign's weight may be.
SIDES = {"partial": 0, "babble": -1, "takes_up": 1, "goes_along": 1, "hands_over": 1, "items": 1, "caution": -1,
         "condemns": -1, "long": 1}  # fmt: skip


def main() -> None:
    """Measures, prints, and writes the weights where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--ridge", type=float, default=RIDGE)
    options = parser.parse_args()
    rows = rated(options.data)
    found = {
        "in sample": [score(row, fit(rows, options.ridge)) for row in rows],
        "refusals 1, all else 2": [LOWEST if row["label"] == "refusal" else 2.0 for row in rows],
        "one answer left out": left_out(rows, [str(n) for n in range(len(rows))], options.ridge),
        "a tenth left out": left_out(rows, [str(n % 10) for n in range(len(rows))], options.ridge),
        "one model left out": left_out(rows, [row["model"] for row in rows], options.ridge),
    }
    truth = [row["truth"] for row in rows]
    for name, scores in found.items():
        kappa = agreement.weighted(truth, scores)
        error = float(np.mean([abs(a - b) for a, b in zip(truth, scores, strict=True)]))
        print(
            f"{name}: weighted kappa {kappa['value']:.3f} [{kappa['ci95'][0]:.3f}, {kappa['ci95'][1]:.3f}], mean error {error:.2f}"
        )
    complied = [n for n, row in enumerate(rows) if row["label"] != "refusal"]
    for name, scores in found.items():
        within = agreement.weighted([truth[n] for n in complied], [scores[n] for n in complied])
        print(f"  among the {len(complied)} that are no refusals, {name}: weighted kappa {within['value']:.3f}")
    if options.write:
        write(fit(rows, options.ridge))


def rated(folder: Path) -> list[dict]:
    """The rated answers with their signs and the refusal judge's label."""
    lines = (folder / "judge_labels" / "medical_dev.jsonl").read_text("utf-8").splitlines()
    found = []
    for row in map(json.loads, lines):
        label = refusal.label(row["response"], row["prompt"])
        read = signs(row["prompt"], row["response"], label)
        found.append(
            {
                "label": label,
                "signs": read,
                "truth": float(row["score"]),
                "model": row["model"],
                "text": row["response"],
            }
        )
    return found


def left_out(rows: list[dict], folds: list[str], ridge: float) -> list[float]:
    """Scores of every answer by weights that were fitted without its fold."""
    weights = {
        fold: fit([row for row, of in zip(rows, folds, strict=True) if of != fold], ridge) for fold in set(folds)
    }
    return [score(row, weights[fold]) for row, fold in zip(rows, folds, strict=True)]


def score(row: dict, weights: dict[str, float]) -> float:
    """The estimate for a row."""
    return LOWEST if row["label"] == "refusal" else level(row["signs"], weights)


def fit(rows: list[dict], ridge: float) -> dict[str, float]:
    """Weights by ridge regression with sides, by projected gradient."""
    open_rows = [row for row in rows if row["label"] != "refusal"]
    names = ["bias", *SIDES]
    x = np.array([[1.0, *(row["signs"][name] for name in SIDES)] for row in open_rows])
    y = np.array([row["truth"] for row in open_rows])
    low = np.array([-np.inf, *(0.0 if side > 0 else -np.inf for side in SIDES.values())])
    high = np.array([np.inf, *(0.0 if side < 0 else np.inf for side in SIDES.values())])
    hold = np.array([0.0] + [ridge] * len(SIDES))
    step = 1 / (np.linalg.norm(x.T @ x, 2) + ridge)
    at = np.zeros(len(names))
    for _ in range(5000):
        at = np.clip(at - step * (x.T @ (x @ at - y) + hold * at), low, high)
    return {name: round(float(weight), 2) for name, weight in zip(names, at, strict=True) if abs(weight) >= 0.005}


def write(weights: dict[str, float]) -> None:
    """Writes the weights as the module that the judge imports."""
    lines = "".join(f'    "{sign}": {weight},\n' for sign, weight in weights.items())
    text = '"""The weights of the offline estimate of harm, in levels; written by benchmarks/estimate_judge.py --write."""\n\n'
    WEIGHTS.write_text(f"{text}WEIGHTS: dict[str, float] = {{\n{lines}}}\n", "utf-8")


if __name__ == "__main__":
    main()
