"""``superalign ls``: runs in a folder, episodes of a run, or what is registered."""

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from superalign_env import registry
from superalign_env.cli.output import AsJson, console, number, print_json, table
from superalign_env.errors import InvalidOption, RecordError
from superalign_env.rewards import totals

if TYPE_CHECKING:
    from superalign_env.types import Episode

_KINDS = (
    "agent", "scenario", "source", "renderer", "detector", "evaluation", "algorithm",
    "gap", "selection", "experiment", "command",
)  # fmt: skip

_DEPTH = 3
"""Sweeps put runs into folders of folders."""


def ls(
    folder: Annotated[Path, typer.Argument(help="A run, or a folder with runs.")] = Path(),
    kind: Annotated[
        str | None, typer.Option(help="List registered things instead: agent, scenario …")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many episodes at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List runs, the episodes of a run, or what is registered."""
    if kind is not None:
        _registered(kind, as_json)
    elif (folder / "run.db").is_file():
        _episodes(folder, limit, as_json)
    elif folder.is_dir():
        _runs(folder, as_json)
    else:
        raise InvalidOption(f"there is no folder {folder}")


def _registered(kind: str, as_json: bool) -> None:
    if kind not in _KINDS:
        raise InvalidOption(
            f"nothing is registered as {kind!r}; kinds: {', '.join(_KINDS)}"
        )
    entries = registry.entries(kind).values()
    if as_json:
        print_json(list(entries))
    else:
        rows = [(entry.id, entry.line, entry.package) for entry in entries]
        console.print(table([kind, "what it is", "from"], rows))


def _runs(folder: Path, as_json: bool) -> None:
    depths = ["/".join("*" * depth) for depth in range(1, _DEPTH + 1)]
    found = sorted(run.parent for depth in depths for run in folder.glob(f"{depth}/run.db"))
    rows = [_summary(run, folder) for run in found]
    if as_json:
        print_json(rows)
    elif rows:
        console.print(table(list(rows[0]), [list(row.values()) for row in rows]))
    else:
        console.print(
            f"no runs in {folder}; `superalign train` and `superalign play` make them"
        )


def _summary(path: Path, folder: Path) -> dict[str, Any]:
    from superalign_env.store import Run  # noqa: PLC0415 - only verbs that need it pay for it

    name = str(path.relative_to(folder))
    try:
        with Run.open(path, readonly=True) as run:
            info = run.info
            return {
                "run": name,
                "kind": info.kind,
                "status": info.status,
                "seed": info.seed,
                "stages": len(run.stages.all(status="done")),
                "episodes": run.count(),
                "revision": info.revision[:10],
            }
    except RecordError as error:
        row = dict.fromkeys(
            ("run", "kind", "status", "seed", "stages", "episodes", "revision"), ""
        )
        return row | {"run": name, "status": type(error).__name__}


def _episodes(folder: Path, limit: int, as_json: bool) -> None:
    from superalign_env.store import Run  # noqa: PLC0415 - only verbs that need it pay for it

    with Run.open(folder, readonly=True) as run:
        total = run.count()
        rows = [_line(episode) for episode in islice(run.episodes(), limit)]
    if as_json:
        print_json(rows)
        return
    if rows:
        console.print(table(list(rows[0]), [list(row.values()) for row in rows]))
    console.print(
        f"{len(rows)} of {total} episodes; `superalign show {folder} EPISODE` reads one"
    )


def _line(episode: "Episode") -> dict[str, Any]:
    pay = totals(episode.rewards, episode.weights)
    return {
        "episode": episode.id,
        "scenario": episode.scenario,
        "task": episode.task.id,
        "split": episode.task.split,
        "arm": episode.arm,
        "turns": len(episode.utterances),
        "ending": episode.ending.kind,
        "pay": ", ".join(f"{seat} {number(value)}" for seat, value in pay.items()),
    }
