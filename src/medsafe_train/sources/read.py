"""Where published files are: local, downloaded or on the Hub."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from medsafe_train import artifacts
from medsafe_train.config import UserError, shipped
from medsafe_train.sources.files import Row, present, read_file


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
            raise UserError(
                f"no file {missing[0]}: data_folder={data_folder} lacks it: put it there, or correct data_folder"
            )
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
    present(table.rows, ", ".join(table.sha256))
    return table


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
