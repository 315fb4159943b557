"""Rows of questions in the forms that the benchmarks publish, and in a user's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from medsafe_train.config import UserError
from medsafe_train.sources.files import Row, text_of

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
        """Its context and text, whatever their case and whitespace."""
        return _folded(self.context or ""), _folded(self.question)

    @property
    def identities(self) -> tuple[Hashable, Hashable]:
        """What it asks with its right answer, and with all its options: questions that share either are one.

        MedQA's forms of four and of five options share the first, what was given two answers the second; "Which of the following
        is true?" of two subjects neither.
        """
        options = [" ".join(option.split()) for option in self.options]
        return (self.asks, options[self.answer]), (self.asks, frozenset(options))


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def prepared(rows: list[Row]) -> list[Row]:
    """The rows of one file with column names in lower case, lists in CSV cells read, and `cop` counted from 0."""
    return _cop_from_zero([replace(row, values=_read_cells(row, _lower(row))) for row in rows])


def _lower(row: Row) -> dict[str, Any]:
    values = {str(name).strip().lower(): value for name, value in row.values.items()}
    if len(values) < len(row.values):
        raise UserError(f"{row.place}: columns {', '.join(row.values)}: two differ in case alone: rename one")
    return values


def _read_cells(row: Row, values: dict[str, Any]) -> dict[str, Any]:
    for name in ("options", "choices", "contexts"):
        cell = values.get(name)
        if isinstance(cell, str):
            try:
                values[name] = json.loads(cell)
            except (ValueError, RecursionError):
                raise UserError(
                    f'{row.place}: {name} {cell[:60]!r} is not a list in JSON: write ["...", "..."], or use columns A, B, ...'
                ) from None
    return values


def _cop_from_zero(rows: list[Row]) -> list[Row]:
    # The authors' own files count from 1, the Hub's from 0: only a file that has a 0 or a 4 somewhere tells.
    given = {str(row.values["cop"]) for row in rows if "cop" in row.values}
    if not given or "0" in given or given - set("1234"):
        return rows
    if "4" not in given:
        raise UserError(
            f"{rows[0].place}: cop is nowhere 0 or 4, so it may count from 0 (as the Hub's rows) or from 1 (as the authors' own "
            "files): count from 0 and call it answer_index"
        )
    return [replace(row, values={**row.values, "cop": int(row.values["cop"]) - 1}) for row in rows]


# Columns of a user's own file that MedQA's and MMLU's do not have.
OWN = frozenset(["id", "context", "abstract", "reference"])


def detect(row: Row) -> str:
    """The reader for a file whose form nobody named, by its first row, as `prepared` gives it."""
    columns, options, context = set(row.values), row.values.get("options"), row.values.get("context")
    keyed = isinstance(options, dict) or (isinstance(options, list) and all(isinstance(one, dict) for one in options))
    # What an official reader does not read would be lost: such a file is its author's own, whatever else it looks like.
    own = bool(columns & OWN)
    if "sent1" in columns or ("answer_idx" in columns and keyed and not own):
        return "medqa"
    if "final_decision" in columns and ("contexts" in columns or isinstance(context, dict)):
        return "pubmedqa"
    if columns & {"cop", "opa", "problem_text"}:
        return "medmcqa"
    if {"subject", "choices"} <= columns and not own and str(row.values.get("answer")).isdigit():
        return "mmlu"
    return "own"


def _own(row: Row, number: int) -> Question:
    # Ours and a user's: options as a list, by letter or in columns A, B, ...; without any, a context and yes, no or maybe.
    values = row.values
    id = f"{number:04d}"
    if "id" in values:
        id = str(values["id"]) if isinstance(values["id"], int) else text_of(row, "id")
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
    return Question(id, question, options, _right(row, options), context, reference)


def _given_options(row: Row) -> Any:
    values = row.values
    for name in ("options", "choices"):
        if name in values:
            given = values[name]
            return _by_letter(row, given, name) if isinstance(given, dict) else given
    columns = {letter: values[letter.lower()] for letter in LETTERS if letter.lower() in values}
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


def _right(row: Row, options: tuple[str, ...], letters: Sequence[str] = LETTERS) -> int:
    """The position of the right option, on which all columns that name it have to agree."""
    lettered = dict(zip(letters, options, strict=False))
    given = [column for column in ANSWERS if row.values.get(column) not in (None, "")]
    said = {column: ANSWERS[column](row, column, lettered) for column in given or ["answer"]}
    agreed = set.intersection(*said.values())
    if len(agreed) == 1:
        return agreed.pop()
    if agreed:  # vitamins, blood groups, types of hepatitis
        answer = text_of(row, "answer")
        raise UserError(
            f"{row.place}: answer {answer!r} is one option's letter and another one's text: give the letter, and word the options "
            f"otherwise, for example 'type {answer}'"
        )
    each = [
        f"{column} {row.values[column]!r} is option {' or '.join(letters[n] for n in sorted(places))}"
        for column, places in said.items()
    ]
    raise UserError(f"{row.place}: {', but '.join(each)}: correct one of them")


def _named(row: Row, column: str, lettered: dict[str, str]) -> set[int]:
    # The options that a letter or a text may mean.
    answer, letters = row.values.get(column), list(lettered)
    texts = [option.split() for option in lettered.values()]
    found = {n for n, text in enumerate(texts) if isinstance(answer, str) and text == answer.split()}
    if not found and (isinstance(answer, int | float) or str(answer).strip().isdigit()):
        raise UserError(
            f"{row.place}: {column} is {answer!r}, which may count from 0 or from 1: give the letter or the text, or count from 0 "
            "and call it answer_index"
        )
    said = text_of(row, column)
    if said.upper() in letters:
        found.add(letters.index(said.upper()))
    if not found:
        raise UserError(
            f"{row.place}: {column} {said!r} is not one of {', '.join(letters)} and no option's text: correct it"
        )
    return found


def _lettered(row: Row, column: str, lettered: dict[str, str]) -> set[int]:
    letter, letters = text_of(row, column).upper(), list(lettered)
    if letter not in letters:
        raise UserError(f"{row.place}: {column} {letter!r} is not one of {', '.join(letters)}: correct it")
    return {letters.index(letter)}


def _counted(row: Row, column: str, lettered: dict[str, str]) -> set[int]:
    return {_index(row, column, tuple(lettered.values()), "; it counts from 0")}


# The columns that may name the right option.
ANSWERS: dict[str, Callable[[Row, str, dict[str, str]], set[int]]] = {
    "answer": _named,
    "answer_idx": _lettered,
    "answer_index": _counted,
}


def _medqa(row: Row, number: int) -> Question:
    # The official JSONL (question, options by letter, answer_idx), or the Hub's rows: options as a list of key and value,
    # or sent1, ending0-3, label.
    if "sent1" in row.values:
        options = _options(row, [row.values.get(f"ending{n}") for n in range(4)])
        return Question(row_id(row) or str(number), _text(row, "sent1"), options, _index(row, "label", options))
    given = _keyed(row)
    options = _options(row, list(given.values()))
    text_of(row, "answer_idx")
    return Question(f"{number:04d}", _text(row, "question"), options, _right(row, options, list(given)))


def _keyed(row: Row) -> dict[str, Any]:
    given = row.values.get("options")
    pairs = list(given.items()) if isinstance(given, dict) else None
    if isinstance(given, list) and all(isinstance(one, dict) and {"key", "value"} <= set(one) for one in given):
        pairs = [(one["key"], one["value"]) for one in given]
    if pairs is None or len({str(key).strip().upper() for key, _ in pairs if isinstance(key, str)}) < len(pairs):
        raise UserError(f"{row.place}: options is {given!r}: MedQA has an object of letters and texts there")
    return {key.strip().upper(): value for key, value in pairs}


def _pubmedqa(row: Row, number: int) -> Question:
    # The official JSON (QUESTION, CONTEXTS, LONG_ANSWER, final_decision; lower case here) or the Hub's rows (context.contexts).
    values = row.values
    context = values.get("context")
    contexts = values.get("contexts") or (context.get("contexts") if isinstance(context, dict) else None)
    if not isinstance(contexts, list) or not contexts or not all(isinstance(part, str) for part in contexts):
        raise UserError(f"{row.place}: no CONTEXTS: this is not PubMedQA's file of expert-labelled questions")
    id, question = row_id(row) or f"{number:04d}", _text(row, "question")
    return _decision(row, id, "\n".join(contexts), question, "final_decision", values.get("long_answer"))


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
    hint = "; the authors' own files count from 1, the Hub's from 0"
    answer = _index(row, "cop", options, hint) if "cop" in values else _right(row, options)
    return Question(row_id(row) or str(number), _text(row, "question"), options, answer)


def _mmlu(row: Row, number: int) -> Question:
    # The Hub's rows (choices, the answer counted from 0), or the authors' CSV (columns A-D and a letter).
    options = _options(row, _given_options(row))
    answer = _right(row, options) if "a" in row.values else _index(row, "answer", options)
    return Question(f"{number:04d}", text_of(row, "question"), options, answer)


def _decision(row: Row, id: str, context: str, question: str, column: str, reference: str | None) -> Question:
    answer = text_of(row, column).lower()
    if answer not in DECISIONS:
        raise UserError(f"{row.place}: {column} {row.values[column]!r} is none of yes, no, maybe: correct it")
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
    odd = next((option for option in options if not isinstance(option, str | None)), None)
    if odd is not None:
        raise UserError(f"{row.place}: option {odd!r} is no text: put it in quotes")
    if any(not option or not option.strip() for option in options):
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
