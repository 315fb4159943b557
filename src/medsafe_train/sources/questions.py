"""Medical questions with options, as the benchmarks publish them."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from omegaconf import OmegaConf

from medsafe_train import artifacts
from medsafe_train.config import UserError, shipped
from medsafe_train.sources.read import Location, Row, read, text_of, unique_ids


@dataclass(frozen=True)
class Question:
    """One question; `answer` is the position of the right option."""

    id: str
    question: str
    options: tuple[str, ...]
    answer: int
    context: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """What conf/benchmark/NAME.yaml says, and the questions it leads to."""

    name: str
    style: str
    """how prompts.py shapes a question"""
    normalise: bool
    """whether an option's log-likelihood is divided by its length in bytes (lm-evaluation-harness: acc_norm)"""
    questions: list[Question]
    sha256: dict[str, str]
    licence: str
    citation: str

    def fingerprint(self) -> str:
        """Of what is asked and how."""
        items = [[q.id, q.question, q.options, q.answer, q.context] for q in self.questions]
        return artifacts.fingerprint([self.style, self.normalise, items])

    def describe(self) -> dict[str, Any]:
        """For records: name, number, origin."""
        return {
            "name": self.name,
            "n": len(self.questions),
            "sha256": self.sha256,
            "licence": self.licence,
            "citation": self.citation,
        }


@dataclass(frozen=True)
class Published:
    """What conf/benchmark/NAME.yaml says of a benchmark."""

    reader: str
    style: str
    where: Location
    ids: Location | None = None
    """where the official test ids are, when the file holds more than those"""
    normalise: bool = False
    count: int | None = None
    licence: str = "not stated"
    citation: str = "not stated"
    notes: dict[str, Any] = field(default_factory=dict)


def names() -> list[str]:
    """The benchmarks known by name."""
    return sorted(file.stem for file in (shipped("conf") / "benchmark").glob("*.yaml"))


def published(name: str) -> Published:
    """What is known of a benchmark; UserError with the nearest names when nothing is."""
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise UserError(f"unknown benchmark {name!r}: {hint}there are: {', '.join(names())}")
    content: Any = OmegaConf.to_container(OmegaConf.load(shipped("conf") / "benchmark" / f"{name}.yaml"))
    where = Location(**content.pop("where"))
    ids = content.pop("ids", None)
    return Published(where=where, ids=Location(**ids) if ids else None, **content)


def load(name: str, limit: int | None = None, data_folder: str | None = None) -> Benchmark:
    """A benchmark's test questions, the first `limit` of them."""
    known = published(name)
    table = read(known.where, data_folder)
    rows = table.rows
    digests = dict(table.sha256)
    if known.ids:
        official = read(known.ids, data_folder)
        digests |= official.sha256
        wanted = {str(row.values["id"]) for row in official.rows}
        rows = [row for row in rows if _id_of(row) in wanted]
    pairs = [(READERS[known.reader](row, number), row.place) for number, row in enumerate(rows)]
    kept = [(question, place) for question, place in pairs if question is not None]
    unique_ids(((question.id, place) for question, place in kept), name)
    if known.count not in (None, len(kept)):
        raise UserError(f"{name}: {len(kept)} questions where {known.count} are published: check data_folder")
    questions = [question for question, _ in kept][:limit]
    return Benchmark(name, known.style, known.normalise, questions, digests, known.licence, known.citation)


def _id_of(row: Row) -> str:
    return str(row.values.get("id") or row.values.get("pubid"))


def _shipped(row: Row, number: int) -> Question | None:
    # data/medical_questions.jsonl: the worked examples in part `shots` are not asked.
    if row.values.get("part") != "test":
        return None
    letters = "ABCD"
    options = _options(row, row.values.get("options"))
    return Question(text_of(row, "id"), text_of(row, "question"), options, _position(row, letters, len(options)))


def _shipped_abstract(row: Row, number: int) -> Question | None:
    if row.values.get("part") != "test":
        return None
    return _with_abstract(row, text_of(row, "id"), text_of(row, "abstract"), text_of(row, "question"), "answer")


def _medqa(row: Row, number: int) -> Question:
    # The official JSONL (question, options by letter, answer_idx) or the Hub's rows (sent1, ending0-3, label).
    if "sent1" in row.values:
        options = _options(row, [row.values.get(f"ending{n}") for n in range(4)])
        label = str(row.values.get("label"))
        if label not in ("0", "1", "2", "3"):
            raise UserError(f"{row.place}: label {label!r} is not one of 0, 1, 2, 3: correct it")
        return Question(str(row.values.get("id", number)), text_of(row, "sent1"), options, int(label))
    by_letter = row.values.get("options")
    if not isinstance(by_letter, dict):
        raise UserError(f"{row.place}: options is {by_letter!r}: MedQA has an object of letters and texts there")
    options = _options(row, list(by_letter.values()))
    return Question(
        f"{number:04d}",
        text_of(row, "question"),
        options,
        _position(row, "".join(by_letter), len(options), "answer_idx"),
    )


def _pubmedqa(row: Row, number: int) -> Question:
    # The official JSON (QUESTION, CONTEXTS, final_decision) or the Hub's rows (question, context.contexts).
    values = row.values
    context = values.get("context")
    contexts = values.get("CONTEXTS") or (context.get("contexts") if isinstance(context, dict) else None)
    if not contexts or not isinstance(contexts, list):
        raise UserError(f"{row.place}: no CONTEXTS: this is not PubMedQA's file of expert-labelled questions")
    question = text_of(row, "QUESTION" if "QUESTION" in values else "question")
    return _with_abstract(row, _id_of(row), "\n".join(contexts), question, "final_decision")


def _with_abstract(row: Row, id: str, abstract: str, question: str, column: str) -> Question:
    options = ("yes", "no", "maybe")
    answer = text_of(row, column)
    if answer not in options:
        raise UserError(f"{row.place}: {column} {answer!r} is none of yes, no, maybe: correct it")
    return Question(id, question, options, options.index(answer), abstract)


def _options(row: Row, options: Any) -> tuple[str, ...]:
    if not isinstance(options, list) or len(options) < 2:
        raise UserError(f"{row.place}: options {options!r}: give at least two")
    if any(not isinstance(option, str) or not option.strip() for option in options):
        raise UserError(f"{row.place}: an option is empty: give each a text")
    return tuple(option.strip() for option in options)


def _position(row: Row, letters: str, number: int, column: str = "answer") -> int:
    letter = text_of(row, column)
    if len(letter) != 1 or letter not in letters[:number]:
        raise UserError(f"{row.place}: {column} {letter!r} is not one of {', '.join(letters[:number])}: correct it")
    return letters.index(letter)


READERS: dict[str, Callable[[Row, int], Question | None]] = {
    "shipped": _shipped,
    "shipped_abstract": _shipped_abstract,
    "medqa": _medqa,
    "pubmedqa": _pubmedqa,
}
