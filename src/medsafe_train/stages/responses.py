"""Lets a model, base or fine-tuned, answer a prompt set in one of the ways in which it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress
from medsafe_train.artifacts import Artifact, Ledger, Store
from medsafe_train.attacks.rounds import Round
from medsafe_train.config import EvaluationSettings, UserError
from medsafe_train.models.arm import Arm, Served
from medsafe_train.prompts import Turn
from medsafe_train.sources.prompt_sets import Prompt

VERSION = 1
# A server that fails on more answers than this share is asked again another day; fewer are left without a verdict, and counted.
FAILED = 0.02


def made_from(settings: EvaluationSettings, asked: Round, arm: Arm | Served) -> dict[str, Any]:
    """What decides the responses."""
    return {
        "version": VERSION,
        "prompts": asked.prompts.fingerprint(),
        "set": asked.name,
        **arm.made_from(),
        "max_new_tokens": settings.max_new_tokens,
        **({"batch_tokens": settings.batch_tokens} if isinstance(arm, Arm) else {}),
        **asked.made_from(),
    }


def run(store: Store, settings: EvaluationSettings, asked: Round, arm: Arm | Served) -> Artifact:
    """An artifact with `responses.jsonl`: `id, set, principle, prompt, response, finish_reason`.

    `prompt` is the request as it stands; where an attack asks something in its place, `asked` holds that, and `begun` what the
    answer was made to begin with, which is no part of the response. `error` says why a server gave no answer.
    Raises UserError where a server fails on more than FAILED of the answers; those that came are kept.
    """
    turns = [asked.turn(prompt, arm.system_prompt) for prompt in asked.prompts.prompts]

    def build(folder: Path) -> None:
        ledger = Ledger(folder / "answers.partial.jsonl")
        arm.answer(turns, settings, ledger, f"{arm.name} answers {asked.name}")
        failed = [r for r in (ledger.records[turn.id] for turn in turns) if r.get("error")]
        if len(failed) > FAILED * len(turns):
            raise UserError(
                f"{arm.name} failed on {len(failed)} of {len(turns)} requests of {asked.name} ({failed[0]['error']}): the answers "
                "that came are kept; see to the server, and the same command asks for the others"
            )
        artifacts.write_jsonl(
            folder / "responses.jsonl",
            (
                _record(asked, *pair, ledger.records[pair[1].id])
                for pair in zip(asked.prompts.prompts, turns, strict=True)
            ),
        )

    how = f", {asked.way.replace('_', ' ')}" if asked.name != asked.prompts.name else ""
    with progress.stage(
        "responses", f"{arm.name} model answers {len(turns)} {asked.prompts.kind} requests of {asked.prompts.name}{how}"
    ):
        return store.make("responses", made_from(settings, asked, arm), build)


def _record(asked: Round, prompt: Prompt, turn: Turn, answer: dict[str, Any]) -> dict[str, Any]:
    more = {
        "asked": turn.text if turn.text != prompt.prompt else None,
        "begun": turn.begun,
        "error": answer.get("error"),
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
