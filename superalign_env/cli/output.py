"""Output of all verbs: sentences, texts of others, tables, transcripts, bars, JSON.

Everything is printed here. `say` puts names into a sentence of ours, `shown` marks every line
of a text of others, `table` cuts cells to one line. On a `Screen` no text is a control
sequence, markup or an emoji code, whatever is printed on it.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import typer
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from superalign_env.grades import said_by_truth
from superalign_env.plain_text import (
    MARK,
    columns,
    cut,
    inline,
    is_size,
    marked,
    one_line,
    screen_width,
    visible,
)
from superalign_env.rewards import paid, totals
from superalign_env.rounding import decimal
from superalign_env.types import Episode, Utterance, role_of

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

_ENDLESS = 1000
"""Width of files and pipes, which have no edge to fold at."""

_FOLDED_FROM = 12
"""Columns that a marked line takes at least; in fewer a text is cut to one line."""

_NAME = 24
"""Columns of names that are not folded as long as other cells of a table can be."""

_LONGEST_MESSAGE = 20_000
"""Characters of an error's message; the others are counted."""


class Screen(Console):
    """A console on which no text is a control sequence, markup or an emoji code."""

    def __init__(self, **options: Any) -> None:
        # Rich reads both sizes as numbers, whatever they are.
        sane = {
            name: value
            for name, value in os.environ.items()
            if name not in ("COLUMNS", "LINES") or is_size(value)
        }
        super().__init__(
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
            _environ=sane,
            **options,
        )
        if not self.is_terminal and "width" not in options:
            self.width = screen_width() or _ENDLESS

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Yield what is printed; Rich's own control segments stay as they are."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)


console = Screen()
errors = Screen(stderr=True)


