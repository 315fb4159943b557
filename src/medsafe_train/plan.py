"""What a run would download, what is already made, and roughly what memory and time it takes (preflight=true)."""

from __future__ import annotations

import time
from pathlib import Path

from rich.table import Table

from medsafe_train import preflight, progress
from medsafe_train.artifacts import Artifact, Store
from medsafe_train.config import Config, Method, ModelSettings, UserError
from medsafe_train.models import reference
from medsafe_train.models.load import load_tokenizer
from medsafe_train.models.reference import ModelReference
from medsafe_train.sources import prompt_sets, questions, read
from medsafe_train.stages.scale import ANSWER_TOKENS

# As of Llama 3; smaller ones need less.
VOCABULARY = 128_256


def show(config: Config) -> None:
    """Print what a run would download, what is already made, and roughly what memory and time it takes; makes nothing."""
    preflight.check_names(config)
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
    preflight.check_library_names(config, model)
    if (Path(model.folder) / "config.json").is_file():
        load_tokenizer(model)
    downloads = _downloads(config, [model, *([teacher] if teacher and teacher.path != model.path else [])])
    table = Table(title=f"Plan for {config.model.path} on {device}", title_justify="left", title_style="bold")
    for head in ("stage", "what", "state"):
        table.add_column(head)
    if any(what.startswith("data") for what in downloads):
        table.add_row("all stages", "made from data that is not here yet", "to make")
        counts: dict[str, int] = {}
    else:
        counts = _rows(table, config, store, model, teacher)
    progress.console.print(table)
    for what in downloads or ["nothing: all inputs are here"]:
        progress.say(f"download: {what}")
    for note in notes:
        progress.warn(note)
    _estimates(config, model, counts, here=not notes)


def _teacher(config: Config, store: Store, model: ModelReference, notes: list[str]) -> ModelReference | None:
    try:
        return preflight.teacher_model(config, store, model, make=False)
    except UserError as error:
        t = config.demonstrations.teacher
        if not reference.HUB_ID.fullmatch(str(t.model)):
            raise
        notes.append(str(error))
        return _unpinned(ModelSettings(path=t.model, revision=t.revision, prompt_format=t.prompt_format), model.device)


def _unpinned(m: ModelSettings, device: str) -> ModelReference:
    return ModelReference(
        str(m.path), m.revision or "", str(m.path), m.prompt_format, m.system_prompt, m.eos_token,
        reference.choose_dtype(m, device), m.quantization.value, m.attn_implementation, device,
    )  # fmt: skip


def _downloads(config: Config, models: list[ModelReference]) -> list[str]:
    found = []
    for model in models:
        if not Path(model.folder).is_dir() and model.path == model.folder and not _is_cached(model):
            size = reference.size_of(model)
            found.append(f"model {model.path}" + (f", about {2 * size / 1e9:.1f} GB" if size else ""))
    d, e = config.demonstrations, config.evaluation
    named = {(name, part) for s, part in ((d, "train"), (e, "test")) for name in [*s.harmful, *s.benign]}
    named |= {(name, "train") for name in d.replay}
    locations = [
        (name, prompt_sets.published(name).parts.get(part))
        for name, part in sorted(named)
        if not prompt_sets.is_file(name)
    ]
    for name in config.medical_qa.benchmarks:
        known = questions.published(name)
        locations += [(name, known.where), (name, known.ids)]
    for name, location in locations:
        if location is None:
            continue
        places = read.locate(location, config.data_folder)
        missing = [
            p for p in places if p.startswith("hub:") or (p.startswith("https://") and not read.cached(p).is_file())
        ]
        if missing:
            found.append(
                f"data {name}: {len(missing)} file{'s' * (len(missing) > 1)} ({missing[0]}{', …' * (len(missing) > 1)})"
            )
    return found


def _is_cached(model: ModelReference) -> bool:
    try:
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(model.path, revision=model.revision or None, local_files_only=True))
        return any(folder.glob("*.safetensors")) or any(folder.glob("*.bin"))
    except Exception:
        return False


