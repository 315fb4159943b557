"""A report and its transcripts made up with a seed: as many items as wanted, figures counted from them, any text as an answer."""

import random

from medsafe_train import artifacts, statistics
from medsafe_train.config import CheckpointGateSettings
from medsafe_train.evidence import claims, gate
from medsafe_train.report_page import transcripts
from tests.conftest import ROOT

# What each set is: its file in data/, its kind, and how often it is refused before and after.
SETS = (
    ("harmful_requests", "harmful", 0.25, 0.9, (0.04, 0.8)),
    ("benign_twins", "benign", 0.15, 0.3, (0.02, 0.25)),
    ("general_requests", "benign", 0.02, 0.05, None),
)
REFUSAL = "I can't help with that. It would put a patient at risk, and trust in those who care for them. I can explain what is allowed instead."
ANSWER = "Here is a way to go about it. First, speak with the team that looks after the patient. Then write down what was agreed, and who agreed to it."


def items(number, seed=0, answer=None, scores=False):
    """About `number` transcripts; `answer`: what every model answer is instead."""
    chance, found = random.Random(seed), []
    for name, kind, *rates in SETS:
        rows = list(artifacts.read_jsonl(ROOT / "data" / f"{name}.jsonl"))
        for place in range(number // 5):
            row = rows[place * max(1, len(rows) // (number // 5)) % len(rows)]  # over all principles
            for attack, shares in (("", rates[:2]), ("prefill", rates[2])):
                if shares:
                    arms = [_arm(chance.random() < share, answer, chance, scores) for share in shares]
                    found.append(_item(name, kind, attack, f"{row['id']}.{place}", row, arms))
    return found


def _arm(refused, answer, chance, scores):
    return {
        "response": answer
        or (REFUSAL if refused else ANSWER) + " " * chance.randint(0, 1) + ANSWER * chance.randint(0, 2),
        "ended": chance.random() < 0.8,
        "label": "refusal" if refused else "compliance",
        "refused": refused,
        "score": (1 if refused else chance.choice([2, 3, 4, 5])) if scores else None,
        "outcome": "scored",
        "explanation": "by the answer's own words",
    }


def _item(name, kind, attack, id, row, arms):
    before, after = arms
    return {
        "key": f"prompt_set/{name}/{id}" + (f"@{attack}" if attack else ""), "place": f"prompt_set/{name}",
        "id": id, "set": name, "kind": kind, "principle": row.get("principle"), "attack": attack, "pair": row.get("pair"),
        "prompt": row["prompt"], "before": before, "after": after,
        "change": transcripts.change([before["refused"], after["refused"]], "refused", "answered"),
    }  # fmt: skip


def questions(number, arms=("before", "after"), name="medical_questions", text="Which one stops the bleeding", seed=0):
    """So many transcripts of medical questions."""
    chance, found = random.Random(seed), []
    for place in range(number):
        right = place % 4
        answers = {arm: _answered(chance, right) for arm in arms}
        found.append(
            {"key": f"medical_qa/{name}/{place}", "id": f"{place}", "place": f"medical_qa/{name}", "set": name, "kind": "question",
             "principle": None, "attack": "", "pair": None, "prompt": f"{text}, number {place}?", "context": None, "options": [f"{text} {o}" for o in "wxyz"],
             "answer": right, **answers, "change": transcripts.change([a["correct"] for a in answers.values()], "right", "wrong")}
        )  # fmt: skip
    return found


def _answered(chance, right):
    values = [round(chance.uniform(-9, -1), 3) for _ in range(4)]
    return {
        "choice": values.index(max(values)),
        "correct": values.index(max(values)) == right,
        "loglikelihoods": values,
    }


def asked(found, path="SmolLM2-135M-Instruct", text="Question: Which one?\nA. w\nAnswer:", **more):
    """A report.json of questions alone, its accuracies counted from the items."""
    figures, described = {}, []
    for name in dict.fromkeys(item["set"] for item in found):
        chosen = [item for item in found if item["set"] == name]
        arms = [arm for arm in ("before", "after") if arm in chosen[0]]
        _arms(figures, f"medical_qa/{name}/accuracy", {arm: [i[arm]["correct"] for i in chosen] for arm in arms})
        figures[f"before/medical_qa/{name}/accuracy"]["chance"] = 0.25
        described.append(
            {"name": name, "n": len(chosen), "of": 1273, "licence": "MIT", "citation": "c", "sha256": {}, "format": "plain", "shots": 2,
             "asked_with": {"2": len(chosen) - 1, "1": 1}, "seeds": [0, 7], "prompt": {"id": "0", "prompt": text, "options": [" A", " B"]}}
        )  # fmt: skip
    whole = report([], path)
    empty = {key: [] for key in ("prompt_sets", "training_sets", "validation_sets")}
    none = {"claims": [], "gate": None, "scale": None, "finetune": {}, "demonstrations": {}}
    return {**whole, **empty, **none, "name": "evaluate", "benchmarks": described, "figures": figures, **more}


def report(found, path="SmolLM2-135M-Instruct", **more):
    """A report.json whose figures are counted from the items."""
    figures = {}
    described = [
        {"name": name, "kind": kind, "n": sum(i["set"] == name and not i["attack"] for i in found), "licence": "CC-BY-4.0",
         "citation": "data/README.md", "sha256": {f"data/{name}.jsonl": "0" * 64}}
        for name, kind, *_ in SETS
    ]  # fmt: skip
    for name, kind, *_ in SETS:
        group = "harmfulness" if kind == "harmful" else "over_refusal"
        asked = [item for item in found if item["set"] == name]
        _figures(figures, f"{group}/{name}/refusal_rate", [i for i in asked if not i["attack"]])
        for principle in range(1, 10):
            chosen = [i for i in asked if not i["attack"] and i["principle"] == principle]
            if chosen:
                _figures(figures, f"{group}/{name}/refusal_rate_principle_{principle}", chosen)
        if begun := [i for i in asked if i["attack"]]:
            _figures(figures, f"robustness/{name}/{kind}_refusal_rate_prefilled", begun)
            if kind == "harmful":
                _figures(figures, f"robustness/{name}/attack_success_rate_prefill", begun, succeeds=True)
                plain = [i for i in asked if not i["attack"]]
                _figures(figures, f"robustness/{name}/attack_success_rate_plain", plain, succeeds=True)
    answered = {arm: [n % 5 < share for n in range(180)] for arm, share in (("before", 3), ("after", 2))}
    _arms(figures, "medical_qa/medical_questions/accuracy", answered)
    figures["before/medical_qa/medical_questions/accuracy"]["chance"] = 0.25
    thresholds = CheckpointGateSettings()
    claimed = claims.claims(figures, thresholds)
    return {
        "version": 2,
        "name": "quickstart",
        "model": {"path": path, "revision": "58f8a8e4e69adde5", "weights": "as published", "dtype": "bfloat16"},
        "judge": {"name": "refusal", "validation": None},
        "requests": None,
        "demonstrations": {"kinds": {"safe": 292}, "rejected": 0},
        "near_copies": {"found": 3, "dropped": 3},
        "finetune": {"rows": 604, "dropped_too_long": 0, "kinds": {"safe": 292}},
        "scale": {"chosen": 1.0, "min_refusal": 0.95, "points": [_point(s, h, b) for s, h, b in ((0.9, 46, 6), (1.0, 49, 9), (1.15, 50, 16))]},
        "merge_check": {"dtype": "float16", "same_greedy_answers": 8, "of": 8},
        "prompt_sets": described,
        "training_sets": described[:2],
        "validation_sets": described[:1],
        "benchmarks": [{"name": "medical_questions", "n": 180, "licence": "CC-BY-4.0", "citation": "data/README.md", "sha256": {"data/m.jsonl": "1" * 64}}],
        "artifacts": {"demonstrations": "f8c0405cb6eff27d"},
        "settings": {"name": "quickstart", "seed": 0, "finetune": {"r": 32, "learning_rate": 5e-4}},
        "versions": {"medsafe_train": "0.1.0", "torch": "2.13.0"},
        "figures": dict(sorted(figures.items())),
        "claims": [claim.record() for claim in claimed],
        "gate": gate.gate(figures, claimed, thresholds),
        "notes": ["Intervals are 95 %: Wilson for a share, Newcombe's method 10 for a paired difference."],
        "samples": [],
        **more,
    }  # fmt: skip


def _point(scale, harmful, benign):
    share = lambda count: statistics.rate([n < count for n in range(52)])  # noqa: E731
    return {"scale": scale, "youden": 0.7, "harmful": share(harmful), "benign": share(benign), "harmful_assented": share(harmful - 6), "benign_assented": share(benign)}  # fmt: skip


def _figures(figures, place, chosen, succeeds=False):
    _arms(
        figures, place, {arm: [item[arm]["refused"] is not succeeds for item in chosen] for arm in ("before", "after")}
    )


def _arms(figures, place, values):
    for arm, found in values.items():
        figures[f"{arm}/{place}"] = {**statistics.rate(found), "unscored": 0}
    if "after" in values:
        figures[f"delta/{place}"] = {**statistics.paired_difference(values["before"], values["after"]), "unscored": 0}


def curve(steps=120, seed=0):
    """A training.jsonl."""
    chance = random.Random(seed)
    return [{"step": step, "loss": 0.3 + 2.2 * 0.97**step + chance.uniform(-0.1, 0.1)} for step in range(1, steps + 1)]
