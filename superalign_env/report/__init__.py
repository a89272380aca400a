"""One self-contained page about a run, or about several side by side, from the record alone.

Needs ``superalign-env[figures]``.
"""

from collections.abc import Sequence
from pathlib import Path

from superalign_env.errors import RecordError
from superalign_env.report.comparison import compared
from superalign_env.report.document import Document, read
from superalign_env.report.generations import chain
from superalign_env.report.html import PageSection, page
from superalign_env.report.incidents import events, hazards
from superalign_env.report.names import Names
from superalign_env.report.overview import heading
from superalign_env.report.relations import league, lineage, sources
from superalign_env.report.table_sections import finals, numbers, settings, stages
from superalign_env.report.trends import others, progress, training
from superalign_env.store import Run, sealed_page
from superalign_env.store.run_lock import in_words

__all__ = ["COMPARISON", "REPORT", "write_report"]

REPORT = "report.html"
"""Name of a run's page, in its folder."""

COMPARISON = "comparison.html"

_BEGIN = b"<!doctype html>"


def write_report(
    run: Path | str, *, compare: Sequence[Path | str] = (), out: Path | str | None = None
) -> Path:
    """Write the page of a run, or of several side by side, from their records alone.

    Args:
        run: its folder; it may be at work meanwhile.
        compare: folders of further runs, for a page that compares them all.
        out: the file; `report.html` (or `comparison.html`) in the run's folder when absent.

    Returns:
        The file.

    Raises:
        RecordError: there is no run in one of the folders, or the page cannot be written.
    """
    target = (
        Path(out) if out is not None else Path(run) / (COMPARISON if compare else REPORT)
    )
    with Run.open(run, readonly=True) as record:
        if out is not None:
            _require_page(target)  # before the seconds that a page takes
        documents = [read(record, str(run)), *map(_read, compare)]
        html_text = sealed_page(
            compared(documents) if compare else report(documents[0]), record
        )
    with in_words(target, "write", advice="name another file with --out"):
        partial = target.with_name(f"{target.name}.partial")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(html_text, encoding="utf-8", newline="\n")
        partial.replace(target)
    return target


def _require_page(target: Path) -> None:
    """Refuse to write over what is no page, such as a record or somebody's notes.

    Raises:
        RecordError: it is none.
    """
    with in_words(target, "write", advice="name another file with --out"):
        begin = b""
        if target.is_file():
            with target.open("rb") as file:
                begin = file.read(len(_BEGIN))
    special = target.exists() and not target.is_file()  # a folder, or a device
    if special or (begin and begin.lower() != _BEGIN):
        raise RecordError(
            f"{target} is no page, and would be lost; name another file with --out"
        )


def report(document: Document) -> str:
    """Return the page of one run; parts about which the record says nothing are left out."""
    called = Names(document.agents)
    parts: list[PageSection | None] = [
        chain(document),
        finals(document),
        *progress(document, called),
        training(document),
        league(document, called),
        sources(document, called),
        hazards(document, called),
        lineage(document, called),
        events(document, called),
        others(document, called),
        stages(document),
        settings(document),
        numbers(document, called),
    ]
    return page(
        document.info.id, heading(document), [part for part in parts if part is not None]
    )


def _read(folder: Path | str) -> Document:
    with Run.open(folder, readonly=True) as run:
        return read(run, str(folder))
