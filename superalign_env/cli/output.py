"""Output of all verbs: escaped text, tables, progress bars, JSON."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from superalign_env.plain_text import one_line, terminal

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

console = Console(highlight=False, soft_wrap=True)
if not console.is_terminal:
    console.width = 1000  # files and pipes have no edge to wrap at


def shown(text: str, style: str = "") -> Text:
    """Return hostile text as harmless text: no control sequence, no markup."""
    return Text(terminal(text), style=style)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a plain table; cells are cut to one line."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*[cell if isinstance(cell, Text) else _cell(cell) for cell in row])
    return made


@contextmanager
def reading_bar() -> Iterator[Callable[[int, int], object]]:
    """Yield a progress callback of (bytes read, bytes in all); a bar on terminals alone."""
    from rich.progress import (  # noqa: PLC0415 - paid by verbs that read large files
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    screen = Console(stderr=True)
    with Progress(
        *columns, console=screen, transient=True, disable=not screen.is_terminal
    ) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_json(value: Any) -> None:
    """Print plain values, structs and named tuples as one ASCII line of JSON."""
    typer.echo(json.dumps(msgspec.to_builtins(_named(value))))


def _cell(value: object) -> Text:
    return Text(one_line(str(value)))


def _named(value: Any) -> Any:
    """Turn named tuples into objects; msgspec would write arrays."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: _named(item) for key, item in value._asdict().items()}
    if isinstance(value, (list, tuple)):
        return [_named(item) for item in value]
    if isinstance(value, dict):
        return {key: _named(item) for key, item in value.items()}
    return value
