"""Rows of questions in the forms that the benchmarks publish, and in a user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from medsafe_train.config import UserError
from medsafe_train.sources.read import Row, text_of

LETTERS = "ABCDEFGHIJ"
DECISIONS = ("yes", "no", "maybe")


@dataclass(frozen=True)
class Question:
    """One question; `answer` is the position of the right option."""

    id: str
    question: str
    options: tuple[str, ...]
    answer: int
    context: str | None = None
    reference: str | None = None
    """a text that answers it well, where the benchmark has one (PubMedQA's long answer)"""

    @property
    def asks(self) -> tuple[str, str]:
        """Its context and text whatever their case and whitespace: questions that agree in them are one, whatever the options."""
        return _folded(self.context or ""), _folded(self.question)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def detect(row: Row) -> str:
    """The reader for a file whose form nobody named, by the columns of its first row."""
    columns = set(row.values)
    if "sent1" in columns or {"options", "answer_idx"} <= columns:
        return "medqa"
    if {"CONTEXTS", "final_decision"} <= columns:
        return "pubmedqa"
    if "cop" in columns or "problem_text" in columns:
        return "medmcqa"
    if {"subject", "choices"} <= columns:
        return "mmlu"
    return "own"


def _own(row: Row, number: int) -> Question:
    # Ours and a user's: options as a list, by letter or in columns A, B, ...; without any, a context and yes, no or maybe.
    values = row.values
    id = text_of(row, "id") if "id" in values else f"{number:04d}"
    column = next((name for name in ("context", "abstract") if name in values), None)
    context = text_of(row, column) if column else None
    reference = text_of(row, "reference") if values.get("reference") else None
    question = text_of(row, "question")
    given = _given_options(row)
    if given is None and context is None:
        raise UserError(
            f"{row.place}: no column 'options' (a list), no columns A, B, ... and no 'abstract'; there are: "
            f"{', '.join(map(str, values))}: add the options"
        )
    if given is None:
        return _decision(row, id, context or "", question, "answer", reference)
    options = _options(row, given)
    if len({option.strip() for option in options}) < len(options):
        raise UserError(f"{row.place}: two options are equal in {list(options)!r}: word them apart or remove one")
    return Question(id, question, options, _letter_or_text(row, options), context, reference)


def _given_options(row: Row) -> Any:
    values = row.values
    for name in ("options", "choices"):
        if name in values:
            given = values[name]
            return _by_letter(row, given, name) if isinstance(given, dict) else given
    columns = {letter: values[letter] for letter in LETTERS if letter in values}
    # Questions of one table may have different numbers of options: the last cells are then empty.
    filled = {letter: text for letter, text in columns.items() if not isinstance(text, str) or text.strip()}
    return _by_letter(row, filled, "columns") if columns else None


def _by_letter(row: Row, given: dict[Any, Any], what: str) -> list[Any]:
    """Options in the order of their letters, which an answer names; an option that is None is none."""
    texts = [(str(letter).strip().upper(), text) for letter, text in given.items() if text is not None]
    texts.sort(key=lambda pair: pair[0])
    found, wanted = [letter for letter, _ in texts], list(LETTERS[: len(texts)])
    if found != wanted:
        raise UserError(
            f"{row.place}: {what} {', '.join(found)} where {', '.join(wanted)} are needed: letter the options without a gap"
        )
    return [text for _, text in texts]


def _letter_or_text(row: Row, options: tuple[str, ...]) -> int:
    answer = text_of(row, "answer")
    letters = LETTERS[: len(options)]
    meant = {letters.index(answer)} if len(answer) == 1 and answer in letters else set()
    if options.count(answer) == 1:
        meant.add(options.index(answer))
    if len(meant) > 1:  # vitamins, blood groups, types of hepatitis
        raise UserError(
            f"{row.place}: answer {answer!r} is one option's letter and another one's text: give the letter, and word the options "
            f"otherwise, for example 'type {answer}'"
        )
    if meant:
        return meant.pop()
    raise UserError(
        f"{row.place}: answer {answer!r} is not one of {', '.join(letters)} and no option's text: correct it"
    )


def _medqa(row: Row, number: int) -> Question:
    # The official JSONL (question, options by letter, answer_idx), or the Hub's rows: options as a list of key and value,
    # or sent1, ending0-3, label.
    if "sent1" in row.values:
        options = _options(row, [row.values.get(f"ending{n}") for n in range(4)])
        return Question(row_id(row) or str(number), _text(row, "sent1"), options, _index(row, "label", options))
    given = _keyed(row)
    options, letter = _options(row, list(given.values())), text_of(row, "answer_idx")
    if letter not in given:
        raise UserError(f"{row.place}: answer_idx {letter!r} is not one of {', '.join(given)}: correct it")
    return Question(f"{number:04d}", _text(row, "question"), options, list(given).index(letter))


def _keyed(row: Row) -> dict[str, Any]:
    given = row.values.get("options")
    pairs = list(given.items()) if isinstance(given, dict) else None
    if isinstance(given, list) and all(isinstance(one, dict) and {"key", "value"} <= set(one) for one in given):
        pairs = [(one["key"], one["value"]) for one in given]
    if pairs is None or not all(isinstance(key, str) for key, _ in pairs) or len(dict(pairs)) < len(pairs):
        raise UserError(f"{row.place}: options is {given!r}: MedQA has an object of letters and texts there")
    return dict(pairs)


def _pubmedqa(row: Row, number: int) -> Question:
    # The official JSON (QUESTION, CONTEXTS, LONG_ANSWER, final_decision) or the Hub's rows (question, context.contexts).
    values = row.values
    context = values.get("context")
    contexts = values.get("CONTEXTS") or (context.get("contexts") if isinstance(context, dict) else None)
    if not isinstance(contexts, list) or not contexts or not all(isinstance(part, str) for part in contexts):
        raise UserError(f"{row.place}: no CONTEXTS: this is not PubMedQA's file of expert-labelled questions")
    question = _text(row, "QUESTION" if "QUESTION" in values else "question")
    reference = values.get("LONG_ANSWER") or values.get("long_answer")
    return _decision(row, row_id(row) or f"{number:04d}", "\n".join(contexts), question, "final_decision", reference)


def _medmcqa(row: Row, number: int) -> Question:
    # The Hub's rows (question, opa-opd, cop from 0), or problem_text, choices and a list with one letter.
    values = row.values
    if "problem_text" in values:
        options, answer = _options(row, values.get("choices")), values.get("answer")
        letters = LETTERS[: len(options)].lower()
        if not isinstance(answer, list) or len(answer) != 1 or answer[0] not in list(letters):
            raise UserError(f"{row.place}: answer {answer!r} is not a list of one of {', '.join(letters)}: correct it")
        return Question(text_of(row, "problem_id"), _text(row, "problem_text"), options, letters.index(answer[0]))
    options = _options(row, [values.get(f"op{letter}") for letter in "abcd"])
    answer = _index(row, "cop", options, "; the authors' own files count from 1, the Hub's from 0")
    return Question(row_id(row) or str(number), _text(row, "question"), options, answer)


def _mmlu(row: Row, number: int) -> Question:
    options = _options(row, row.values.get("choices"))
    return Question(f"{number:04d}", text_of(row, "question"), options, _index(row, "answer", options))


def _decision(row: Row, id: str, context: str, question: str, column: str, reference: str | None) -> Question:
    answer = text_of(row, column)
    if answer not in DECISIONS:
        raise UserError(f"{row.place}: {column} {answer!r} is none of yes, no, maybe: correct it")
    return Question(id, question, DECISIONS, DECISIONS.index(answer), context, reference)


def row_id(row: Row) -> str | None:
    """The id that a row brings, also as PubMedQA's Hub rows call it; None without one."""
    return next((str(row.values[key]) for key in ("id", "pubid") if row.values.get(key) not in (None, "")), None)


def _text(row: Row, column: str) -> str:
    # With the spaces around it, as the reference harness asks it.
    text_of(row, column)
    return row.values[column]


def _options(row: Row, options: Any) -> tuple[str, ...]:
    if not isinstance(options, list | tuple) or len(options) < 2:
        raise UserError(f"{row.place}: options {options!r}: give at least two")
    if len(options) > len(LETTERS):
        raise UserError(f"{row.place}: {len(options)} options: give at most {len(LETTERS)}")
    if any(not isinstance(option, str) or not option.strip() for option in options):
        raise UserError(f"{row.place}: an option is empty: give each a text")
    return tuple(options)


def _index(row: Row, column: str, options: tuple[str, ...], hint: str = "") -> int:
    places = [str(n) for n in range(len(options))]
    given = str(row.values.get(column))
    if given not in places:
        raise UserError(f"{row.place}: {column} {given!r} is not one of {', '.join(places)}{hint}: correct it")
    return int(given)


READERS: dict[str, Callable[[Row, int], Question]] = {
    "own": _own,
    "medqa": _medqa,
    "pubmedqa": _pubmedqa,
    "medmcqa": _medmcqa,
    "mmlu": _mmlu,
}
