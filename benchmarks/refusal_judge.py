"""Fits the refusal judge's weights, and measures it against human labels, each model left out in turn.

    python benchmarks/refusal_judge.py --data FOLDER            # measure
    python benchmarks/refusal_judge.py --data FOLDER --write    # and write src/medsafe_train/judges/refusal_weights.py

FOLDER holds `xstest/xstest_v2_completions_{gpt4,llama2orig,mistralinstruct}.csv`, `judge_labels/medical_dev.jsonl` and
`pubmedqa/ori_pqal.json`, as published. XSTest's `final_label` is taken as it is; the binary question is any refusal
(2_full_refusal, 3_partial_refusal) against 1_full_compliance. The weights for a left-out model are fitted on the other
two models, on phrases written for this purpose (refusal_phrases.jsonl), on the template teacher's openings, and on
PubMedQA's expert conclusions, which are answers. medical_dev is never fitted on. The rules, the words and the
phrases were written by hand, with wrong verdicts on GPT-4, Llama-2 and medical_dev in view, and later on Mistral too: a
left-out model is left out of the weights, and not out of its author's mind. Before a Mistral answer had been looked at,
two versions had reached kappa 0.74 and 0.69 on Mistral: expect that, and not more, of a model with a new way of saying no.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections import Counter
from pathlib import Path

import numpy as np

from medsafe_train.judges import refusal_signs, string_match
from medsafe_train.judges.refusal import decide, label, settled
from medsafe_train.teachers.template import OPENINGS

MODELS = ("gpt4", "llama2orig", "mistralinstruct")
LABELS = {"1_full_compliance": "compliance", "2_full_refusal": "refusal", "3_partial_refusal": "partial_refusal"}
ORDER = ("compliance", "refusal", "partial_refusal")
# How much an example counts beside one of XSTest's, which counts 1; and how strongly weights are held near zero.
PHRASE, OPENING, CONCLUSION = 1.0, 0.3, 0.1
CONCLUSIONS = 600
RIDGE = 2.0
# What tells a refusal that goes on to answer from one that does not.
DELIVERY = ("items", "names", "plain", "plain_share", "code", *(f"{s}_{z}" for s in "nFZ0" for z in "23"))
DELIVERY += (
    "you_can_2",
    "you_can_3",
    "offers_2",
    "turns_1",
    "turns_2",
    "turns_3",
    "not_real_1",
    "not_real_2",
    "not_real_3",
    "draft",
    "declines_1",
)
HERE = Path(__file__).parent
WEIGHTS = HERE.parent / "src" / "medsafe_train" / "judges" / "refusal_weights.py"


def main() -> None:
    """Measures, prints, and writes the weights where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--ridge", type=float, default=RIDGE)
    parser.add_argument("--show", nargs="*", default=[], help="models whose wrong verdicts are printed")
    options = parser.parse_args()
    sets = {name: xstest(options.data, name) for name in MODELS}
    extra, medical = others(options.data), rated(options.data)
    for name in MODELS:
        rows = [row for other in MODELS if other != name for row in sets[other]]
        report(name, sets[name], fit(rows + extra, options.ridge), name in options.show)
    rows = [row for name in MODELS for row in sets[name]]
    tables = fit(rows + extra, options.ridge)
    print("fitted on all three; for XSTest's models, and for the phrases, in sample:")
    for name in MODELS:
        report(name, sets[name], tables, False)
    report("medical_dev", medical, tables, "medical_dev" in options.show)
    report("phrases", [row for row in extra if row["weight"] == PHRASE], tables, "phrases" in options.show)
    if options.write:
        write(tables)
    speed([row["text"] for name in MODELS for row in sets[name]])


def example(text: str, found: str, weight: float = 1.0, request: str = "") -> dict:
    """A labelled answer with its signs read, with its request and without."""
    signs, alone = refusal_signs.read(text, request), refusal_signs.read(text)
    return {"prompt": request, "text": text, "label": found, "weight": weight, "signs": signs, "alone": alone}


def xstest(folder: Path, name: str) -> list[dict]:
    """One model's 450 completions."""
    with (folder / "xstest" / f"xstest_v2_completions_{name}.csv").open(encoding="utf-8-sig", newline="") as file:
        return [
            example(row["completion"], LABELS[row["final_label"]], request=row["prompt"])
            for row in csv.DictReader(file)
        ]


def rated(folder: Path) -> list[dict]:
    """The rated medical answers, for measuring alone."""
    lines = (folder / "judge_labels" / "medical_dev.jsonl").read_text("utf-8").splitlines()
    return [example(row["response"], row["label"], request=row["prompt"]) for row in map(json.loads, lines)]


def others(folder: Path) -> list[dict]:
    """What is fitted on beside XSTest's completions."""
    phrases = map(json.loads, (HERE / "refusal_phrases.jsonl").read_text("utf-8").splitlines())
    known = json.loads((folder / "pubmedqa" / "ori_pqal.json").read_text("utf-8"))
    answers = [known[key]["LONG_ANSWER"] for key in sorted(known)][:CONCLUSIONS]
    return (
        [example(row["response"], row["label"], PHRASE, row.get("prompt", "")) for row in phrases]
        + [example(text, "refusal", OPENING) for text in OPENINGS]
        + [example(text, "compliance", CONCLUSION) for text in answers]
    )


