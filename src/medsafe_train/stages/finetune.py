"""LoRA fine-tuning on demonstrations, with TRL and PEFT."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from medsafe_train import artifacts, progress, prompts
from medsafe_train.artifacts import Artifact, Store
from medsafe_train.config import FinetuneSettings, UserError
from medsafe_train.models import training
from medsafe_train.models.reference import ModelReference
from medsafe_train.quality.mix import mixed

VERSION = 6
# From this share of a set's refusals on a token is one that they begin with.
OPENING = 0.02
# Settings that change nothing of what this stage trains: how often it saves, and what comes after it.
ELSEWHERE = ("save_steps", "merge", "method", "beta", "dpo_learning_rate", "dpo_epochs", "scales", "min_refusal")


def made_from(settings: FinetuneSettings, demonstrations: Artifact, model: ModelReference, seed: int) -> dict[str, Any]:
    """What decides the adapter."""
    return {
        "version": VERSION,
        "settings": {key: value for key, value in asdict(settings).items() if key not in ELSEWHERE},
        "demonstrations": demonstrations.id,
        "model": model.made_from(),
        "seed": seed,
    }


def run(
    store: Store, settings: FinetuneSettings, demonstrations: Artifact, model: ModelReference, seed: int
) -> Artifact:
    """An artifact with `adapter/`, `training.jsonl` (loss by step) and `counts.json`.

    A killed run goes on from its last whole checkpoint. Raises UserError when no demonstration fits into max_length
    or the loss is not finite.
    """
    mix = settings.mix if settings.self_distillation else replace(settings.mix, plain=0.0)
    records = mixed(demonstrations.records("demonstrations.jsonl"), mix, seed)

    def build(folder: Path) -> None:
        rows, dropped = training_rows(records, model, settings)
        if not (folder / "adapter").exists():
            declining = openings(records, model, settings)
            _train(folder, rows, list(declining.values()), settings, model, seed)
        kinds = dict(Counter(record["kind"] for record in records))
        artifacts.write_json(folder / "counts.json", {"rows": len(rows), "dropped_too_long": dropped, "kinds": kinds})
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)

    with progress.stage("finetune", f"LoRA r={settings.r} on {len(records)} demonstrations of {model.path}"):
        made = store.make("finetune", made_from(settings, demonstrations, model, seed), build)
        losses = [entry["loss"] for entry in made.records("training.jsonl")]
        trend = f"loss {losses[0]:.2f} → {losses[-1]:.2f}, " if losses else ""
        counts = made.json("counts.json")
        note = f", {counts['dropped_too_long']} dropped as too long" if counts["dropped_too_long"] else ""
        kinds = ", ".join(f"{number} {kind}" for kind, number in counts["kinds"].items())
        progress.say(f"{trend}{counts['rows']} rows ({kinds}){note}  {made.folder}")
    return made


def training_rows(
    records: list[dict[str, Any]], model: ModelReference, settings: FinetuneSettings
) -> tuple[list[dict[str, list[int]]], int]:
    """Token ids and labels of every demonstration that fits, and how many did not.

    The loss falls on the answer and its end of turn only, unless `train_on_prompt`; where an answer has begun, on what
    follows. The tokens of the prompt are those of every evaluation.
    """
    from medsafe_train.models.load import load_tokenizer

    tokenizer = load_tokenizer(model)
    rows = []
    ends = []
    for record, whole in zip(records, wholes(records, settings.whole_answers), strict=True):
        prompt, answer = tokens(record, tokenizer, model)
        answer = answer if whole else answer[: settings.first_tokens]
        if len(prompt) + len(answer) <= settings.max_length and answer:
            trained = distilled(record, answer, settings)
            labels = (prompt if settings.train_on_prompt else [-100] * len(prompt)) + trained
            rows.append({"input_ids": prompt + answer, "labels": labels})
            ends.append(whole and record["kind"] != "plain" and record.get("ends", True))
    if not rows:
        raise UserError(f"finetune.max_length={settings.max_length} is shorter than every demonstration: raise it")
    end = prompts.end_of_turn_id(tokenizer, model.prompt_format)
    guard(rows, ends, end, tokenizer.bos_token_id, vocabulary(model))
    return rows, len(records) - len(rows)


def wholes(records: list[dict[str, Any]], share: float) -> list[bool]:
    """Which demonstrations are trained to the end of their answer: this share of them by a hash, anew for every repetition."""
    if share == 1:
        return [True] * len(records)
    seen: Counter[str] = Counter()
    found = []
    for record in records:
        seen[record["id"]] += 1
        digest = hashlib.sha256(f"whole\n{seen[record['id']]}\n{record['id']}".encode()).hexdigest()
        found.append(record["kind"] == "plain" or int(digest, 16) < share * 2**256)
    return found


def distilled(record: dict[str, Any], answer: list[int], settings: FinetuneSettings) -> list[int]:
    """The labels of an answer: with SOFT or DECIDED added where the model is to stay with what its base might say."""
    from medsafe_train.models.soft import DECIDED, SOFT

    if not settings.self_distillation or record["source"] != "base" or record.get("coaxed"):
        return answer
    # Where an answer begins, the base hesitates between answering and declining, and half of that hesitation, kept, is a
    # harmless request turned away. Plain text knows no declining.
    decided = 0 if record["kind"] == "plain" else settings.first_tokens
    # In the order of `openings`: a refusal that turns an answer round begins with other words than one that opens it.
    first = settings.first_tokens if record["kind"] == "recovery_benign" else 0
    levels = [DECIDED + (first + place) * SOFT for place in range(min(decided, len(answer)))]
    return [id + level for id, level in zip(answer, levels, strict=False)] + [id + SOFT for id in answer[decided:]]


def openings(
    records: list[dict[str, Any]], model: ModelReference, settings: FinetuneSettings
) -> dict[tuple[str, int], list[int]]:
    """By kind of refusal (`safe`, `recovery`) and place, the tokens that this set's refusals begin with and its answers do not.

    A token counts from a share of OPENING of the refusals on, and where a smaller share of the base model's own answers of
    the same form has it in that place. None without `self_distillation`.
    """
    from medsafe_train.models.load import load_tokenizer

    if not settings.self_distillation:
        return {}
    tokenizer = load_tokenizer(model)
    found = {}
    for refusals, answers in (("safe", ("benign", "replay")), ("recovery", ("recovery_benign",))):
        declined = [tokens(r, tokenizer, model)[1] for r in records if r["kind"] == refusals]
        answered = [tokens(r, tokenizer, model)[1] for r in records if r["kind"] in answers]
        for place in range(settings.first_tokens):
            here, there = (_shares([ids[place] for ids in group if len(ids) > place]) for group in (declined, answered))
            found[refusals, place] = sorted(
                id for id, share in here.items() if share >= OPENING and share > there.get(id, 0.0)
            )
    return found


def _shares(ids: list[int]) -> dict[int, float]:
    return {id: count / len(ids) for id, count in Counter(ids).items()}


def tokens(record: dict[str, Any], tokenizer: Any, model: ModelReference) -> tuple[list[int], list[int]]:
    """The tokens of a demonstration's prompt, and those of its answer."""
    if record["kind"] == "plain":
        return prompts.plain_ids(tokenizer, record["request"], record["response"])
    return prompts.training_ids(
        tokenizer,
        model.prompt_format,
        record["request"],
        record["response"],
        model.system_prompt,
        record.get("prefill"),
        record.get("ends", True),
    )


