"""Whether what is asked, and its answer, fit into a model's context."""

from __future__ import annotations

from typing import Any

from medsafe_train import question_prompts
from medsafe_train.attacks.rounds import Round
from medsafe_train.config import Config, JudgeSettings, MedicalQASettings, UserError
from medsafe_train.judges import JUDGES
from medsafe_train.models.reference import ModelReference
from medsafe_train.preflight.data import Data
from medsafe_train.sources.prompt_sets import PromptSet
from medsafe_train.sources.questions import Benchmark
from medsafe_train.stages import medical_writing
from medsafe_train.teachers import author
from medsafe_train.teachers import local as local_teacher
from medsafe_train.teachers.ask import Ask

# What an answer is begun with where it is made to begin with assent, at most, in any tokenizer.
ASSENT_TOKENS = 24
# So many of the longest in characters are counted in tokens.
LIKELY = 20


def check(config: Config, model: ModelReference, data: Data) -> None:
    """UserError when a prompt and its answer do not fit into the model's context; loads the tokenizer, which has checks too."""
    from medsafe_train.models.load import context_length, load_tokenizer

    tokenizer = load_tokenizer(model)
    context = context_length(model)
    if context is None:
        return
    training, e = data.training, config.evaluation
    own = config.demonstrations.max_new_tokens
    groups = [
        (training.harmful, own if config.demonstrations.recovery else 0),
        (training.benign + training.replay, own + ASSENT_TOKENS),
    ]
    for group, extra in groups:
        for prompt_set in group:
            for prompt in prompt_set.prompts:
                _fits(f"{prompt_set.name} {prompt.id}", len(model.prompt(tokenizer, prompt.prompt)) + extra, context)
    for asked in data.rounds:
        for prompt in asked.prompts.prompts:
            turn = asked.turn(prompt, model.system_prompt)
            _fits(f"{asked.name} {prompt.id}", len(turn.ids(tokenizer)) + e.max_new_tokens, context)
    for benchmark in data.benchmarks:
        _questions_fit(config.medical_qa, model, tokenizer, benchmark, context)


def _questions_fit(
    settings: MedicalQASettings, model: ModelReference, tokenizer: Any, benchmark: Benchmark, context: int
) -> None:
    # Without worked examples, which are left out where they do not fit: a model with learned positions cannot read on at all,
    # and any other one reads what it was never trained on.
    chat = question_prompts.as_chat(settings, model.prompt_format)
    for question in benchmark.questions:
        bare = question_prompts.ask(tokenizer, benchmark, question, [], chat, model.system_prompt)
        if (length := len(bare.context) + max(map(len, bare.options))) > context:
            raise UserError(
                f"{benchmark.name} {question.id}: the question takes {length} tokens, the model's context has {context}: "
                "leave the benchmark out for this model"
            )
        if not settings.generation:
            continue
        bare = question_prompts.ask_to_write(tokenizer, benchmark, question, [], chat, model.system_prompt)
        if (length := len(bare.context) + medical_writing.MAX_NEW_TOKENS) > context:
            raise UserError(
                f"{benchmark.name} {question.id}: the question and a written answer take {length} tokens, the model's context has "
                f"{context}: set medical_qa.generation=false, or leave the benchmark out for this model"
            )


def _fits(what: str, length: int, context: int) -> None:
    if length > context:
        raise UserError(
            f"{what}: prompt and answer take {length} tokens, the model's context has {context}: shorten the prompt or lower "
            "max_new_tokens"
        )


def check_judges(config: Config, judging: dict[str, ModelReference], rounds: list[Round]) -> None:
    """UserError when a request of these rounds and the longest answer do not fit into the context of a judge that is loaded here.

    The answer is taken to have as many of the judge's tokens as of the model's own. `judging` holds the judges' models by name.
    """
    prompts = [prompt for asked in rounds if asked.prompts.kind == "harmful" for prompt in asked.prompts.prompts]
    records = [{"id": prompt.id, "prompt": prompt.prompt, "response": ""} for prompt in prompts]
    check_judged(config.judge, judging, records, config.evaluation.max_new_tokens)


def check_judged(
    settings: JudgeSettings, judging: dict[str, ModelReference], records: list[dict[str, Any]], more: int = 0
) -> None:
    """UserError when an answer to be judged, and `more` tokens, do not fit into the context of a judge that is loaded here.

    Loads the judges' tokenizers, which have checks too. Records have `id, prompt, response`.
    """
    from medsafe_train.models.load import context_length, load_tokenizer

    for name, model in judging.items():
        asks, tokenizer, context = JUDGES[name].asks, load_tokenizer(model), context_length(model)
        if context is None or not records:
            continue
        assert asks is not None and asks.longest is not None
        # The longest in tokens is among the longest in characters.
        likely = sorted(records, key=lambda r: -len(r["prompt"]) - len(r["response"]))[:LIKELY]
        length, longest = max((asks.longest(tokenizer, r, settings, model) + more, r["id"]) for r in likely)
        if length > context:
            raise UserError(
                f"{longest}: with what the judge {name} ({model.path}) is told about it and its reply it takes {length} "
                f"tokens, the judge's context has {context}: choose a judge with a longer context or leave out what is longest"
            )


def check_teacher(config: Config, teacher: ModelReference | None, harmful: list[PromptSet]) -> None:
    """UserError when what a local teacher is told does not fit into its context; loads its tokenizer, which has checks too."""
    if teacher is None:
        return
    from medsafe_train.models.load import context_length, load_tokenizer

    tokenizer, context, t = load_tokenizer(teacher), context_length(teacher), config.demonstrations.teacher
    if context is None:
        return
    for prompt_set in harmful:
        for prompt in prompt_set.prompts:
            ids = local_teacher.input_ids(tokenizer, Ask(prompt.id, prompt), t, config.seed)
            if (length := len(ids) + t.max_new_tokens) > context:
                raise UserError(
                    f"{prompt_set.name} {prompt.id}: with what the teacher {teacher.path} is told about it and its answer "
                    f"it takes {length} tokens, the context has {context}: shorten it, choose another "
                    "demonstrations.teacher.model or lower demonstrations.teacher.max_new_tokens"
                )


def check_writer(config: Config, teacher: ModelReference | None) -> None:
    """UserError when a list of requests does not fit into a local teacher's context, beside what it is told."""
    from medsafe_train.models.load import context_length, load_tokenizer

    d = config.demonstrations
    asks = author.request_asks(d.generate, config.seed)
    context = context_length(teacher) if teacher and asks else None
    if teacher is None or context is None:
        return
    tokenizer = load_tokenizer(teacher)
    longest = max(len(local_teacher.input_ids(tokenizer, ask, d.teacher, config.seed)) for ask in asks)
    if (length := longest + d.generate.max_new_tokens) > context:
        raise UserError(
            f"demonstrations.generate.max_new_tokens={d.generate.max_new_tokens}: with what the teacher {teacher.path} is told "
            f"it takes {length} tokens, the context has {context}: lower it and demonstrations.generate.batch"
        )
