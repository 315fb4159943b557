"""How medical questions are worded, with worked examples before them: as plain text, or as a conversation in the model's format."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from medsafe_train import artifacts, prompts
from medsafe_train.config import MedicalQASettings, QuestionPrompt, UserError
from medsafe_train.sources.question_rows import DECISIONS, LETTERS
from medsafe_train.sources.questions import Benchmark, Question

# Raise when a wording below changes.
VERSION = 2


@dataclass(frozen=True)
class Asked:
    """A question's tokens up to where its answer begins, and of each answer that is compared."""

    context: list[int]
    options: list[list[int]]
    shots: int
    """worked examples before it: fewer than wanted where all would not fit"""


def as_chat(settings: MedicalQASettings, prompt_format: str) -> bool:
    """Whether questions are asked as a conversation; `auto` does where the format is one that the model itself was tuned in.

    Alpaca's is chosen for base models, which have seen no format at all before they are fine-tuned.
    """
    if settings.prompt is QuestionPrompt.auto:
        return prompt_format in ("chat_template", "mistral", "llama3")
    return settings.prompt is QuestionPrompt.chat


def question_text(style: str, question: Question) -> tuple[str, list[str]]:
    """A question's text and the continuations to be compared, one an option.

    All but `cloze` are worded as in lm-evaluation-harness 0.4.13 (tasks medqa_4options, medmcqa, mmlu and pubmedqa, where the
    options are the answers); `cloze` compares the options' texts. A context, where one is, comes first.
    """
    continuations = [f" {option}" for option in question.options]
    if style == "pubmedqa":
        return f"Abstract: {question.context}\nQuestion: {question.question}\nAnswer:", continuations
    before = f"Abstract: {question.context}\n" if question.context else ""
    if style == "cloze":
        return f"{before}Question: {question.question}\nAnswer:", continuations
    options = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, question.options, strict=False))
    asked = {
        "medqa": f"Question: {question.question}\n",
        "medmcqa": f"Question: {question.question}\nChoices:\n",
        "mmlu": f"{question.question}\n",
    }[style]
    return f"{before}{asked}{options}\nAnswer:", [f" {letter}" for letter in LETTERS[: len(question.options)]]


def ask(
    tokenizer: Any,
    benchmark: Benchmark,
    question: Question,
    shots: list[Question],
    chat: bool,
    system_prompt: str | None = None,
    longest: int | None = None,
) -> Asked:
    """The tokens of a question after worked examples, and of each option.

    As plain text, tokens are split where the question's own end, and BOS is added where the tokenizer adds it by itself, as
    lm-evaluation-harness does. As a conversation (`chat`), each worked example is a turn. What would pass `longest` tokens
    loses worked examples, the first ones first, and never a part of the question. Raises UserError for options that the
    tokenizer cannot tell apart.
    """
    wording = [question_text(benchmark.style, one) for one in (*shots, question)]
    turns = [(text, options[shot.answer]) for shot, (text, options) in zip(shots, wording, strict=False)]

    def worded(shown: list[tuple[str, str]]) -> tuple[list[int], list[list[int]]]:
        if chat:
            return _as_conversation(tokenizer, benchmark.description, shown, *wording[-1], system_prompt)
        return _as_text(tokenizer, benchmark.description, shown, *wording[-1])

    asked = _fitting(worded, turns, longest)
    _check_apart(asked.options, f"{benchmark.name} {question.id}")
    return asked


def _check_apart(options: list[list[int]], what: str) -> None:
    if [] in options:
        wrong = f"option {options.index([]) + 1} has no tokens"
    elif len(options) > 1 and all(option == options[0] for option in options):
        wrong = f"all options have the same tokens ({options[0]})"
    else:
        return
    raise UserError(f"{what}: {wrong} with this model's tokenizer: leave the benchmark out, or correct the tokenizer")


def _fitting(
    worded: Callable[[list[tuple[str, str]]], tuple[list[int], list[list[int]]]],
    turns: list[tuple[str, str]],
    longest: int | None,
) -> Asked:
    """What is asked with as many of the worked examples as fit, the first ones left out first."""
    for first in range(len(turns) + 1):
        context, ends = worded(turns[first:])
        if longest is None or len(context) + max(map(len, ends), default=0) <= longest:
            break
    return Asked(context, ends, len(turns) - first)


# In our words; the protocol is that of Meditron's authors (Chen et al., arXiv 2311.16079; github.com/epfLLM/meditron): an
# instruction, worked examples drawn with a seed, greedy decoding, and the first word of what is written.
WRITE = "Below is a question from medicine. Choose the right answer and write nothing but {what}."
LEAD = "The answer is:"


