"""What in a configuration cannot be meant: found all at once, before anything is read or loaded."""

from __future__ import annotations

from medsafe_train.config import (
    CheckpointGateSettings,
    Config,
    DemonstrationsSettings,
    Device,
    Dtype,
    FinetuneSettings,
    GateSettings,
    GenerateMethod,
    GenerateSettings,
    Method,
    ModelSettings,
    Quantization,
    Task,
    TeacherSettings,
    shipped,
)
from medsafe_train.contradictions import judge, model, server


def contradictions(config: Config) -> list[str]:
    """What in a configuration cannot be meant, a sentence each with the next step; empty when all is well."""
    if config.task is Task.compare:
        return _checkpoint_gate(config.gate)
    if config.task is Task.judge_validation:
        also = config.judge.also
        alone = f"judge.also={also} has no effect here: one judge at a time is held against labels, so leave it out"
        return [*_wrong([(not also, alone)]), *judge.wrong(config.judge)]
    d, f = config.demonstrations, config.finetune
    return [
        *_wrong([(not config.runs, f"runs={config.runs} is for comparing: add +recipe=compare")]),
        *_numbers(config),
        *_model(config.model, config.device),
        *_prompt_sets(config),
        *_demonstrations(d, f),
        *_gate(d.gate),
        *_checkpoint_gate(config.gate),
        *_teacher(d.teacher, f.max_length),
        *_generate(d.generate, d.teacher),
        *judge.wrong(config.judge),
        *model.wrong(config),
        *_finetune(f),
        *_wrong(
            [
                (
                    not config.publish.push_to_hub or bool(config.publish.hub_model_id),
                    "publish.push_to_hub=true: say where to, publish.hub_model_id=OWNER/NAME",
                )
            ]
        ),
    ]


def _wrong(rules: list[tuple[bool, str]]) -> list[str]:
    return [text for good, text in rules if not good]


def _numbers(config: Config) -> list[str]:
    f, e, d, q, g = (
        config.finetune,
        config.evaluation,
        config.demonstrations,
        config.medical_qa,
        config.demonstrations.gate,
    )
    above = {
        "finetune.r": f.r,
        "finetune.per_device_train_batch_size": f.per_device_train_batch_size,
        "finetune.gradient_accumulation_steps": f.gradient_accumulation_steps,
        "finetune.max_length": f.max_length,
        "finetune.save_steps": f.save_steps,
        "finetune.first_tokens_weight": f.first_tokens_weight,
        "finetune.refusal_weight": f.refusal_weight,
        "finetune.distillation_temperature": f.distillation_temperature,
        "finetune.lora_alpha": f.lora_alpha,
        "finetune.num_train_epochs": f.num_train_epochs,
        "finetune.learning_rate": f.learning_rate,
        "finetune.beta": f.beta,
        "finetune.dpo_learning_rate": f.dpo_learning_rate,
        "finetune.dpo_epochs": f.dpo_epochs,
        "evaluation.max_new_tokens": e.max_new_tokens,
        "evaluation.prefill_tokens": e.prefill_tokens,
        "evaluation.batch_tokens": e.batch_tokens,
        "demonstrations.max_new_tokens": d.max_new_tokens,
        "demonstrations.gate.max_words": g.max_words,
    }
    limits = {
        "demonstrations.limit": d.limit,
        "demonstrations.benign_limit": d.benign_limit,
        "demonstrations.replay_limit": d.replay_limit,
        "demonstrations.recovery_limit": d.recovery_limit,
        "finetune.updates": f.updates,
        "evaluation.limit": e.limit,
        "evaluation.attack_limit": e.attack_limit,
        "medical_qa.limit": q.limit,
        "medical_qa.batch_tokens": q.batch_tokens,
    }
    not_below = {
        "seed": config.seed,
        "finetune.warmup_steps": f.warmup_steps,
        "finetune.first_tokens": f.first_tokens,
        "medical_qa.shots": q.shots,
        "medical_qa.text_limit": q.text_limit,
        "evaluation.kl_limit": e.kl_limit,
        "demonstrations.gate.min_words": g.min_words,
        **{
            f"finetune.mix.{name}": getattr(f.mix, name)
            for name in ("safe", "benign", "replay", "recovery", "recovery_benign", "plain")
        },
    }
    return [
        *(f"{name}={number} must be above 0" for name, number in above.items() if not number > 0),
        *(
            f"{name}={limit} must be above 0; leave it unset for all"
            for name, limit in limits.items()
            if limit is not None and limit <= 0
        ),
        *(f"{name}={number} must not be below 0" for name, number in not_below.items() if not number >= 0),
        *_wrong([
            (0 <= f.lora_dropout < 1, f"finetune.lora_dropout={f.lora_dropout} must be in [0, 1)"),
            (
                bool(q.shot_seeds) and len(set(q.shot_seeds)) == len(q.shot_seeds),
                f"medical_qa.shot_seeds={q.shot_seeds} must name at least one seed, each once",
            ),
            (0 <= d.validation < 1, f"demonstrations.validation={d.validation} must be in [0, 1)"),
            (0 < d.near_copy_threshold <= 1, f"demonstrations.near_copy_threshold={d.near_copy_threshold} must be in (0, 1]"),
        ]),
    ]  # fmt: skip


