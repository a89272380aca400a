"""Tables that fit a terminal: one that is too wide continues below with its other columns."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from superalign_env.plain_text import one_line

WIDTH = 80
"""Columns of a terminal that nobody widened."""

_PADDING = 2
_LONGEST_NAME = 30
"""Characters of a row's name before it is folded."""


def fitting(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int = WIDTH,
    caption: str = "",
) -> list[Table | Text]:
    """Return a table, in several parts where it is wider than the terminal.

    The first column names the rows and is repeated. No number is cut: headings are folded
    at their words.

    Args:
        head: what the columns are called.
        rows: as many cells as there are columns.
        width: of the terminal, in characters.
        caption: below the last part.
    """
    columns = [[head[n], *(row[n] for row in rows)] for n in range(len(head))]
    parts: list[Table | Text] = [_table(part, width) for part in _parts(columns, width)]
    return [*parts, Text(caption)] if caption else parts


def _parts(columns: list[list[str]], width: int) -> Iterator[list[list[str]]]:
    names, *others = columns
    part, used = [names], min(_width(names), _LONGEST_NAME) + _PADDING
    first = used
    for column in others:
        taken = _width(column) + _PADDING
        if len(part) > 1 and used + taken > width:
            yield part
            part, used = [names], first
        part, used = [*part, column], used + taken
    yield part


def _width(column: list[str]) -> int:
    """Return the room that a column needs: headings may be folded, cells may not."""
    head, *cells = column
    return max(map(len, [*head.split(), *cells, " "]))


def _table(columns: list[list[str]], width: int) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    limit = width - _PADDING
    for place, (head, *_) in enumerate(columns):
        needed = min(_width(columns[place]), limit if place else _LONGEST_NAME)
        table.add_column(
            Text(one_line(head)),
            justify="right" if place else "left",
            overflow="fold",
            min_width=needed,
            max_width=needed if place else None,
        )
    for row in zip(*(cells for _, *cells in columns), strict=True):
        table.add_row(*[Text(one_line(cell)) for cell in row])
    return table
