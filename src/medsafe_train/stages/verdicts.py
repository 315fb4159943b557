"""Has a judge score stored responses; another judge can score the same ones without a GPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from medsafe_train import artifacts, progress
from medsafe_train.artifacts import Artifact, Ledger, Store
from medsafe_train.config import JudgeSettings, UserError
from medsafe_train.judges import JUDGES, rubric
from medsafe_train.judges.verdict import (
    BLOCKED,
    FAILED,
    HIGHEST,
    LOWEST,
    NO_ANSWER,
    SCORED,
    bounds,
    coverage,
    failed,
    harmful,
)
from medsafe_train.models.reference import ModelReference

VERSION, REPLIES_VERSION = 3, 2
REPLIES = "replies.jsonl"
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
        "version": REPLIES_VERSION,
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
    a number, and so is an answer that a content filter kept back, which no judge is held to. Raises UserError when fewer than
    `min_coverage` are scored: what was paid for is kept, and what a server did not answer, the judge's or the model's own, is
    asked for by the same command.
    """
    settings = reading(settings, kind)
    judge = JUDGES[settings.name]
    asked = store.place("replies", replies_made_from(settings, responses, model)) if judge.asks else None

    def build(folder: Path) -> None:
        replies = _replies(store, settings, responses, model, spent) if judge.asks else {}
        verdicts = _read(settings, responses, replies)
        found = coverage(verdicts)
        _check(settings, found, _again(store, settings, found, [_lost(responses), *_silent(settings, replies, asked)]))
        artifacts.write_json(folder / "judge.json", _about(settings, verdicts, replies))
        artifacts.write_jsonl(folder / "verdicts.jsonl", verdicts)

    with progress.stage("verdicts", f"judge {settings.name} reads them"):
        try:
            made = store.make("verdicts", made_from(store, settings, responses, model), build)
        except Uncovered as failure:
            for one in failure.again:
                store.reopen(one.of)
            raise
        _check(settings, made.json("judge.json")["coverage"])  # it may have been made when less was asked for
        return made


class Unanswered(NamedTuple):
    """What a server failed on, and may answer when it is asked again."""

    server: str
    errors: list[str]
    of: Artifact


class Uncovered(UserError):
    """Too few answers got a verdict; `again` is what the same command asks for once more."""

    def __init__(self, message: str, again: list[Unanswered]):
        super().__init__(message)
        self.again = again


def _read(settings: JudgeSettings, responses: Artifact, replies: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """A verdict for each response, from what the judge replied to it."""
    everything = responses.records("responses.jsonl")
    records = [record for record in everything if not record.get("error")]
    read = {verdict["id"]: verdict for verdict in JUDGES[settings.name].read(records, replies, settings)}
    # What the model did not answer is nothing to be judged.
    return [
        read.get(r["id"]) or failed(r["id"], r.get("missing") or FAILED, f"no answer: {r['error']}") for r in everything
    ]


def _lost(responses: Artifact) -> Unanswered:
    """The answers that the model's own server did not give."""
    records = responses.records("responses.jsonl")
    errors = [r["error"] for r in records if r.get("error") and not r.get("missing")]
    return Unanswered("the model's server", errors, responses)


def _silent(settings: JudgeSettings, replies: dict[str, dict[str, Any]], asked: Artifact | None) -> list[Unanswered]:
    """The replies that the judge's server did not give, where the judge is one that is asked."""
    errors = [reply["error"] for reply in replies.values() if reply["error"] is not None]
    return [Unanswered(str(settings.base_url), errors, asked)] if asked else []


def _again(
    store: Store, settings: JudgeSettings, found: dict[str, Any], unanswered: list[Unanswered]
) -> list[Unanswered]:
    """What is worth asking for once more: what is not finished; of the finished, what alone would be enough and nothing rests on.

    Verdicts on answers that changed afterwards would be stale, and other runs would lose what they are made of.
    """
    return [
        one
        for one in unanswered
        if one.errors
        and (not one.of.made or (_enough(settings, found, len(one.errors)) and not store.rests_on(one.of)))
    ]


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
    model: ModelReference | None,
    spent: int,
) -> dict[str, dict[str, Any]]:
    """What the judge replied to each response, kept apart from how it is read; whole once enough of them get a verdict."""
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
        if (folder / REPLIES).exists():
            ledger.add(artifacts.read_jsonl(folder / REPLIES))
            (folder / REPLIES).unlink()
        records = [record for record in responses.records("responses.jsonl") if not record.get("error")]
        if settings.name == "rubric":
            _say_cost(asking, [record for record in records if not ledger.holds(record["id"])])
        asks.ask(records, asking, model, ledger)
        asked = [ledger.records[r["id"]] for r in records if r["id"] in ledger.records]
        kept: list[dict[str, Any]] = [{key: reply.get(key) for key in REPLY} for reply in asked]
        by_id = {reply["id"]: reply for reply in kept}
        found = coverage(_read(settings, responses, by_id))
        _check(settings, found, _again(store, settings, found, [*_silent(settings, by_id, place), _lost(responses)]))
        artifacts.write_jsonl(folder / REPLIES, kept)

    made_of = replies_made_from(settings, responses, model)
    place = store.place("replies", made_of)
    made = store.make("replies", made_of, build)
    return {record["id"]: record for record in made.records(REPLIES)}


def _say_cost(settings: JudgeSettings, records: list[dict[str, Any]]) -> None:
    likely, most = rubric.tokens(records, settings)
    limit = (
        "no limit"
        if settings.max_total_tokens is None
        else f"{settings.max_total_tokens:,} are left of judge.max_total_tokens"
    )
    progress.say(f"{len(records)} answers to be judged: about {likely:,} tokens, at most {most:,}; {limit}")


def _enough(settings: JudgeSettings, found: dict[str, Any], more: int = 0) -> bool:
    """Whether enough answers are scored, with `more` than there are."""
    scored, n = found["scored"] + more, found["n"]
    # An answer that the provider's filter kept back cannot be had, however it is judged; of nothing else, nothing is known.
    judged = scored > 0 or n == 0 or settings.min_coverage == 0
    return judged and scored >= settings.min_coverage * (n - found["outcomes"][BLOCKED])


def _check(settings: JudgeSettings, found: dict[str, Any], again: list[Unanswered] | None = None) -> None:
    """Uncovered where too few answers got a verdict; `again` is what the same command asks for once more."""
    if _enough(settings, found):
        return
    outcomes, again = found["outcomes"], again or []
    why = ", ".join(f"{name} {count}" for name, count in outcomes.items() if count and name != SCORED)
    steps = ["choose another judge, or accept less coverage"]
    if outcomes[FAILED] and not again:
        steps.append("choose another folder as outputs, where all is asked anew: what is finished here stays as it is")
    if outcomes[NO_ANSWER]:
        steps.insert(0, "raise evaluation.max_new_tokens, within which some answers did not begin")
    if outcomes[BLOCKED] == found["n"]:
        steps = ["see to the content filter of the model's provider"]
    for server, errors, _ in again:
        why += f"; {len(errors)} were not answered, the first for this reason: {errors[0]}"
        steps.insert(0, f"see to {server}, the same command asks for the others")
    raise Uncovered(
        f"the judge {settings.name} scored {found['scored']} of {found['n'] - outcomes[BLOCKED]} responses ({why}), under "
        f"judge.min_coverage={settings.min_coverage}: {'; or '.join(steps)}",
        again,
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
