"""Roughly what memory and time a run takes."""

from __future__ import annotations

import time

from medsafe_train import progress
from medsafe_train.config import Config
from medsafe_train.judges import names
from medsafe_train.judges.question import messages
from medsafe_train.judges.rubric import CHARACTERS_PER_TOKEN
from medsafe_train.models import reference
from medsafe_train.models.reference import ModelReference
from medsafe_train.preflight.data import Data
from medsafe_train.sources.prompt_sets import TrainingSets, asked, limited
from medsafe_train.stages.scale import ANSWER_TOKENS, assents

# As of Llama 3; smaller ones need less.
VOCABULARY = 128_256


def counts(config: Config, data: Data, training: TrainingSets) -> dict[str, int]:
    """How much of each kind of work a run has, from which its time is estimated."""
    d, mix = config.demonstrations, config.finetune.mix
    harmful, twins, replay = (len(asked(group)) for group in (training.harmful, training.benign, training.replay))
    # Requests that are asked once more with the answer begun, of either kind.
    begun = [
        sum(len(limited(s, d.recovery_limit).prompts) for s in kind) if d.recovery else 0
        for kind in (training.harmful, training.benign)
    ]
    rehearsed = twins * mix.benign + begun[1] * mix.recovery_benign
    rehearsed += replay * (mix.replay + mix.plain * config.finetune.self_distillation)
    strengths = len(config.finetune.scales) if len(config.finetune.scales) > 1 else 0
    questions = [q for benchmark in data.benchmarks for q in benchmark.questions]
    words = sum(len((q.context or "").split()) + len(q.question.split()) for q in questions)
    return {
        "refusals": int(harmful * mix.safe + begun[0] * mix.recovery),
        "rehearsed": int(rehearsed),
        "replay": twins + replay + sum(begun),
        "tried": strengths * sum(len(s.prompts) * (1 + assents(s)) for s in training.validation),
        "answers": 2 * sum(len(one.prompts.prompts) for one in data.rounds),
        "judged": 2 * sum(len(one.prompts.prompts) for one in data.rounds if one.prompts.kind == "harmful"),
        "question_tokens": int(2 * 1.5 * words),
    }


def say(config: Config, model: ModelReference, counts: dict[str, int], here: bool) -> None:
    """Print size, memory and time, roughly; time only `here`, where the work is to be done, and by `counts`."""
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
    generated = (
        counts["replay"] * d.max_new_tokens + counts["answers"] * e.max_new_tokens + counts["tried"] * ANSWER_TOKENS
    )
    generating = 2 * size * generated
    asking = 2 * size * counts["question_tokens"]
    # Shares of the matrix product's speed that the stages reach, as measured on SmolLM2 on two cores.
    took = training / (0.45 * speed) + generating / (0.25 * speed) + asking / (0.7 * speed)
    rough = progress.duration(took) if took >= 60 else "under a minute"
    progress.say(
        f"time, very roughly, if nothing were made yet and the device is free: {rough}, and the libraries' start"
    )


def say_judging(config: Config, counts: dict[str, int]) -> None:
    """Print what a judge behind a server takes, in tokens: likely, and at most."""
    j, judged = config.judge, counts.get("judged", 0)
    if "rubric" not in names(j):
        return
    if not counts:
        progress.say("judge: its tokens are not estimated before the data is there")
        return
    # The rubric itself, a request, an answer of full length, and a reply a third as long as it may be.
    question = len(str(messages("", "", j.policy.value, True))) // CHARACTERS_PER_TOKEN
    likely = judged * (question + 40 + config.evaluation.max_new_tokens + j.max_new_tokens // 3)
    limit = "no limit is set" if j.max_total_tokens is None else f"nothing is sent past {j.max_total_tokens:,}"
    progress.say(
        f"judge: {judged} answers to {j.model}, about {likely:,} tokens, if none were judged yet; {limit} (judge.max_total_tokens)"
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