def _rows(
    table: Table, config: Config, store: Store, model: ModelReference, teacher: ModelReference | None
) -> dict[str, int]:
    # The same chain of hashes as the stages compute, without making anything.
    from medsafe_train.models.arm import Arm
    from medsafe_train.stages import (
        checkpoint,
        demonstrations,
        divergence,
        finetune,
        medical_qa,
        own_answers,
        preference,
        requests,
        responses,
        scale,
        verdicts,
    )

    data = preflight.read_data(config)
    training, sets, benchmarks, f = data.training, data.sets, data.benchmarks, config.finetune
    if requests.wanted(config.demonstrations):
        made = requests.made_from(config.demonstrations, training, sets, config.seed, teacher)
        written = store.place("requests", made)
        what = "harmful requests and benign twins that the teacher writes"
        table.add_row("requests", what, "made" if written.made else "to make")
        more = requests.sets_of(written) if written.made else requests.planned(config.demonstrations)
        training = preflight.with_sets(config, training, more)
    n_harmful, n_twins, n_replay = (
        sum(len(s.prompts) for s in group) for group in (training.harmful, training.benign, training.replay)
    )
    n_benign = n_twins + n_replay

    def row(stage: str, what: str, artifact: Artifact) -> Artifact:
        table.add_row(stage, what, "made" if artifact.made else "to make")
        return artifact

    own = None
    if training.benign or training.replay or config.demonstrations.recovery:
        own = store.place("own_answers", own_answers.made_from(config.demonstrations, training, model))
        row("own_answers", "base model's answers to training requests", own)
    demos = row(
        "demonstrations",
        f"up to {n_harmful} safe responses and {n_benign} answers to benign requests",
        store.place(
            "demonstrations",
            demonstrations.made_from(config.demonstrations, training, own, model, config.seed, teacher),
        ),
    )
    tuned = None
    trained = []
    if f.method is not Method.dpo:
        tuned = store.place("finetune", finetune.made_from(f, demos, model, config.seed))
        length = f"{f.updates} updates" if f.updates else f"{f.num_train_epochs:g} epochs"
        trained.append(("finetune", f"LoRA r={f.r}, {length}", tuned))
    if f.method is not Method.sft:
        tuned = store.place("preference", preference.made_from(f, demos, tuned, model, config.seed))
        trained.append(("preference", f"DPO beta={f.beta:g}", tuned))
    assert tuned is not None
    if f.scales != [1.0]:
        tuned = store.place("scale", scale.made_from(f, tuned, training.validation, model))
        trained.append(("scale", f"{len(f.scales)} strengths tried on validation requests", tuned))
    base: dict[str, Artifact] = {}
    merged = store.place("checkpoint", checkpoint.made_from(tuned, model)) if f.merge else None
    for arm in (Arm(model), Arm(model, tuned, merged)):
        if arm.adapter:
            for stage in trained:
                row(*stage)
            if merged:
                row("checkpoint", "merged", merged)
        for s in sets:
            for begun in (False, True) if responses.prefills(config.evaluation, s) else (False,):
                made = responses.made_from(config.evaluation, s, arm, begun)
                how = ", begun with assent" if begun else ""
                answered = row(
                    "responses", f"{arm.name}: {len(s.prompts)} of {s.name}{how}", store.place("responses", made)
                )
                judged = store.place("verdicts", verdicts.made_from(config.judge, answered))
                row("verdicts", f"{arm.name}: {s.name}{how}", judged)
                if not arm.adapter and not begun:
                    base[s.name] = answered
            if arm.adapter and s.kind == "benign" and config.evaluation.kl_limit:
                made = divergence.made_from(config.evaluation.kl_limit, base[s.name], model, arm.adapter)
                row("divergence", f"from the base model on {s.name}", store.place("divergence", made))
        for b in benchmarks:
            made = medical_qa.made_from(config.medical_qa, b, arm)
            row("medical_qa", f"{arm.name}: {len(b.questions)} of {b.name}", store.place("medical_qa", made))
    words = sum(len((q.context or "").split()) + len(q.question.split()) for b in benchmarks for q in b.questions)
    recovery, tried = config.demonstrations.recovery, training.validation
    return {
        "refusals": int(n_harmful * (f.mix.safe + f.mix.recovery * recovery)),
        "rehearsed": int(
            n_twins * (f.mix.benign + f.mix.recovery_benign * recovery)
            + n_replay * (f.mix.replay + f.mix.plain * f.self_distillation)
        ),
        "replay": n_benign + (n_harmful + n_benign if recovery else 0),
        "tried": sum(len(s.prompts) * (1 + scale.assents(s)) for s in tried)
        * (len(f.scales) if len(f.scales) > 1 else 0),
        "answers": 2 * sum(len(s.prompts) * (1 + responses.prefills(config.evaluation, s)) for s in sets),
        "question_tokens": int(2 * 1.5 * words),
    }


