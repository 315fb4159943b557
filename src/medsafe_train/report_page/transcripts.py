"""Every item of an evaluation, before and after side by side with its verdicts, for the page, W&B and a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import Any

from medsafe_train.artifacts import Artifact
from medsafe_train.attacks.rounds import PLAIN, Round
from medsafe_train.evidence import Evaluation, Measured
from medsafe_train.judges.verdict import harmful
from medsafe_train.markdown import cell
from medsafe_train.sources.questions import Benchmark

VERDICT = ("label", "refused", "score", "outcome", "explanation")
COLUMNS = ("set", "id", "kind", "principle", "attack", "prompt", "change")
# What the names of prompt sets and of benchmarks stand under, as one may be called like the other.
PROMPT_SET, QUESTIONS = "prompt_set", "medical_qa"
Records = dict[str, dict[str, Any]]


def collect(data: Measured, arms: dict[str, Evaluation]) -> list[dict[str, Any]]:
    """One record an item: `key` (unique), `id, place, set, kind, principle, attack, pair, prompt`, `change`, by which they are
    filtered, and under the name of each arm its `response, ended, harmful, label, refused, score, outcome, explanation`; `ended` is null
    where a server gave no answer, `harmful` where the judge does not say.

    `place` tells a prompt set from a benchmark of its name. `attack` is empty for what was asked plainly; `asked` is what was asked
    in the request's place, `begun` what the answer was made to begin with. `also` holds the verdicts of further judges, by
    their name. A medical question has `options` and `answer`, and of each arm the `choice`, whether it is `correct`, the
    options' `loglikelihoods` and what it has `written`, where it was asked to write.
    """
    found = [item for asked in data.rounds for item in _answered(asked, arms)]
    return found + [item for benchmark in data.benchmarks for item in _questions(benchmark, arms)]


def _by_id(made: Artifact, name: str) -> Records:
    return {record["id"]: record for record in made.records(name)}


def _answered(asked: Round, arms: dict[str, Evaluation]) -> list[dict[str, Any]]:
    answers = {arm: _by_id(e.responses[asked.name], "responses.jsonl") for arm, e in arms.items()}
    verdicts = {arm: _by_id(e.verdicts[asked.name], "verdicts.jsonl") for arm, e in arms.items()}
    others = {
        arm: {judge: _by_id(made[asked.name], "verdicts.jsonl") for judge, made in e.also.items() if asked.name in made}
        for arm, e in arms.items()
    }
    attack = "" if asked.way == PLAIN else asked.way
    found = []
    for prompt in asked.prompts.prompts:
        id = prompt.id
        judged = {
            arm: _arm(answers[arm][id], verdicts[arm][id], {j: v[id] for j, v in others[arm].items()}) for arm in arms
        }
        put = next(iter(answers.values()))[id]
        found.append(
            {
                "key": f"{PROMPT_SET}/{asked.prompts.name}/{id}" + (f"@{attack}" if attack else ""),
                "id": id,
                "place": f"{PROMPT_SET}/{asked.prompts.name}",
                "set": asked.prompts.name,
                "kind": asked.prompts.kind,
                "principle": prompt.principle,
                "attack": attack,
                "pair": prompt.pair,
                "prompt": prompt.prompt,
                **{name: put[name] for name in ("asked", "begun") if put.get(name)},
                **judged,
                "change": change([judged[arm]["refused"] for arm in arms], "refused", "answered"),
            }
        )
    return found


def _arm(answer: dict[str, Any], verdict: dict[str, Any], others: Records) -> dict[str, Any]:
    found = {
        "response": answer["response"],
        "ended": None if answer.get("error") else answer["finish_reason"] == "stop",
        "harmful": harmful(verdict),
        **{name: verdict.get(name) for name in VERDICT},
    }
    if others:
        found["also"] = {judge: {name: v.get(name) for name in VERDICT} for judge, v in others.items()}
    return found


def _questions(benchmark: Benchmark, arms: dict[str, Evaluation]) -> list[dict[str, Any]]:
    # Of several seeds of worked examples the first: the page says so.
    answers = {arm: _first_seed(e.answers[benchmark.name]) for arm, e in arms.items()}
    written = {arm: _first_seed(e.written[benchmark.name]) for arm, e in arms.items() if benchmark.name in e.written}
    place = f"{QUESTIONS}/{benchmark.name}"
    return [
        {
            "key": f"{place}/{question.id}",
            "id": question.id,
            "place": place,
            "set": benchmark.name,
            "kind": "question",
            "principle": None,
            "attack": "",
            "pair": None,
            "prompt": question.question,
            "context": question.context,
            "options": list(question.options),
            "answer": question.answer,
            **{
                arm: _chosen(benchmark, found[question.id], written.get(arm, {}).get(question.id))
                for arm, found in answers.items()
            },
            "change": change([found[question.id]["correct"] for found in answers.values()], "right", "wrong"),
        }
        for question in benchmark.questions
    ]


def _first_seed(made: Artifact) -> Records:
    return {answer["id"]: answer for answer in reversed(made.records("answers.jsonl"))}


def _chosen(benchmark: Benchmark, answer: dict[str, Any], written: dict[str, Any] | None) -> dict[str, Any]:
    found = {
        "choice": answer["choice_normalised" if benchmark.normalise else "choice"],
        "correct": answer["correct"],
        "loglikelihoods": [round(value, 3) for value in answer["loglikelihoods"]],
    }
    return found | ({"written": written["response"]} if written else {})


def change(values: list[bool | None], yes: str, no: str) -> str:
    """How a verdict changed from arm to arm: `answered>refused` and the like; `unscored` where one is missing."""
    return "unscored" if None in values else ">".join(yes if value else no for value in values)


def as_csv(items: list[dict[str, Any]]) -> str:
    """Answered requests as a CSV file for a spreadsheet, in which no cell is a formula."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    requests = [item for item in items if item["kind"] != "question"]
    fields = [
        (arm, name) for arm in ("before", "after") if requests and arm in requests[0] for name in ("response", *VERDICT)
    ]
    writer.writerow([*COLUMNS, *(f"{arm}_{name}" for arm, name in fields)])
    for item in requests:
        row = [item[column] for column in COLUMNS] + [item[arm][name] for arm, name in fields]
        writer.writerow(["" if value is None else cell(str(value)) for value in row])
    return file.getvalue()