def guard(
    rows: list[dict[str, list[int]]], ends: list[bool], end: int, bos: int | None, vocabulary: int | None
) -> None:
    """UserError for rows that would train something else than meant, silently.

    Every row has to end with the trained `end` of turn, unless its answer was cut (`ends`), to begin with one BOS at most,
    and to hold no token beyond the `vocabulary`, the rows of the embedding.
    """
    for number, (row, whole) in enumerate(zip(rows, ends, strict=True)):
        ids, labels = row["input_ids"], row["labels"]
        # An answer without an end may be a single token.
        answer = labels[:-1] if whole else labels
        if (whole and (ids[-1] != end or labels[-1] == -100)) or all(label == -100 for label in answer):
            raise UserError(f"row {number} trains no answer that ends with token {end}: check model.prompt_format")
        if bos is not None and ids[:2] == [bos, bos]:
            raise UserError(f"row {number} begins with two BOS tokens ({bos}): choose another model.prompt_format")
        if vocabulary is not None and max(ids) >= vocabulary:
            raise UserError(
                f"row {number} holds token {max(ids)}, beyond the {vocabulary} rows of the embedding: choose another "
                "model.prompt_format"
            )


def vocabulary(model: ModelReference) -> int | None:
    """The rows of the embedding, as the model's configuration says."""
    from transformers import AutoConfig

    revision = None if Path(model.folder).is_dir() else model.revision
    return getattr(AutoConfig.from_pretrained(model.folder, revision=revision).get_text_config(), "vocab_size", None)


def sft_config(settings: FinetuneSettings, model: ModelReference, folder: Path, seed: int) -> Any:
    """TRL's SFTConfig."""
    from trl import SFTConfig

    return SFTConfig(
        **training.arguments(settings, model, folder, seed),
        learning_rate=settings.learning_rate,
        num_train_epochs=settings.num_train_epochs,
        max_steps=settings.updates or -1,
        packing=settings.packing,
        # Rows of about one length share a batch: less padding. Packed rows are of one length anyway.
        train_sampling_strategy="random" if settings.packing else "group_by_length",
    )


def _train(
    folder: Path,
    rows: list[dict[str, list[int]]],
    declining: list[list[int]],
    settings: FinetuneSettings,
    model: ModelReference,
    seed: int,
) -> None:
    def build(settings: FinetuneSettings, checkpoints: Path, tokenizer: Any, callback: Any) -> Any:
        import datasets

        from medsafe_train.models.trainer import AnswerTrainer

        return AnswerTrainer(
            first_tokens=settings.first_tokens,
            first_tokens_weight=settings.first_tokens_weight,
            declining=declining,
            mixed_updates=settings.mixed_updates,
            distillation_temperature=settings.distillation_temperature,
            refusal_weight=settings.refusal_weight,
            model=training.base_model(settings, model),
            args=sft_config(settings, model, checkpoints, seed),
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=training.lora_config(settings),
            callbacks=[callback],
        )

    training.run(folder, settings, model, build)
