"""Rows of one file: JSONL, JSON, CSV or Parquet, with the file and line of every complaint."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsafe_train.config import UserError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
# The columns of MMLU as its authors publish it: CSV files without a header.
MMLU = ["question", "A", "B", "C", "D", "answer"]
TABLES = (".csv", ".tsv")
SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")


@dataclass(frozen=True)
class Row:
    """One record of a file, with where it stood."""

    values: dict[str, Any]
    place: str
    """file:line, for complaints"""
    file: str
    """path or address of the file it came from"""


def read_file(path: Path, shown: str | None = None, columns: list[str] | None = None) -> list[Row]:
    """The rows of a JSONL, JSON, CSV or Parquet file; UserError with file and line on anything that is none.

    `columns` names those of a CSV file without a header; MMLU's is known by its first row. Commas, semicolons or tabs part the
    fields: what parts most rows into as many as are named, or else the header into most. JSON lines may be in a file called .json.
    """
    shown = shown or str(path)
    if not path.is_file():
        raise UserError(f"no file {shown}: correct the path")
    suffix = path.suffix.lower()
    if suffix in SPREADSHEETS:
        raise UserError(f"{shown}: a spreadsheet: save it as CSV in UTF-8, and name that file")
    if suffix == ".parquet":
        return _parquet(path, shown)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise UserError(f"{shown}:{line}: not UTF-8: save the file in UTF-8") from None
    except OSError as error:
        raise UserError(f"{shown}: cannot be read ({error.strerror}): check its permissions") from None
    if not text.strip():
        raise UserError(f"{shown}: the file is empty: give one with at least one row")
    readers: dict[str, Callable[[str, str], Iterator[tuple[int, dict[str, Any]]]]] = {
        ".jsonl": _jsonl,
        ".json": _json,
        ".csv": functools.partial(_csv, columns=columns),
        ".tsv": functools.partial(_csv, columns=columns),
    }
    if suffix not in readers:
        raise UserError(
            f"{shown}: {path.suffix or 'no suffix'} is not known: give a .jsonl, .json, .csv or .parquet file"
        )
    return [Row(values, f"{shown}:{line}", shown) for line, values in readers[suffix](text, shown)]


def present(rows: list[Row], shown: str) -> list[Row]:
    """The rows; UserError where there are none."""
    if not rows:
        raise UserError(f"{shown}: no row in it: give at least one")
    return rows


def _parquet(path: Path, shown: str) -> list[Row]:
    import pyarrow
    import pyarrow.parquet

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"{shown}: not Parquet ({str(error)[:100]}): check the file") from None
    return [Row(row, f"{shown}:row {number}", shown) for number, row in enumerate(rows, 1)]


def _jsonl(text: str, shown: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _object(_parse(line, f"{shown}:{number}"), f"{shown}:{number}")


def _json(text: str, shown: str) -> Iterator[tuple[int, dict[str, Any]]]:
    # A list of objects, also under the one key that holds such a list, or, as PubMedQA does it, one object with an id for each key;
    # or, as MedMCQA does it, an object a line.
    if _is_lines(text):
        yield from _jsonl(text, shown)
        return
    content = _parse(text, shown)
    if isinstance(content, dict):
        lists = [value for value in content.values() if _is_table(value)]
        content = lists[0] if len(lists) == 1 else [] if list(content.values()) == [[]] else content
    if isinstance(content, dict):
        content = [
            {"id": key, **value} if isinstance(value, dict) else {"id": key, "value": value}
            for key, value in content.items()
        ]
    for number, item in enumerate(content if isinstance(content, list) else [content], 1):
        yield number, _object(item, f"{shown}:item {number}")


def _is_lines(text: str) -> bool:
    first, _, rest = text.lstrip().partition("\n")
    try:
        return bool(rest.strip()) and isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _csv(text: str, shown: str, columns: list[str] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    columns = columns or _without_header(text)
    delimiter = _delimiter(text, columns)
    reader = csv.DictReader(io.StringIO(text), fieldnames=columns, strict=True, delimiter=delimiter)
    try:
        for row in reader:
            if None in row or None in row.values():
                what = (
                    f"not the {len(columns)} fields of {', '.join(columns)}"
                    if columns
                    else "not as many fields as the header has"
                )
                raise UserError(f"{shown}:{reader.line_num}: {what}: check {SEPARATORS[delimiter]} and quotes")
            yield reader.line_num, dict(row)
    except csv.Error as error:
        # The count stands behind the last whole row: the line where the one that cannot be read begins is the next.
        raise UserError(f"{shown}:{reader.line_num + 1}: not CSV ({error}): check the quotes") from None


def _without_header(text: str) -> list[str] | None:
    # MMLU's columns where the first row is a question with four options and the right one's letter.
    first = _first_row(text, ",")
    named = {cell.strip().lower() for cell in first} & {"question", "prompt", "id"}
    return MMLU if len(first) == len(MMLU) and first[-1].strip() in MMLU[1:-1] and not named else None


def _delimiter(text: str, columns: list[str] | None) -> str:
    # Where nothing parts the header, there is one column, and a comma is as good as any.
    if columns:
        return max(SEPARATORS, key=lambda mark: [len(row) for row in _first_rows(text, mark)].count(len(columns)))
    return max(SEPARATORS, key=lambda mark: len(_first_row(text, mark)))


def _first_row(text: str, mark: str) -> list[str]:
    return next(iter(_first_rows(text, mark)), [])


def _first_rows(text: str, mark: str) -> list[list[str]]:
    # As far as they can be read; the last may be cut.
    rows: list[list[str]] = []
    with contextlib.suppress(csv.Error):
        rows.extend(row for row in csv.reader(io.StringIO(text[:10_000]), delimiter=mark) if row)
    return rows


def _parse(text: str, place: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: not JSON ({error}): mend the line or remove it") from None
    if "\\ud" in text.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise UserError(
                f"{place}: half a character (a lone surrogate), which no file can hold: mend the text"
            ) from None
    return value


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(
            f"{place}: {type(value).__name__} where an object {{...}} is needed: mend the line or remove it"
        )
    return value


def text_of(row: Row, column: str) -> str:
    """A column's text, stripped; UserError when it is missing, empty or no text."""
    if column not in row.values:
        # A table without a header has its first row for names.
        mend = "rename one, or put the names into a first line" if row.file.lower().endswith(TABLES) else "rename one"
        raise UserError(f"{row.place}: no column {column!r}; there are: {', '.join(map(str, row.values))}: {mend}")
    value = row.values[column]
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{row.place}: {column} is {value!r}: give a text that is not empty")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise UserError(f"{row.place}: {column} holds half a character (a lone surrogate): mend the text")
    return value.strip()


def named_part(row: Row) -> str | None:
    """What a row's column `part` says, in lower case; None without one, or where it is empty."""
    given = row.values.get("part")
    return None if given is None else str(given).strip().lower() or None


def unique_ids(items: Iterable[tuple[str, str]], what: str) -> None:
    """UserError when two of (id, place) share an id."""
    seen: dict[str, str] = {}
    for id, place in items:
        if id in seen:
            raise UserError(f"{place}: {what} id {id!r} was used before, at {seen[id]}: give each its own")
        seen[id] = place