def _model(m: ModelSettings, device: Device) -> list[str]:
    names = ", ".join(sorted(p.stem for p in (shipped("conf") / "model").glob("*.yaml")))
    return _wrong([
        (
            m.path is not None,
            f"no model is named: add +recipe=quickstart, model=NAME ({names}) or model.path=FOLDER_OR_HUB_ID",
        ),
        (
            not (m.quantization is Quantization.nf4 and m.dtype is Dtype.float32),
            "model.quantization=nf4 with model.dtype=float32: compute in bfloat16 or float16 (model.dtype=auto)",
        ),
        (
            not (device is Device.cpu and m.dtype is Dtype.float16),
            "model.dtype=float16 on device=cpu is slow and inexact: use float32 (model.dtype=auto) or bfloat16",
        ),
    ])  # fmt: skip


def _prompt_sets(config: Config) -> list[str]:
    d, e = config.demonstrations, config.evaluation
    found = _wrong([
        (
            bool(d.harmful) or d.generate.per_principle > 0,
            "demonstrations.harmful is empty: name a prompt set, for example [harmful_requests], or set "
            "demonstrations.generate.per_principle",
        ),
        (
            # Questions alone are an evaluation; a checkpoint without a harmful or a harmless request shows nothing of safety.
            bool(e.harmful or e.benign) or (config.task == Task.evaluate and bool(config.medical_qa.benchmarks)),
            "evaluation.harmful and evaluation.benign are both empty: nothing to measure"
            + (", nor in medical_qa.benchmarks: name one in either" if config.task == Task.evaluate else ""),
        ),
    ])  # fmt: skip
    for both in set(e.harmful) & set(e.benign):
        found.append(f"{both} is in both evaluation.harmful and evaluation.benign: a request cannot be both")
    named = {"harmful": d.harmful, "benign": d.benign, "replay": d.replay}
    for one, other in (("harmful", "benign"), ("harmful", "replay"), ("benign", "replay")):
        for both in set(named[one]) & set(named[other]):
            found.append(f"{both} is in both demonstrations.{one} and demonstrations.{other}: name it in one of them")
    return found


def _demonstrations(d: DemonstrationsSettings, f: FinetuneSettings) -> list[str]:
    return _wrong([
        (
            len(f.scales) <= 1 or d.validation > 0,
            f"finetune.scales={f.scales} are to be tried on requests kept from training, but demonstrations.validation=0: raise it",
        ),
        (
            f.method is Method.sft or d.recovery,
            f"finetune.method={f.method.value} needs answers to prefer others to: set demonstrations.recovery=true",
        ),
        (
            d.recovery or f.mix.safe > 0,
            "finetune.mix.safe=0 and demonstrations.recovery=false leave no refusal to learn from: set one of them back",
        ),
        (
            not (d.recovery and f.train_on_prompt),
            "finetune.train_on_prompt=true would train on the assent that recoveries begin with too: set "
            "demonstrations.recovery=false",
        ),
        (
            d.max_new_tokens < f.max_length,
            f"demonstrations.max_new_tokens={d.max_new_tokens} leaves no room for the prompt in "
            f"finetune.max_length={f.max_length}: raise max_length",
        ),
    ])  # fmt: skip


def _gate(g: GateSettings) -> list[str]:
    at = "demonstrations.gate"
    return _wrong([
        *(
            (0 < share <= 1, f"{at}.{name}={share} must be above 0 and at most 1, which lets most through")
            for name, share in {"near_copy": g.near_copy, "max_opening_share": g.max_opening_share}.items()
        ),
        (
            g.max_principle_ratio >= 1,
            f"{at}.max_principle_ratio={g.max_principle_ratio} must be 1 or more; 1: as many of each principle",
        ),
        (
            g.min_words <= g.max_words or g.max_words <= 0,
            f"{at}.min_words={g.min_words} is above max_words={g.max_words}: no response could pass",
        ),
    ])  # fmt: skip


def _checkpoint_gate(g: CheckpointGateSettings) -> list[str]:
    known = ("harm", "over_refusal", "capability", "coverage", "coherence")
    shares = ("min_refusal", "min_improvement", "min_coverage", "min_coherent")
    return _wrong([
        *((name in known, f"gate.criteria names {name!r}: there are {', '.join(known)}") for name in g.criteria),
        (bool(g.criteria), f"gate.criteria is empty: name some of {', '.join(known)}"),
        *((0 <= getattr(g, n) <= 1, f"gate.{n}={getattr(g, n)} is a share: set it between 0 and 1") for n in shares),
        *(
            (0 < getattr(g, n) <= 1, f"gate.{n}={getattr(g, n)} must be above 0 and at most 1: no items exclude a loss of nothing")
            for n in ("over_refusal_margin", "capability_margin")
        ),
    ])  # fmt: skip


