"""What a run would download, what is already made, and roughly what memory and time it takes (preflight=true)."""

from __future__ import annotations

from pathlib import Path

from medsafe_train import preflight, progress
from medsafe_train.artifacts import Store
from medsafe_train.config import Config, ModelSettings, UserError
from medsafe_train.judges import rubric
from medsafe_train.models import reference
from medsafe_train.models.load import load_tokenizer
from medsafe_train.models.reference import ModelReference
from medsafe_train.plan import downloads as inputs
from medsafe_train.plan import estimates, rows
from medsafe_train.preflight import data as reading
from medsafe_train.preflight import models, names
from medsafe_train.stages import judge_validation, verdicts


def show(config: Config) -> None:
    """Print what a run would download, what is already made, and roughly what memory and time it takes; makes nothing."""
    names.check(config)
    store = Store(Path(config.outputs) / "artifacts")
    notes = []
    try:
        device = reference.choose_device(config.device)
    except UserError as error:  # a plan for another machine
        device = "cuda"
        notes.append(str(error))
    try:
        model = reference.resolve(store, config.model, device, config.seed, make=False)
    except UserError as error:
        if not reference.HUB_ID.fullmatch(str(config.model.path)):
            raise
        notes.append(str(error))
        model = _unpinned(config.model, device)
    teacher = _teacher(config, store, model, notes)
    judging = _judges(config, store, device, notes)
    names.check_libraries(config, model)
    if (Path(model.folder) / "config.json").is_file():
        load_tokenizer(model)
    others = [*([teacher] if teacher else []), *judging.values()]
    downloads = inputs.find(config, [model, *(other for other in others if other.path != model.path)])
    table = rows.table(f"Plan for {config.model.path} on {device}")
    if any(what.startswith("data") for what in downloads):
        table.add_row("all stages", "made from data that is not here yet", "to make")
        counts: dict[str, int] = {}
    else:
        data = reading.read(config)
        made, training = rows.of_run(config, store, data, model, teacher, judging)
        rows.fill(table, made)
        counts = estimates.counts(config, data, training)
    progress.console.print(table)
    for what in downloads or ["nothing: all inputs are here"]:
        progress.say(f"download: {what}")
    for note in notes:
        progress.warn(note)
    estimates.say(config, model, counts, here=not notes)
    estimates.say_judging(config, counts)


def show_judging(config: Config) -> None:
    """Print which labelled answers a judge would read, and what that takes; makes nothing."""
    labels, store, model = preflight.judging(config, make=False)
    answered = judge_validation.place(store, labels)
    made = store.place("verdicts", verdicts.made_from(store, config.judge, answered, model)).made
    state = "judged before" if made else "to judge"
    progress.say(f"{len(labels.rows)} labelled answers of {', '.join(labels.files)}, by {config.judge.name}: {state}")
    if config.judge.name == "rubric" and not made:
        records = [{"id": row.id, "prompt": row.prompt, "response": row.response} for row in labels.rows]
        likely, most = rubric.tokens(records, config.judge)
        progress.say(f"about {likely:,} tokens, at most {most:,}; nothing is sent past {config.judge.max_total_tokens}")


def _teacher(config: Config, store: Store, model: ModelReference, notes: list[str]) -> ModelReference | None:
    try:
        return models.teacher(config, store, model, make=False)
    except UserError as error:
        t = config.demonstrations.teacher
        if not reference.HUB_ID.fullmatch(str(t.model)):
            raise
        notes.append(str(error))
        return _unpinned(ModelSettings(path=t.model, revision=t.revision, prompt_format=t.prompt_format), model.device)


def _judges(config: Config, store: Store, device: str, notes: list[str]) -> dict[str, ModelReference]:
    found = {}
    for name, settings in models.judge_settings(config.judge).items():
        try:
            found[name] = models.judge(config, name, store, device, make=False)
        except UserError as error:
            if not reference.HUB_ID.fullmatch(str(settings.path)):
                raise
            notes.append(str(error))
            found[name] = _unpinned(settings, device)
    return found


def _unpinned(m: ModelSettings, device: str) -> ModelReference:
    return ModelReference(
        str(m.path), m.revision or "", str(m.path), m.prompt_format, m.system_prompt, m.eos_token,
        reference.choose_dtype(m, device), m.quantization.value, m.attn_implementation, device,
    )  # fmt: skip