class Marked(NamedTuple):
    """Text of others, marked on every line and folded at the edge of the screen."""

    text: str
    style: str
    head: str
    head_style: str

    def __rich_console__(self, screen: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width if options.max_width < _ENDLESS else None
        if width is not None and width < _FOLDED_FROM:
            heading = inline(f"{self.head}{self.text}")
            yield Text(heading, self.style, no_wrap=True, overflow="ellipsis")
            return
        first, *others = marked(self.text, head=self.head, width=width)
        size = len(inline(self.head))
        head, begin = first[:size], first[size:]
        yield Text.assemble((head, self.head_style), (begin, self.style))
        for line in others:
            yield Text(line, self.style)

    def __rich_measure__(self, screen: Console, options: ConsoleOptions) -> Measurement:
        lines = marked(self.text, head=self.head)
        widest = max(map(columns, lines))
        word = max(columns(word) for line in lines for word in [*line.split(), ""])
        least = min(word + len(MARK), widest)
        return Measurement(least, widest).with_maximum(options.max_width)


def shown(
    text: object, style: str = "", *, head: str = "", head_style: str = "dim"
) -> Marked:
    """Return text of others to be printed.

    Args:
        text: as it was said.
        style: of the text.
        head: stands before its first line: who speaks.
        head_style: of the head.
    """
    return Marked(str(text), style, head, head_style)


def say(words: str, *parts: object, style: str = "", to: Console | None = None) -> None:
    """Print a sentence of ours with parts of others in its ``{}``.

    A part is shown within its line. A line with spaces that are not ours is folded and
    marked where the screen ends; others are left whole, so that commands can be copied.

    Args:
        words: written here, never by others.
        *parts: names, paths, numbers, reasons.
        style: of the line.
        to: another console than the standard output's.
    """
    inlined = [inline(str(part)) for part in parts]
    lines = words.format(*inlined).split("\n")
    folds = any(map(str.isspace, "".join(inlined)))
    for line in lines:
        (to or console).print(shown(line, style) if folds else Text(line, style))


def say_line(text: str) -> None:
    """Print a line that is all of others: what a run, a log or a logger tells."""
    say("{}", text)


def say_error(message: str) -> None:
    """Print the message of an error to the standard error, marked on every line."""
    errors.print(shown(cut(message, _LONGEST_MESSAGE), head="superalign: ", head_style=""))


def say_traceback() -> None:
    """Print the traceback of an error that nobody expected, harmless whatever it quotes."""
    print(visible(traceback.format_exc()), file=sys.stderr, end="")


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str = "",
    numbers: bool = False,
) -> Table:
    """Return a plain table; cells are cut to one line.

    What stands at the begin of a line is marked where it is folded: no name can look like
    another row.

    Args:
        heads: of the columns.
        rows: of cells.
        title: above it.
        numbers: whether all columns but the first hold numbers.
    """
    grid = Table(
        title=Text(one_line(title)) if title else None,
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    begins: list[RenderableType] = []
    cells: list[list[RenderableType]] = []
    widest = 0
    for first, *others in rows:
        name = one_line(str(first))
        widest = max(widest, columns(name))
        begins.append(first if isinstance(first, (Text, Marked)) else shown(name))
        cells.append([_cell(cell) for cell in others])
    for place, head in enumerate(heads):
        side: Literal["left", "right"] = "right" if numbers and place else "left"
        fixed = not place and widest <= _NAME
        grid.add_column(Text(one_line(head)), overflow="fold", justify=side, no_wrap=fixed)
    for begin, row in zip(begins, cells, strict=True):
        grid.add_row(begin, *row)
    return grid


def print_tables(*tables: Table) -> None:
    """Print tables with an empty line between them."""
    for place, grid in enumerate(tables):
        if place:
            console.print()
        console.print(grid)


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

    parts = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(
        *parts, console=errors, transient=True, disable=not errors.is_terminal
    ) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_json(value: Any) -> None:
    """Print plain values, structs and named tuples as one ASCII line of JSON."""
    print(json.dumps(msgspec.to_builtins(_named(value)), allow_nan=True))


def _cell(value: object) -> RenderableType:
    return value if isinstance(value, (Text, Marked)) else Text(one_line(str(value)))


def _named(value: Any) -> Any:
    """Turn named tuples into objects; msgspec would write arrays."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: _named(item) for key, item in value._asdict().items()}
    if isinstance(value, (list, tuple)):
        return [_named(item) for item in value]
    if isinstance(value, dict):
        return {key: _named(item) for key, item in value.items()}
    return value


_COLOURS = {"attacker": "red", "learner": "green", "critic": "yellow", "human": "magenta"}


def print_transcript(episode: Episode) -> None:
    """Print an episode: texts, rewards and grades; every line says whose it is."""
    place = f"{episode.id} {episode.scenario} {episode.arm}"
    console.print(shown(place.rstrip(), "bold"))
    console.print(shown(episode.task.prompt, head="  task "))
    for utterance in episode.utterances:
        for line in _turn(episode, utterance):
            console.print(line)
    pay = totals(episode.rewards, episode.weights)
    earned = ", ".join(f"{seat} {decimal(value, sign=True)}" for seat, value in pay.items())
    end = f"{episode.ending.kind} {episode.ending.reason} {earned}"
    console.print(shown(end, "dim", head="  "))


def _turn(episode: Episode, utterance: Utterance) -> Iterator[Marked]:
    colour = _COLOURS.get(role_of(utterance.seat), "cyan")
    yield shown(
        utterance.text, head=f"{utterance.turn:4} {utterance.seat} ", head_style=colour
    )
    if utterance.reply is not None and utterance.reply.thought:
        yield shown(utterance.reply.thought, "dim", head="       thought ")
    if utterance.repair:
        yield shown(utterance.repair, "dim", head="       repaired: it ")
    for event in episode.events:
        if event.turn == utterance.turn and event.kind != "text.repaired":
            details = ", ".join(f"{name} {value}" for name, value in event.evidence.items())
            yield shown(f"{event.kind} {details}", "dim", head="       event ")
    for reward in episode.rewards:
        if reward.turn == utterance.turn:
            value = paid(reward, episode.weights)
            note = "recorded only" if value is None else f"pays {decimal(value, sign=True)}"
            worth = decimal(reward.value, sign=True)
            part = f"{reward.seat} {reward.part} {worth}, {note}"
            yield shown(part, "dim" if value is None else colour, head="       ")
    truth = said_by_truth(
        [grade for grade in episode.grades if grade.turn == utterance.turn]
    )
    if truth:
        yield shown(truth, "blue", head="       truth: ", head_style="blue")