def fit(rows: list[dict], ridge: float) -> tuple[dict[str, float], dict[str, float]]:
    """Two tables of weights: refuses or not, where no rule settles it; and, of those that refuse, in part or in full."""
    # Both ways of asking the judge are fitted on, each with half the weight.
    both = [{**row, "signs": row[way], "weight": row["weight"] / 2} for row in rows for way in ("signs", "alone")]
    open_rows = [row for row in both if settled(row["signs"]) is None]
    refuses = logistic(open_rows, [row["label"] != "compliance" for row in open_rows], refusal_signs.SIGNS, ridge)
    refused = [row for row in rows if row["label"] != "compliance"]
    signs = dict.fromkeys(DELIVERY, 0)
    return refuses, logistic(refused, [row["label"] == "partial_refusal" for row in refused], signs, ridge)


def logistic(rows: list[dict], truth: list[bool], signs: dict[str, int], ridge: float) -> dict[str, float]:
    """Ridge logistic regression in which a weight has its sign's side or is zero; accelerated projected gradient."""
    names = ["bias", *signs]
    x = np.array([[1.0, *(row["signs"].get(name, 0.0) for name in signs)] for row in rows])
    y, w = np.array(truth, float), np.array([row["weight"] for row in rows])
    low = np.array([-np.inf, *(0.0 if side > 0 else -np.inf for side in signs.values())])
    high = np.array([np.inf, *(0.0 if side < 0 else np.inf for side in signs.values())])
    hold = np.array([0.0] + [ridge] * len(signs))
    step = 1 / (0.25 * np.linalg.norm((x * w[:, None]).T @ x, 2) + ridge)
    at = ahead = np.zeros(len(names))
    for i in range(1500):
        slope = x.T @ (w * (1 / (1 + np.exp(-x @ ahead)) - y)) + hold * ahead
        to = np.clip(ahead - step * slope, low, high)
        at, ahead = to, to + i / (i + 3) * (to - at)
    return {name: round(float(weight), 2) for name, weight in zip(names, at, strict=True) if abs(weight) >= 0.005}


def kappa(one: np.ndarray, other: np.ndarray) -> float:
    """Cohen's kappa of two yes-no raters."""
    a, b = one.mean(), other.mean()
    expected = a * b + (1 - a) * (1 - b)
    return float(((one == other).mean() - expected) / (1 - expected))


def interval(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """95 % percentile bootstrap of kappa over answers, 1,000 draws."""
    draws = np.random.default_rng(0).integers(len(one), size=(1000, len(one)))
    return tuple(np.percentile([kappa(one[draw], other[draw]) for draw in draws], [2.5, 97.5]))


def report(name: str, rows: list[dict], tables: tuple[dict[str, float], dict[str, float]], show: bool) -> None:
    """Prints agreement with the labels, string match beside it, and the table of three labels."""
    found = [decide(row["signs"], *tables) for row in rows]
    truth = np.array([row["label"] != "compliance" for row in rows])
    said = np.array([one != "compliance" for one in found])
    strings = np.array([string_match.matches(row["text"]) for row in rows])
    low, high = interval(truth, said)
    alone = np.array([decide(row["alone"], *tables) != "compliance" for row in rows])
    print(
        f"{name}: kappa {kappa(truth, said):.3f} [{low:.3f}, {high:.3f}], without requests {kappa(truth, alone):.3f}, "
        f"string match {kappa(truth, strings):.3f}; "
        f"agreement {(truth == said).mean():.1%}; wrongly refused {(said & ~truth).sum()}, missed {(truth & ~said).sum()}"
    )
    table = Counter((row["label"], one) for row, one in zip(rows, found, strict=True))
    print("   ", "; ".join(f"{a} read as " + ", ".join(f"{b} {table[a, b]}" for b in ORDER) for a in ORDER), flush=True)
    for row, one in zip(rows, found, strict=True):
        if show and (one != "compliance") != (row["label"] != "compliance"):
            print(f"--- {row['label']}, read as {one}: {row['prompt']} | {row['text'][:280]!r}")


def write(tables: tuple[dict[str, float], dict[str, float]]) -> None:
    """Writes the two tables as the module that the judge imports."""
    text = '"""The refusal judge\'s weights, in log-odds; written by benchmarks/refusal_judge.py --write."""\n\n'
    for name, table in zip(("REFUSES", "PARTIAL"), tables, strict=True):
        lines = "".join(f'    "{sign}": {weight},\n' for sign, weight in table.items())
        text += f"{name}: dict[str, float] = {{\n{lines}}}\n"
    WEIGHTS.write_text(text, "utf-8")


def speed(texts: list[str]) -> None:
    """Prints how many of these answers the judge reads in a second of one core's time."""
    start = time.process_time()
    for text in texts:
        label(text)
    print(f"{len(texts) / (time.process_time() - start):,.0f} answers a second of processor time")


if __name__ == "__main__":
    main()
