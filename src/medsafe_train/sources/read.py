"""Rows of published files: local, downloaded or from the Hub, with the file and line of every complaint."""

from __future__ import annotations

import csv
import functools
import hashlib
import http.client
import io
import itertools
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medsafe_train import artifacts
from medsafe_train.config import UserError, shipped


@dataclass(frozen=True)
class Row:
    """One record of a file, with where it stood."""

    values: dict[str, Any]
    place: str
    """file:line, for complaints"""
    file: str
    """path or address of the file it came from"""


@dataclass(frozen=True)
class Location:
    """Where a published set is found: tried in this order, the first that is given or there."""

    data: str | None = None
    """A file in the project's own data/."""
    folder: str | None = None
    """Below `data_folder`; {a,b} and {1..9} stand for several files."""
    file: str | None = None
    """A file by its path."""
    url: str | None = None
    """Addresses, with the same braces."""
    hub: str | None = None
    """A data set's Hub id."""
    hub_name: str | None = None
    hub_split: str | None = None
    hub_files: str | None = None
    """Files in the data set's repository on the Hub, with the same braces, read as they are; unset: as `datasets` loads it."""
    revision: str | None = None
    columns: list[str] | None = None
    """Names for the columns of CSV files whose first row is no header."""


@dataclass
class Table:
    """Rows with the sha256 of what they came from."""

    rows: list[Row] = field(default_factory=list)
    sha256: dict[str, str] = field(default_factory=dict)


def locate(location: Location, data_folder: str | None) -> list[str]:
    """The files, addresses or Hub id that a location stands for here, without reading or fetching any.

    Raises UserError when a file that must be there is not.
    """
    if location.data:
        return [str(shipped("data") / location.data)]
    if location.file:
        return [location.file]
    if location.folder and data_folder:
        files = [str(Path(data_folder) / name) for name in expand(location.folder)]
        missing = [file for file in files if not Path(file).is_file()]
        if not missing:
            return files
        if len(missing) < len(files) or not (location.url or location.hub):
            raise UserError(f"no file {missing[0]}: data_folder={data_folder} lacks it; correct data_folder")
    if location.url:
        return expand(location.url)
    if not location.hub:
        raise UserError(f"{location.folder} lies below data_folder, which is unset: give data_folder=FOLDER")
    return [f"hub:{location.hub}"]


def read(location: Location, data_folder: str | None) -> Table:
    """All rows of a location, fetched if need be."""
    table = Table()
    for place in locate(location, data_folder):
        if place.startswith("hub:"):
            _read_hub(location, table)
            continue
        path = fetch(place) if place.startswith("https://") else Path(place)
        table.rows += read_file(path, place, location.columns)
        table.sha256[_short(place, location, data_folder)] = artifacts.sha256(path)
    return table


def read_file(path: Path, shown: str | None = None, columns: list[str] | None = None) -> list[Row]:
    """The rows of a JSONL, JSON, CSV or Parquet file; UserError with file and line on anything that is none.

    `columns` names those of a CSV file without a header.
    """
    shown = shown or str(path)
    if not path.is_file():
        raise UserError(f"no file {shown}: correct the path")
    suffix = path.suffix.lower()
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
    }
    if suffix not in readers:
        raise UserError(f"{shown}: {path.suffix or 'no suffix'} is not known: give a .jsonl, .json or .csv file")
    return [Row(values, f"{shown}:{line}", shown) for line, values in readers[suffix](text, shown)]


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
    # A list of objects, or, as PubMedQA does it, one object with an id for each key.
    content = _parse(text, shown)
    if isinstance(content, dict):
        content = [
            {"id": key, **value} if isinstance(value, dict) else {"id": key, "value": value}
            for key, value in content.items()
        ]
    for number, item in enumerate(content if isinstance(content, list) else [content], 1):
        yield number, _object(item, f"{shown}:item {number}")


