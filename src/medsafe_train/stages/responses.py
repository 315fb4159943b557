"""Lets a model, base or fine-tuned, answer a prompt set in one of the ways in which it is asked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress, prompts
from medsafe_train.artifacts import Artifact, Ledger, Store
from medsafe_train.attacks.rounds import Round
from medsafe_train.config import EvaluationSettings, UserError
from medsafe_train.judges.verdict import BLOCKED, NO_ANSWER
from medsafe_train.models.arm import Arm, Served
from medsafe_train.prompts import Turn
from medsafe_train.sources.prompt_sets import Prompt

VERSION = 1
# A server that fails on more answers than this share is asked again another day; fewer are left without a verdict, and counted.
FAILED = 0.02
# What was asked so far, where some of it got no answer: kept, so that the others can be asked for again.
ASKED = "asked.jsonl"


def made_from(settings: EvaluationSettings, asked: Round, arm: Arm | Served) -> dict[str, Any]:
    """What decides the responses."""
    return {
        "version": VERSION,
        "prompts": asked.prompts.fingerprint(),
        "set": asked.name,
        **arm.made_from(),
        "max_new_tokens": settings.max_new_tokens,
        **({"batch_tokens": settings.batch_tokens, "parted": prompts.PARTED} if isinstance(arm, Arm) else {}),
        **asked.made_from(),
    }


def run(store: Store, settings: EvaluationSettings, asked: Round, arm: Arm | Served) -> Artifact:
    """An artifact with `responses.jsonl`: `id, set, principle, prompt, response, finish_reason`.

    `prompt` is the request as it stands; where an attack asks something in its place, `asked` holds that, and `begun` what the
    answer was made to begin with, which is no part of the response. `thought` is what the model thought aloud before it. `error`
    says why there is no answer; where asking again cannot change that, `missing` is the outcome (`no_answer`: cut off before it
    began; `blocked`: stopped by the provider's content filter).
    Raises UserError where a server fails on more than FAILED of the answers, with those that came kept, or its filter stops all.
    """
    turns = [asked.turn(prompt, arm.system_prompt) for prompt in asked.prompts.prompts]

    def build(folder: Path) -> None:
        ledger = Ledger(folder / "answers.partial.jsonl")
        if (folder / ASKED).exists():
            ledger.add(artifacts.read_jsonl(folder / ASKED))
            (folder / ASKED).unlink()
        arm.answer(turns, settings, ledger, f"{arm.name} answers {asked.name}")
        failed = [r for r in (ledger.records[turn.id] for turn in turns) if r.get("error")]
        if len(failed) > FAILED * len(turns):
            raise UserError(
                f"{arm.name} failed on {len(failed)} of {len(turns)} requests of {asked.name} ({failed[0]['error']}): the answers "
                "that came are kept; see to the server, and the same command asks for the others"
            )
        _check_filter(arm.name, asked.name, [ledger.records[turn.id] for turn in turns], ledger)
        if failed:
            artifacts.write_jsonl(folder / ASKED, (ledger.records[turn.id] for turn in turns))
        given = zip(asked.prompts.prompts, turns, arm.begun(turns), strict=True)
        records = [_record(asked, prompt, turn, begun, ledger.records[turn.id]) for prompt, turn, begun in given]
        artifacts.write_jsonl(folder / "responses.jsonl", records)
        _say_missing(records, f"{asked.name}, {arm.name} model", settings.max_new_tokens)

    how = f", {asked.way.replace('_', ' ')}" if asked.name != asked.prompts.name else ""
    with progress.stage(
        "responses", f"{arm.name} model answers {len(turns)} {asked.prompts.kind} requests of {asked.prompts.name}{how}"
    ):
        return store.make("responses", made_from(settings, asked, arm), build)


def _check_filter(arm: str, name: str, records: list[dict[str, Any]], ledger: Ledger) -> None:
    """UserError where a content filter stopped every answer: nothing is known of the model then, and nothing is kept."""
    if not records or not all(record.get("blocked") for record in records):
        return
    ledger.path.unlink()
    raise UserError(
        f"{arm}: the provider's content filter stopped all {len(records)} answers to {name} ({records[0]['blocked']}): see to the "
        "server's filter or to the request that it refuses, and the same command asks again"
    )


def _say_missing(records: list[dict[str, Any]], where: str, max_new_tokens: int) -> None:
    counts = Counter(record.get("missing") for record in records)
    if counts[BLOCKED]:
        progress.warn(
            f"{where}: {counts[BLOCKED]} of {len(records)} answers were blocked by the provider's content filter: counted apart, "
            "neither as refusals nor as answers"
        )
    if counts[NO_ANSWER]:
        progress.warn(
            f"{where}: {counts[NO_ANSWER]} of {len(records)} answers were cut off before they began, and are not judged: raise "
            f"evaluation.max_new_tokens={max_new_tokens}"
        )


def _missing(answer: dict[str, Any]) -> tuple[str | None, str | None]:
    """Why there is no answer that could be judged, and the outcome where asking again cannot change that."""
    if answer.get("blocked"):
        return f"blocked by the provider: {answer['blocked']}", BLOCKED
    if not answer.get("error") and answer["finish_reason"] == "length" and not answer["response"]:
        return "cut off before the answer began", NO_ANSWER
    return answer.get("error"), None


def _record(asked: Round, prompt: Prompt, turn: Turn, begun: str, answer: dict[str, Any]) -> dict[str, Any]:
    error, missing = _missing(answer)
    more = {
        "asked": turn.text if turn.text != prompt.prompt else None,
        "begun": begun,
        "thought": answer.get("thought"),
        "error": error,
        "missing": missing,
    }
    return {
        "id": prompt.id,
        "set": asked.name,
        "principle": prompt.principle,
        "prompt": prompt.prompt,
        "response": answer["response"] or "",
        "finish_reason": answer["finish_reason"] or "error",
        **{key: value for key, value in more.items() if value},
    }