def ask_to_write(
    tokenizer: Any,
    benchmark: Benchmark,
    question: Question,
    shots: list[Question],
    chat: bool,
    system_prompt: str | None = None,
    longest: int | None = None,
) -> Asked:
    """The same for an answer that the model writes: an instruction before, and `The answer is:` where it begins."""
    what = "yes, no or maybe" if _decided_in_words(question) else "its letter"
    turns = [
        (_to_write(shot), f" {LEAD} {_labels(shot)[shot.answer]}" if chat else f" {_labels(shot)[shot.answer]}")
        for shot in shots
    ]

    def worded(shown: list[tuple[str, str]]) -> tuple[list[int], list[list[int]]]:
        text = _to_write(question)
        if chat:
            return _as_conversation(tokenizer, WRITE.format(what=what), shown, text, [], system_prompt)
        led = [(f"{asked}\n{LEAD}", answer) for asked, answer in shown]
        return _as_text(tokenizer, WRITE.format(what=what), led, f"{text}\n{LEAD}", [])

    return _fitting(worded, turns, longest)


def _decided_in_words(question: Question) -> bool:
    return question.options == DECISIONS


def _to_write(question: Question) -> str:
    style = "cloze" if _decided_in_words(question) else "medqa"
    return question_text(style, question)[0].removesuffix("\nAnswer:")


def _labels(question: Question) -> tuple[str, ...]:
    return question.options if _decided_in_words(question) else tuple(LETTERS[: len(question.options)])


# "A heart attack", "I would": an article or a pronoun, no letter of an option.
_GOES_ON = re.compile(r" +(?!(?:is|because|as|since|seems|would be|was|and|or)\b)[a-z]")


def first_word(written: str, question: Question) -> int | None:
    """The option that the first word of a written answer names, after `The answer is` if that is repeated; None for none."""
    rest = re.sub(r"^\W*(the\s+)?((right|correct)\s+)?answer(\s+is)?\b", "", written, flags=re.IGNORECASE)
    word = re.match(r"\W*(\w+)", rest)
    names = [label.lower() for label in _labels(question)]
    if word is None or word[1].lower() not in names or (word[1] in "aAI" and _GOES_ON.match(rest, word.end())):
        return None
    return names.index(word[1].lower())


def seeds(settings: MedicalQASettings) -> list[int]:
    """The seeds by which worked examples are drawn; one, without meaning, where there are none."""
    return settings.shot_seeds if settings.shots else [0]


def shots_made_from(settings: MedicalQASettings, benchmark: Benchmark) -> dict[str, str]:
    """A hash of the worked examples of each seed, for what is made with them."""
    drawn = {seed: benchmark.shots(settings.shots, seed) for seed in seeds(settings)}
    return {
        str(seed): artifacts.fingerprint([[q.id, q.question, q.options, q.answer, q.context] for q in found])
        for seed, found in drawn.items()
    }


def _as_text(
    tokenizer: Any, description: str, turns: list[tuple[str, str]], text: str, options: list[str]
) -> tuple[list[int], list[list[int]]]:
    description = f"{description}\n\n" if description else ""
    text = description + "".join(f"{asked}{answer}\n\n" for asked, answer in turns) + text
    context = prompts.text_ids(tokenizer, text)
    return context, [prompts.text_ids(tokenizer, text + option)[len(context) :] for option in options]


def _as_conversation(
    tokenizer: Any,
    description: str,
    turns: list[tuple[str, str]],
    text: str,
    options: list[str],
    system: str | None,
) -> tuple[list[int], list[list[int]]]:
    # What describes the benchmark opens the first turn: some templates know no system.
    description = f"{description}\n\n" if description else ""
    asked = [*(asked for asked, _ in turns), text]
    asked[0] = description + asked[0]
    messages = [{"role": "system", "content": system}] if system else []
    for content, (_, answer) in zip(asked, turns, strict=False):
        messages += [{"role": "user", "content": content}, {"role": "assistant", "content": answer.strip()}]
    messages.append({"role": "user", "content": asked[-1]})
    return prompts.conversation_options(tokenizer, messages, [option.strip() for option in options])


def reference_ids(tokenizer: Any, benchmark: Benchmark, question: Question) -> tuple[list[int], list[int]]:
    """The tokens before a medical text that is known to be good, and of the text, always as plain text.

    The text is the question's long answer where it has one; else its abstract; else its right answer in words.
    """
    if question.reference:
        before, text = question_text("pubmedqa" if question.context else "cloze", question)[0], question.reference
    elif question.context:
        before, text = "Abstract:", question.context
    else:
        before, text = question_text("cloze", question)[0], question.options[question.answer]
    context = prompts.text_ids(tokenizer, before)
    ids = prompts.text_ids(tokenizer, f"{before} {text.strip()}")[len(context) :]
    if not ids:
        raise UserError(
            f"{benchmark.name} {question.id}: its text has no tokens with this model's tokenizer: leave the benchmark out"
        )
    return context, ids