def _estimates(config: Config, model: ModelReference, counts: dict[str, int], here: bool) -> None:
    size = reference.size_of(model)
    if size is None:
        progress.say("size, memory and time: not known before the model is here")
        return
    f = config.finetune
    weight = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0}[model.dtype] if model.quantization == "none" else 0.6
    # Rough: an adapter on all linear layers has about 2 r / width of their weights, here with width ~ (size/150)^(1/2);
    # with AdamW it takes 16 bytes a weight. A layer's activations take about 34 bytes a token and unit of width
    # (Korthikanti et al., arXiv 2205.05198), with checkpointing 2; logits 4 bytes a token and 32,000 entries, twice.
    width = max(64.0, (size / 150) ** 0.5 / 1.4)
    layers = max(2.0, size / (12 * width**2))
    tokens = f.per_device_train_batch_size * min(f.max_length, 256 if not f.packing else f.max_length)
    activations = tokens * (width * layers * (2 if f.gradient_checkpointing else 34) + 2 * 4 * VOCABULARY)
    memory = size * weight + 16 * size * 2 * f.r / width + activations
    # Keys and values of every layer, as of a model whose heads do not share them.
    cached = config.evaluation.batch_tokens * 2 * layers * width * (4 if model.dtype == "float32" else 2)
    answering = size * weight + cached
    kind = "GPU memory" if model.device == "cuda" else "memory"
    progress.say(f"model: {size / 1e9:.2f} billion parameters, {model.dtype}, quantization {model.quantization}")
    progress.say(
        f"{kind}, roughly: {memory / 1e9:.1f} GB for fine-tuning, {answering / 1e9:.1f} GB at most for answering"
    )
    if not counts or not here:
        progress.say("time: not estimated; run this on the machine that will do the work, once its data is there")
        return
    speed = _matrix_speed(model.device, model.dtype)
    e, d = config.evaluation, config.demonstrations
    rows = counts["refusals"] + counts["rehearsed"]
    seen = (
        f.updates * f.per_device_train_batch_size * f.gradient_accumulation_steps
        if f.updates
        else f.num_train_epochs * rows
    )
    # What is distilled passes through the base model too.
    passes = (4 * counts["refusals"] + (6 if f.self_distillation else 4) * counts["rehearsed"]) / max(1, rows)
    # A request has about 40 tokens; a refusal is about as long as an answer that is rehearsed.
    length = min(f.max_length, 40 + d.max_new_tokens)
    training = passes * size * seen * length * (1.33 if f.gradient_checkpointing else 1)
    asked = counts["replay"] * d.max_new_tokens + counts["answers"] * e.max_new_tokens + counts["tried"] * ANSWER_TOKENS
    generating = 2 * size * asked
    asking = 2 * size * counts["question_tokens"]
    # Shares of the matrix product's speed that the stages reach, as measured on SmolLM2 on two cores.
    took = training / (0.45 * speed) + generating / (0.25 * speed) + asking / (0.7 * speed)
    rough = progress.duration(took) if took >= 60 else "under a minute"
    progress.say(
        f"time, very roughly, if nothing were made yet and the device is free: {rough}, and the libraries' start"
    )


def _matrix_speed(device: str, dtype: str) -> float:
    """Floating-point operations a second of a large matrix product here."""
    import torch

    n = 2048 if device == "cpu" else 8192
    a = torch.randn(n, n, device=device, dtype=getattr(torch, dtype))
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        float((a @ a)[0, 0])
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best
