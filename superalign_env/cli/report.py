"""A page about a run: ``superalign report``."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from superalign_env.cli.output import console, shown
from superalign_env.errors import InvalidOption

Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN", help="Folder of the run; further ones to compare."),
]
Compare = Annotated[
    bool,
    typer.Option("--compare", help="Show several side by side; implied by several."),
]
Out = Annotated[
    Path | None,
    typer.Option(help="The file; report.html or comparison.html in the run's folder."),
]
Open = Annotated[bool, typer.Option("--open", help="Open it in the browser.")]


def report(
    runs: Runs, compare: Compare = False, out: Out = None, open_it: Open = False
) -> None:
    """Write one self-contained page about a run, or about several side by side.

    The page is made from the record alone and needs no network: superalign report runs/mine
    """
    try:
        # Drawing takes a second to import, and is an extra.
        from superalign_env.report import write_report  # noqa: PLC0415 - see above
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise InvalidOption(
            "reports need: pip install 'superalign-env[figures]'"
        ) from error

    first, *others = runs
    if compare and not others:
        raise InvalidOption(f"{first} has nothing to be compared with: name further runs")
    page = write_report(first, compare=others, out=out)
    console.print(shown(str(page)))
    if open_it:
        webbrowser.open(page.resolve().as_uri())