def _csv(text: str, shown: str, columns: list[str] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text), fieldnames=columns, strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise UserError(
                    f"{shown}:{reader.line_num}: not as many fields as the header has: check commas and quotes"
                )
            yield reader.line_num, dict(row)
    except csv.Error as error:
        # The count stands behind the last whole row: the line where the one that cannot be read begins is the next.
        raise UserError(f"{shown}:{reader.line_num + 1}: not CSV ({error}): check the quotes") from None


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
        raise UserError(f"{row.place}: no column {column!r}; there are: {', '.join(map(str, row.values))}: rename one")
    value = row.values[column]
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{row.place}: {column} is {value!r}: give a text that is not empty")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise UserError(f"{row.place}: {column} holds half a character (a lone surrogate): mend the text")
    return value.strip()


def unique_ids(items: Iterable[tuple[str, str]], what: str) -> None:
    """UserError when two of (id, place) share an id."""
    seen: dict[str, str] = {}
    for id, place in items:
        if id in seen:
            raise UserError(f"{place}: {what} id {id!r} was used before, at {seen[id]}: give each its own")
        seen[id] = place


def expand(pattern: str) -> list[str]:
    """The strings that a pattern with {a,b} and {1..9} stands for, in order."""
    parts = re.split(r"(\{[^{}]*\})", pattern)
    return ["".join(choice) for choice in itertools.product(*map(_alternatives, parts))]


def _alternatives(part: str) -> list[str]:
    if not part.startswith("{"):
        return [part]
    if match := re.fullmatch(r"\{(\d+)\.\.(\d+)\}", part):
        return [str(n) for n in range(int(match[1]), int(match[2]) + 1)]
    return part[1:-1].split(",")


def cached(url: str) -> Path:
    """Where a downloaded file is kept; its name carries a hash of the address, which names a commit."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "medsafe_train" / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{url.rpartition('/')[2]}"


def fetch(url: str) -> Path:
    """A file from an address, downloaded once."""
    path = cached(url)
    if not path.is_file():
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                content = answer.read()
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            raise UserError(
                f"cannot download {url} ({reason}): check the network, or give data_folder=FOLDER"
            ) from None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            partial.write_bytes(content)
            partial.replace(path)
        except OSError as error:
            raise UserError(
                f"cannot keep {url} in {path.parent} ({error.strerror}): set XDG_CACHE_HOME to a folder"
            ) from None
    return path


def _read_hub(location: Location, table: Table) -> None:
    assert location.hub is not None
    try:
        if location.hub_files:
            _read_hub_files(location.hub, location, table)
            return
        import datasets

        rows = datasets.load_dataset(
            location.hub, location.hub_name, split=location.hub_split, revision=location.revision
        )
    except UserError:
        raise
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise UserError(
            f"cannot load {location.hub} from the Hub ({reason}): check the network and your access, "
            "or give data_folder=FOLDER"
        ) from None
    shown = f"hub:{location.hub}"
    table.rows += [Row(dict(row), f"{shown}:row {n}", shown) for n, row in enumerate(rows)]
    table.sha256[shown] = artifacts.fingerprint([row.values for row in table.rows])


def _read_hub_files(hub: str, location: Location, table: Table) -> None:
    from huggingface_hub import hf_hub_download

    for name in expand(location.hub_files or ""):
        path = Path(hf_hub_download(hub, name, repo_type="dataset", revision=location.revision))
        shown = f"hub:{hub}/{name}"
        table.rows += read_file(path, shown, location.columns)
        table.sha256[shown] = artifacts.sha256(path)


def _short(place: str, location: Location, data_folder: str | None) -> str:
    # The name of a file in records, the same for the same file everywhere: where it lies on this machine is nobody's business.
    if place.startswith("https://"):
        return place
    if location.data:
        return f"data/{location.data}"
    if location.file or not data_folder:
        return Path(place).name
    return Path(place).relative_to(data_folder).as_posix()
