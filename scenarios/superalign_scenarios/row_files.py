"""Rows of CSV, JSON, JSON-lines and parquet files, with errors that name file and row."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.plain_text import one_line

Row = dict[str, Any]

SHIPPED = Path(__file__).parent / "prompt_sets"
"""Prompt sets that come with the package, by name."""


def locate(path: str | Path) -> Path:
    """Return the path of a file, or of the shipped set of this name.

    Raises:
        InvalidOption: there is neither.
    """
    file = Path(path)
    shipped = SHIPPED / f"{path}.jsonl"
    if not file.exists() and len(file.parts) == 1 and not file.suffix and shipped.is_file():
        return shipped
    if not file.is_file():
        names = ", ".join(sorted(set_.stem for set_ in SHIPPED.glob("*.jsonl")))
        raise InvalidOption(
            f"no file {path}; give the path of a {_FORMATS} file, or the name of a shipped "
            f"set: {names}"
        )
    return file


def read_rows(path: Path) -> list[Row]:
    """Return all rows of a file; its suffix, in any case, names the format.

    Raises:
        InvalidOption: another format, no rows, or a row that cannot be read.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise InvalidOption(
            f"{path.name} is no {_FORMATS} file; convert it to one JSON object a line (.jsonl)"
        )
    try:
        rows = read(path)
    except OSError as error:
        raise InvalidOption(f"{path.name} cannot be read: {error}") from error
    if not rows:
        raise InvalidOption(f"{path.name} holds no rows")
    return rows


def check_columns(path: Path, rows: Sequence[Row], names: Mapping[str, str]) -> None:
    """Check that every row has the mapped columns.

    Args:
        path: for the message.
        rows: of the file.
        names: column role → column name.

    Raises:
        UnknownId: with the nearest column.
        InvalidOption: some rows have the column and others do not.
    """
    in_file = {column for row in rows for column in row}
    for name in names.values():
        if name not in in_file:
            raise UnknownId(f"column of {path.name}", name, in_file)
    for number, row in enumerate(rows, start=1):
        for name in names.values():
            if row.get(name) is None:
                raise InvalidOption(f"{path.name}, row {number}: column {name!r} is empty")


def _read_lines(path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if text.strip():
            where = f"{path.name}, line {number}"
            rows.append(_object(where, _parsed(where, text)))
    return rows


def _read_array(path: Path) -> list[Row]:
    rows = _parsed(path.name, path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    if not isinstance(rows, list):
        raise InvalidOption(
            f"{path.name}: a .json file holds one array of objects, not one "
            f"{type(rows).__name__}; call a file with one object a line .jsonl"
        )
    return [_object(f"{path.name}, row {n}", row) for n, row in enumerate(rows, start=1)]


def _read_table(path: Path) -> list[Row]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidOption(
            f"{path.name} is no UTF-8 ({error}); save it as UTF-8"
        ) from error
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [cells for cells in reader if cells]
    except csv.Error as error:
        raise InvalidOption(f"{path.name}, line {reader.line_num}: {error}") from error
    if not lines:
        return []
    header = lines[0]
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise InvalidOption(
            f"{path.name}: two columns are called {twice!r}; give each its own name"
        )
    for number, cells in enumerate(lines[1:], start=1):
        if len(cells) != len(header):
            raise InvalidOption(
                f"{path.name}, row {number}: {len(cells)} cells under {len(header)} column "
                "names; put cells that hold commas in quotes"
            )
    return [dict(zip(header, cells, strict=True)) for cells in lines[1:]]


def _read_parquet(path: Path) -> list[Row]:
    try:
        from pyarrow import ArrowException, parquet  # type: ignore[import-untyped]  # noqa: PLC0415 - heavy, optional, untyped
    except ImportError as error:
        raise InvalidOption(
            "parquet files need pyarrow: pip install 'superalign-env[rows]'"
        ) from error
    try:
        rows: list[Row] = parquet.read_table(path).to_pylist()
    except (ArrowException, OSError) as error:
        raise InvalidOption(f"{path.name} is no readable parquet file: {error}") from error
    return rows


_READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".jsonl": _read_lines,
    ".ndjson": _read_lines,
    ".json": _read_array,
    ".csv": _read_table,
    ".tsv": _read_table,
    ".parquet": _read_parquet,
}
"""Suffix → reader of the format."""

_FORMATS = f"{', '.join(list(_READERS)[:-1])} or .parquet"


def _parsed(where: str, text: bytes) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError as error:
        raise InvalidOption(
            f"{where}: the JSON is nested too deeply; flatten it"
        ) from error
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        shown = one_line(text.decode(errors="replace"))
        raise InvalidOption(f"{where}: no JSON ({error}); got {shown}") from error


def _object(where: str, row: Any) -> Row:
    if not isinstance(row, dict):
        raise InvalidOption(f"{where}: a row is a JSON object, not {type(row).__name__}")
    return row


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number; leave the row out or write null")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{digits} is too large for a number")
    return value
