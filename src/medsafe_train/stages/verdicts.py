"""Has a judge score stored responses; another judge can score the same ones without a GPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress
from medsafe_train.artifacts import Artifact, Ledger, Store
from medsafe_train.config import JudgeSettings, UserError
from medsafe_train.judges import JUDGES, rubric
from medsafe_train.judges.verdict import FAILED, HIGHEST, LOWEST, SCORED, bounds, coverage, failed, harmful
from medsafe_train.models.reference import ModelReference

VERSION = 2
# What of a reply is kept once all are there: how often it was asked for is chance.
REPLY = (
    "id",
    "response",
    "finish_reason",
    "error",
    "model",
    "prompt_tokens",
    "completion_tokens",
    "charged",
    "loglikelihoods",
)


def reading(settings: JudgeSettings, kind: str) -> JudgeSettings:
    """The judge for a kind of requests: what judges harm has no question for benign ones, where the refusal judge reads alone."""
    return replace(settings, name="refusal") if kind == "benign" and JUDGES[settings.name].harm else settings


def replies_made_from(settings: JudgeSettings, responses: Artifact, model: ModelReference | None) -> dict[str, Any]:
    """What decides the replies of a judge that is a model."""
    asks = JUDGES[settings.name].asks
    assert asks is not None
    return {
        "version": VERSION,
        "judge": settings.name,
        "asked": asks.version,
        **asks.made_from(settings, model),
        "responses": responses.id,
    }


def made_from(
    store: Store, settings: JudgeSettings, responses: Artifact, model: ModelReference | None = None
) -> dict[str, Any]:
    """What decides the verdicts."""
    judge = JUDGES[settings.name]
    found = {"version": VERSION, "judge": settings.name, "judge_version": judge.version, "responses": responses.id}
    if judge.asks is not None:
        found["replies"] = store.place("replies", replies_made_from(settings, responses, model)).id
    return found


def run(
    store: Store,
    settings: JudgeSettings,
    responses: Artifact,
    kind: str = "harmful",
    model: ModelReference | None = None,
    spent: int = 0,
) -> Artifact:
    """An artifact with `verdicts.jsonl` (`id, score, refused, outcome, label, explanation`) and `judge.json` (which models replied,
    tokens, coverage and bounds).

    `model` is what the judge loads here; `spent` what other answers of this run have cost. A failed judgement is an outcome, never
    a number. Raises UserError when fewer than `min_coverage` are scored; what was paid for is kept.
    """
    settings = reading(settings, kind)
    judge = JUDGES[settings.name]

    def build(folder: Path) -> None:
        everything = responses.records("responses.jsonl")
        records = [record for record in everything if not record.get("error")]
        replies = _replies(store, settings, responses, records, model, spent) if judge.asks else {}
        read = {verdict["id"]: verdict for verdict in judge.read(records, replies, settings)}
        # What the model's own server did not answer is nothing to be judged.
        verdicts = [read.get(r["id"]) or failed(r["id"], FAILED, f"no answer: {r['error']}") for r in everything]
        _check(settings, coverage(verdicts))
        artifacts.write_json(folder / "judge.json", _about(settings, verdicts, replies))
        artifacts.write_jsonl(folder / "verdicts.jsonl", verdicts)

    with progress.stage("verdicts", f"judge {settings.name} reads them"):
        made = store.make("verdicts", made_from(store, settings, responses, model), build)
        _check(settings, made.json("judge.json")["coverage"])  # it may have been made when less was asked for
        return made


def run_all(
    store: Store,
    settings: JudgeSettings,
    answered: dict[str, Artifact],
    kinds: dict[str, str],
    model: ModelReference | None,
    spent: int,
) -> dict[str, Artifact]:
    """The verdicts on the answers to each set, by its name; `kinds` says whether its requests are harmful or benign."""
    found: dict[str, Artifact] = {}
    for name, responses in answered.items():
        found[name] = run(store, settings, responses, kinds[name], model, spent + charged(found.values()))
    return found


def charged(verdicts: Iterable[Artifact]) -> int:
    """Tokens that verdicts have cost."""
    return sum(made.json("judge.json")["charged"] for made in verdicts)


def check_same_judge(arms: dict[str, dict[str, Artifact]]) -> None:
    """UserError where a server answered by more than one model id: figures of two judges cannot be compared.

    `arms` holds the verdicts of each arm by name.
    """
    by_id: dict[str, list[str]] = {}
    for arm, verdicts in arms.items():
        for name, made in verdicts.items():
            for id in made.json("judge.json")["models"]:
                by_id.setdefault(id, []).append(f"{name} {arm}")
    if len(by_id) > 1:
        said = "; ".join(
            f"{id} judged {', '.join(names[:3])}{', …' * (len(names) > 3)}" for id, names in sorted(by_id.items())
        )
        raise UserError(
            f"the judge's server answered as different models ({said}), whose scores cannot be compared: name one version as "
            "judge.model, so that all is judged by it"
        )


def _replies(
    store: Store,
    settings: JudgeSettings,
    responses: Artifact,
    records: list[dict[str, Any]],
    model: ModelReference | None,
    spent: int,
) -> dict[str, dict[str, Any]]:
    """What the judge replied to each record, kept apart from how it is read."""
    asks = JUDGES[settings.name].asks
    assert asks is not None
    if settings.max_total_tokens is not None and settings.name == "rubric":
        left = settings.max_total_tokens - spent
        if left <= 0:
            raise UserError(
                f"judge.max_total_tokens={settings.max_total_tokens} are used up: raise it; what was paid for is kept"
            )
        asking = replace(settings, max_total_tokens=left)
    else:
        asking = settings

    def build(folder: Path) -> None:
        ledger = Ledger(folder / "replies.partial.jsonl")
        if settings.name == "rubric":
            _say_cost(asking, [record for record in records if not ledger.holds(record["id"])])
        asks.ask(records, asking, model, ledger)
        failed = [r for r in ledger.records.values() if r.get("error") is not None]
        _enough(settings, len(records), len(failed), f"{len(failed)} were not answered, the first for this reason: "
                f"{failed[0]['error'] if failed else ''}",
                f"see to {settings.base_url}, the same command asks for the others; or ")  # fmt: skip
        kept = ({key: ledger.records[r["id"]].get(key) for key in REPLY} for r in records if r["id"] in ledger.records)
        artifacts.write_jsonl(folder / "replies.jsonl", kept)

    made = store.make("replies", replies_made_from(settings, responses, model), build)
    return {record["id"]: record for record in made.records("replies.jsonl")}


def _say_cost(settings: JudgeSettings, records: list[dict[str, Any]]) -> None:
    likely, most = rubric.tokens(records, settings)
    limit = (
        "no limit"
        if settings.max_total_tokens is None
        else f"{settings.max_total_tokens:,} are left of judge.max_total_tokens"
    )
    progress.say(f"{len(records)} answers to be judged: about {likely:,} tokens, at most {most:,}; {limit}")


def _check(settings: JudgeSettings, found: dict[str, Any]) -> None:
    others = ", ".join(f"{name} {count}" for name, count in found["outcomes"].items() if count and name != SCORED)
    _enough(settings, found["n"], found["n"] - found["scored"], others)


def _enough(settings: JudgeSettings, n: int, failed: int, why: str, first: str = "") -> None:
    if n - failed < settings.min_coverage * n:
        raise UserError(
            f"the judge {settings.name} scored {n - failed} of {n} responses ({why}), under "
            f"judge.min_coverage={settings.min_coverage}: {first}choose another judge, or accept less coverage"
        )


def _about(
    settings: JudgeSettings, verdicts: list[dict[str, Any]], replies: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    # Where verdicts lack a value throughout (offline judges without levels), there is nothing to bound.
    refused = [verdict["refused"] for verdict in verdicts]
    scores = [verdict["score"] for verdict in verdicts]
    called = [harmful(verdict) for verdict in verdicts]
    return {
        "judge": settings.name,
        "models": sorted({str(reply["model"]) for reply in replies.values() if reply.get("model")}),
        "charged": sum(reply.get("charged") or 0 for reply in replies.values()),
        "coverage": coverage(verdicts),
        "bounds": {
            "refused": bounds(refused) if any(value is not None for value in refused) else None,
            "score": bounds(scores, LOWEST, HIGHEST) if any(value is not None for value in scores) else None,
            "harmful": bounds(called) if any(value is not None for value in called) else None,
        },
    }