def _finetune(f: FinetuneSettings) -> list[str]:
    targets = f.target_modules
    listed = isinstance(targets, list) and bool(targets) and all(isinstance(t, str) for t in targets)
    return _wrong([
        (f.mix.safe + f.mix.recovery > 0, "finetune.mix holds no refusals: raise finetune.mix.safe above 0"),
        (0 <= f.whole_answers <= 1, f"finetune.whole_answers={f.whole_answers} is a share: set it between 0 and 1"),
        (
            f.whole_answers == 1 or f.first_tokens > 0,
            f"finetune.whole_answers={f.whole_answers} trains the others' first_tokens, and finetune.first_tokens=0: raise one of them",
        ),
        (bool(f.scales), "finetune.scales is empty: name at least one strength, [1.0] for the adapter as trained"),
        (all(scale > 0 for scale in f.scales), f"finetune.scales={f.scales} must be above 0"),
        (0 <= f.min_refusal <= 1, f"finetune.min_refusal={f.min_refusal} is a share: set it between 0 and 1"),
        (len(set(f.scales)) == len(f.scales), f"finetune.scales={f.scales} names a strength twice: name each once"),
        (
            f.updates is None or f.method is not Method.dpo,
            f"finetune.updates={f.updates} counts supervised updates, and finetune.method=dpo makes none: set finetune.dpo_epochs",
        ),
        (
            f.updates is None or f.warmup_steps < f.updates,
            f"finetune.warmup_steps={f.warmup_steps} are as many as finetune.updates={f.updates}: lower them, or the learning "
            "rate never gets to its height",
        ),
        (
            not (f.train_on_prompt and f.first_tokens_weight != 1),
            f"finetune.first_tokens_weight={f.first_tokens_weight} weighs answers, and finetune.train_on_prompt=true trains on "
            "the prompt too: set one of them back",
        ),
        (
            f.self_distillation or (f.refusal_weight, f.distillation_temperature) == (1, 1),
            f"finetune.refusal_weight={f.refusal_weight} and finetune.distillation_temperature={f.distillation_temperature} weigh "
            "against what is rehearsed with finetune.self_distillation=true: set them to 1, or that to true",
        ),
        (
            not (f.mixed_updates and f.packing),
            "finetune.mixed_updates=true deals out rows, and finetune.packing=true makes them one: set one of them back",
        ),
        (
            targets == "all-linear" or listed,
            f"finetune.target_modules={targets!r} must be all-linear or a list of module names, for example [q_proj,v_proj]",
        ),
        (
            f.layers_to_transform is None or targets != "all-linear",
            "finetune.layers_to_transform needs finetune.target_modules as a list, for example [q_proj,v_proj]",
        ),
    ])  # fmt: skip


def _teacher(t: TeacherSettings, max_length: int) -> list[str]:
    at, remote, local = "demonstrations.teacher", t.name == "endpoint", t.name == "local"
    # What is set for another teacher than the one chosen was meant to choose it.
    strays = [(not t.base_url or remote, f"{at}.base_url is set, but the teacher is {t.name}: add teacher=endpoint")]
    strays.append((not t.refusal_prefix or local, f"{at}.refusal_prefix=true needs teacher=local, not {t.name}"))
    strays.append((not t.model or remote or local, f"{at}.model={t.model} needs teacher=local or teacher=endpoint"))
    strays.append((not t.revision or not local or bool(t.model), f"{at}.revision={t.revision} needs {at}.model"))
    found = [text for good, text in strays if not good]
    if remote:
        found += server.wrong(t, at, "teacher=endpoint")
    if (remote or local) and t.max_new_tokens >= max_length:
        found.append(
            f"{at}.max_new_tokens={t.max_new_tokens} leaves no room for the prompt in "
            f"finetune.max_length={max_length}: raise max_length"
        )
    return found + server.numbers(t, at)


def _generate(g: GenerateSettings, t: TeacherSettings) -> list[str]:
    at, begun = "demonstrations.generate", g.method is GenerateMethod.affirmative_prefix
    found = [f"{at}.{name}={value} must be above 0" for name in ("batch", "max_new_tokens", "max_rounds")
             if (value := getattr(g, name)) <= 0]  # fmt: skip
    if g.per_principle < 0:
        found.append(f"{at}.per_principle={g.per_principle} must not be below 0")
    if not 1 <= g.harm_threshold <= 10:
        found.append(f"{at}.harm_threshold={g.harm_threshold} must be from 1 to 10, as ratings are")
    if begun and not g.per_principle:
        found.append(f"{at}.method={g.method.value}, but no requests are generated: set {at}.per_principle above 0")
    wanted = f"per_principle={g.per_principle}" if g.per_principle else "twins=true" if g.twins else ""
    if wanted and t.name not in ("local", "endpoint"):
        found.append(f"{at}.{wanted}: the teacher {t.name} writes no requests: add teacher=local or teacher=endpoint")
    elif begun and t.name != "local":
        found.append(f"{at}.method={g.method.value} begins the teacher's answers for it, which takes teacher=local")
    return found
