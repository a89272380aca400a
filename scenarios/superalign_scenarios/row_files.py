"""Rows of a file as plain dictionaries, with errors that name the line."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.plain_text import one_line

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """Return all rows of a JSON-lines or parquet file.

    Raises:
        InvalidOption: no such file, another format, no rows, or a line that is no JSON object.
    """
    if not path.is_file():
        raise InvalidOption(f"no file {path}; give the path of a .jsonl or .parquet file")
    if path.suffix in (".jsonl", ".ndjson"):
        rows = _read_lines(path)
    elif path.suffix == ".parquet":
        rows = _read_parquet(path)
    else:
        raise InvalidOption(
            f"{path.name} is neither .jsonl nor .parquet; convert it to one JSON object a line"
        )
    if not rows:
        raise InvalidOption(f"{path.name} holds no rows")
    return rows


def check_columns(path: Path, rows: Sequence[Row], names: Mapping[str, str]) -> None:
    """Check that every row has the mapped columns.

    Args:
        path: for the message.
        rows: of the file.
        names: what a column is for → what it is called in the file.

    Raises:
        UnknownId: with the nearest column.
        InvalidOption: some rows have the column and others do not.
    """
    known = {column for row in rows for column in row}
    for name in names.values():
        if name not in known:
            raise UnknownId(f"column of {path.name}", name, known)
    for number, row in enumerate(rows, start=1):
        for name in names.values():
            if row.get(name) is None:
                raise InvalidOption(f"{path.name}, row {number}: column {name!r} is empty")


def _read_lines(path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
            shown = one_line(line.decode(errors="replace"))
            raise InvalidOption(
                f"{path.name}, line {number}: no JSON ({error}); got {shown}"
            ) from error
        if not isinstance(row, dict):
            raise InvalidOption(
                f"{path.name}, line {number}: a row is a JSON object, not {type(row).__name__}"
            )
        rows.append(row)
    return rows


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
