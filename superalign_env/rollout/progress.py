"""Progress of long work, for people and for programs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

OnProgress = Callable[[int, int], object]
"""Called with (episodes done, episodes in all)."""


@contextmanager
def reporting(progress: bool | OnProgress | None, total: int) -> Iterator[OnProgress]:
    """Yield what is to be called with (done, total) after every episode.

    Args:
        progress: a function; or True for a bar in the terminal; or nothing.
        total: episodes in all.
    """
    if callable(progress):
        yield progress
    elif progress:
        # Rich takes a tenth of a second to import: paid by those who want a bar.
        from rich.progress import Progress  # noqa: PLC0415

        with Progress() as bar:
            task = bar.add_task("episodes", total=total)
            yield lambda done, _total: bar.update(task, completed=done)
    else:
        yield lambda _done, _total: None
