"""Writes demonstrations: safe responses to harmful requests, the base model's own answers to benign ones, and recoveries."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress
from medsafe_train.artifacts import Artifact, Ledger, Store
from medsafe_train.config import DemonstrationsSettings, UserError
from medsafe_train.judges.refusal import VERSION as JUDGE_VERSION
from medsafe_train.judges.refusal import label
from medsafe_train.models.reference import ModelReference
from medsafe_train.quality import gate
from medsafe_train.sources.prompt_sets import Prompt, PromptSet, TrainingSets, asked
from medsafe_train.teachers import TEACHERS, base, template
from medsafe_train.teachers.ask import Ask

VERSION = 4
WRITTEN = "written.partial.jsonl"
# Share of requests that the teacher may leave without an answer.
MOST_FAILED = 0.10


def made_from(
    settings: DemonstrationsSettings,
    sets: TrainingSets,
    own: Artifact | None,
    model: ModelReference,
    seed: int,
    teacher: ModelReference | None = None,
) -> dict[str, Any]:
    """What decides the demonstrations; `teacher` is the model that a local teacher loads."""
    published = settings.teacher.name == "published"
    return {
        "version": VERSION,
        "teacher": settings.teacher.name,
        "teacher_version": TEACHERS[settings.teacher.name].version,
        "teacher_made_from": TEACHERS[settings.teacher.name].made_from(settings.teacher, teacher),
        "judge_version": JUDGE_VERSION,
        "gate_version": gate.VERSION,
        "template_version": template.VERSION,
        "gate": asdict(settings.gate),
        "seed": seed,
        "harmful": [[prompts.name, prompts.fingerprint(responses=published)] for prompts in sets.harmful],
        "recovery": settings.recovery,
        "own_answers": own.id if own else None,
    }


def run(
    store: Store,
    settings: DemonstrationsSettings,
    sets: TrainingSets,
    own: Artifact | None,
    model: ModelReference,
    seed: int,
    teacher: ModelReference | None = None,
) -> Artifact:
    """An artifact with `demonstrations.jsonl` (`id, request, response, kind, principle, source`; `prefill` where the
    answer has begun, `rejected` where there is a worse answer to prefer it to), `rejected.jsonl` and `counts.json`.

    `own` holds the base model's own answers; None where there are no benign requests and no recoveries.
    """

    def build(folder: Path) -> None:
        answers = {record["id"]: record for record in own.records("answers.jsonl")} if own else {}
        safe, failed = _safe(folder, settings, sets.harmful, seed, teacher)
        written = safe + _benign(sets, answers, seed)
        if settings.recovery:
            written = _with_rejected(written, answers) + _assented(answers, sets)
        decision = gate.decide(written, settings.gate)
        kept, rejected = decision.kept, decision.rejected + failed
        if not any(d["kind"] == "safe" for d in kept):
            reasons = Counter(item["reason"] for item in decision.rejected if item["kind"] == "safe").most_common(1)
            raise UserError(f"no safe response passed the gate (mostly: {reasons[0][0]}): choose another teacher")
        if settings.recovery:
            kept = kept + _recoveries(kept, answers, model, seed)
        kept = kept + _plain(kept)
        artifacts.write_jsonl(folder / "demonstrations.jsonl", kept)
        artifacts.write_jsonl(folder / "rejected.jsonl", rejected)
        artifacts.write_json(folder / "counts.json", {**_counts(kept, rejected), "warnings": decision.warnings})

    number = sum(len(s.prompts) for s in sets.harmful)
    with progress.stage("demonstrations", f"{number} harmful requests → teacher {settings.teacher.name}"):
        made = store.make("demonstrations", made_from(settings, sets, own, model, seed, teacher), build)
        counts = made.json("counts.json")
        for reason, number in counts["reasons"].items():
            progress.say(f"rejected {number}: {reason}")
        for warning in counts["warnings"]:
            progress.warn(warning)
        progress.say(", ".join(f"{number} {kind}" for kind, number in counts["kinds"].items()) + f"  {made.folder}")
    return made


def _safe(
    folder: Path, settings: DemonstrationsSettings, sets: list[PromptSet], seed: int, teacher: ModelReference | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    # Safe responses, and as rejections the requests that the teacher has failed on.
    requests, name = asked(sets), settings.teacher.name
    asks = [Ask(id, prompt) for id, prompt in requests.items()]
    written = TEACHERS[name].write(asks, settings.teacher, teacher, seed, Ledger(folder / WRITTEN))
    safe, failed = [], []
    for (id, prompt), response in zip(requests.items(), written, strict=True):
        made = _demonstration(id, prompt, _whole(response.response, response.finish_reason), "safe", name)
        if response.error is None:
            safe.append(made)
        else:  # what follows the colon differs from request to request
            failed.append({**made, "reason": f"no answer from the teacher ({response.error.partition(':')[0]})"})
    _check_failures(name, failed, len(asks))
    return safe, failed


def _check_failures(teacher: str, failed: list[dict[str, Any]], total: int) -> None:
    if len(failed) > MOST_FAILED * total:
        reason, number = Counter(item["reason"] for item in failed).most_common(1)[0]
        raise UserError(
            f"teacher={teacher}: {len(failed)} of {total} requests failed, {number} with {reason}: what was answered is "
            "kept, and the same command asks for the others again; if that does not help, choose another teacher"
        )


def _benign(sets: TrainingSets, own: dict[str, dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    found = []
    for kind, requests in (("benign", asked(sets.benign)), ("replay", asked(sets.replay))):
        for id, prompt in requests.items():
            made = _demonstration(id, prompt, "", kind, "base") | _own(own[id])
            if again := own.get(f"again/{id}"):
                answer, assent = _own(again), base.assent(prompt.prompt)
                made |= {**answer, "response": f"{assent} {answer['response']}", "coaxed": assent}
            found.append({**made, "rejected": template.refusal(prompt, seed)})
    return found


def _with_rejected(written: list[dict[str, Any]], own: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    # The answer that a safe response is to be preferred to: the base model's own, where it complies.
    return [
        {**item, "rejected": answer}
        if item["kind"] == "safe" and (answer := _complied(own, item["id"], item["request"]))
        else item
        for item in written
    ]


def _complied(own: dict[str, dict[str, Any]], id: str, request: str) -> str:
    answer = own.get(f"complied/{id}", {}).get("response", "")
    return answer if answer and label(answer, request) == "compliance" else ""


def _recoveries(
    kept: list[dict[str, Any]], own: dict[str, dict[str, Any]], model: ModelReference, seed: int
) -> list[dict[str, Any]]:
    """For each safe response that passed the gate, and whose request the base model was asked too, one that begins to comply."""
    from medsafe_train.models.load import load_tokenizer

    tokenizer = load_tokenizer(model)
    found = []
    for item in kept:
        if item["kind"] == "safe" and f"complied/{item['id']}" in own:
            prefill = base.begun(item["request"], _complied(own, item["id"], item["request"]), tokenizer, seed)
            fresh = {key: value for key, value in item.items() if key != "rejected"}
            found.append({**fresh, "id": f"{item['id']}/recovery", "kind": "recovery", "prefill": prefill})
    return found


def _assented(own: dict[str, dict[str, Any]], sets: TrainingSets) -> list[dict[str, Any]]:
    """For each benign request that was asked so, how the base model goes on from an assent."""
    return [
        {
            **_demonstration(f"{id}/assented", prompt, "", "recovery_benign", "base"),
            **_own(own[f"assented/{id}"]),
            "prefill": base.assent(prompt.prompt),
        }
        for id, prompt in asked(sets.benign).items()
        if f"assented/{id}" in own
    ]


def _own(answer: dict[str, Any]) -> dict[str, Any]:
    # A cut answer stays cut: ended at its last whole sentence, it would teach the model to say one sentence and stop.
    return {"response": answer["response"], "ends": answer["finish_reason"] != "length"}


def _plain(kept: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in item.items() if key != "rejected"}
        | {"id": f"{item['id']}/plain", "kind": "plain"}
        for item in kept
        if item["kind"] == "replay" and not item.get("coaxed")
    ]


def _whole(response: str, finish_reason: str) -> str:
    return base.whole_sentences(response) if finish_reason == "length" else response


def _demonstration(id: str, prompt: Prompt, response: str, kind: str, source: str) -> dict[str, Any]:
    return {
        "id": id,
        "request": prompt.prompt,
        "response": response,
        "kind": kind,
        "principle": prompt.principle,
        "source": source,
    }


def _counts(kept: list[dict[str, Any]], rejected: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "kinds": dict(Counter(item["kind"] for item in kept)),
        "rejected": len(rejected),
        "reasons": dict(Counter(item["reason"] for item in rejected)),
    }
