"""``superalign ls``: runs in a folder, episodes of a run, or what is registered."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from superalign_env import registry
from superalign_env.cli.output import AsJson, console, print_json, say, table
from superalign_env.errors import InvalidOption, RecordError, UnknownId, hint, nearest
from superalign_env.grades import faults
from superalign_env.rewards import totals
from superalign_env.rounding import number
from superalign_env.types import SPLITS, Ending, Split

if TYPE_CHECKING:
    from superalign_env.store import Run, Where
    from superalign_env.types import Episode

_DEPTH = 3
"""Sweeps put runs into folders of folders."""


def ls(  # noqa: PLR0913, PLR0917 - one option for each thing that episodes are chosen by
    folder: Annotated[Path, typer.Argument(help="A run, or a folder with runs.")] = Path(),
    kind: Annotated[
        str | None, typer.Option(help="List registered things instead: agent, scenario …")
    ] = None,
    stage: Annotated[str | None, typer.Option(help="Episodes of this stage.")] = None,
    round: Annotated[int | None, typer.Option(help="Of this round.")] = None,
    split: Annotated[str | None, typer.Option(help=f"Of: {', '.join(SPLITS)}.")] = None,
    arm: Annotated[str | None, typer.Option(help="Of this arm: attack, vanilla …")] = None,
    task: Annotated[str | None, typer.Option(help="On this task.")] = None,
    seat: Annotated[
        str | None, typer.Option(help="With this seat; also print what it said last.")
    ] = None,
    ending: Annotated[
        str | None, typer.Option(help="Ended so: terminated, truncated, failed.")
    ] = None,
    fault: Annotated[
        bool | None,
        typer.Option(
            "--fault/--no-fault", help="In which the truth finds a fault, or none."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many episodes at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List runs, the episodes of a run, or what is registered.

    Attacks that succeeded: superalign ls RUN --arm attack --fault --seat attacker_0
    """
    filters: Where = {
        "stage": stage,
        "round": round,
        "split": _split(split),
        "arm": arm,
        "task": task,
        "seat": seat,
        "ending": _one_of("ending", ending, get_args(Ending.__annotations__["kind"])),
        "fault": fault,
    }
    chosen = any(value is not None for value in filters.values())
    if kind is not None:
        if chosen:
            raise InvalidOption(
                "--kind lists what is registered; leave out what chooses episodes"
            )
        _registered(kind, as_json)
    elif (folder / "run.db").is_file():
        _episodes(folder, filters, limit, as_json)
    elif not folder.is_dir():
        raise InvalidOption(_no_folder(folder))
    elif chosen:
        raise InvalidOption(f"{folder} is no run; episodes are chosen from one run")
    else:
        _runs(folder, as_json)


def _no_folder(folder: Path) -> str:
    """Return the message about a missing folder, with the nearest name beside it."""
    beside = [path.name for path in folder.parent.glob("*") if path.is_dir()]
    near = [str(folder.parent / name) for name in nearest(folder.name, beside)]
    return f"there is no folder {folder}{f'; {hint(near, ())}' if near else ''}"


def _split(name: str | None) -> Split | None:
    return cast("Split | None", _one_of("split", name, SPLITS))


def _one_of(kind: str, name: str | None, names: tuple[str, ...]) -> str | None:
    """Return a name that is known, or None.

    Raises:
        UnknownId: it is not; the message names the nearest.
    """
    if name is not None and name not in names:
        raise UnknownId(kind, name, names)
    return name


def _registered(kind: str, as_json: bool) -> None:
    kinds = registry.kinds()
    if kind not in kinds:
        suggestion = hint(nearest(kind, kinds), kinds, listed="kinds")
        raise InvalidOption(f"nothing is registered as {kind!r}; {suggestion}")
    entries = registry.entries(kind).values()
    if as_json:
        print_json(list(entries))
    else:
        rows = [(entry.id, entry.line, entry.package) for entry in entries]
        console.print(table([kind, "what it is", "from"], rows))


def _runs(folder: Path, as_json: bool) -> None:
    depths = ["/".join("*" * depth) for depth in range(1, _DEPTH + 1)]
    folders = sorted(
        run.parent for depth in depths for run in folder.glob(f"{depth}/run.db")
    )
    rows = [_summary(run, folder) for run in folders]
    if as_json:
        print_json(rows)
    elif rows:
        console.print(table(list(rows[0]), [list(row.values()) for row in rows]))
    else:
        say("no runs in {}; `superalign train` and `superalign play` make them", folder)


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


def _episodes(folder: Path, filters: "Where", limit: int, as_json: bool) -> None:
    from superalign_env.store import Run  # noqa: PLC0415 - only verbs that need it pay for it

    with Run.open(folder, readonly=True) as run:
        rows = _chosen(run, filters, limit)
        fitting, total = run.count(**filters), run.count()
    if as_json:
        print_json(rows)
        return
    if rows:
        console.print(table(list(rows[0]), [list(row.values()) for row in rows]))
    of = f"{fitting} that fit, of {total}" if fitting < total else f"{total}"
    quoted = shlex.quote(str(folder))
    say("{} of {} episodes; `superalign show {} EPISODE` reads one", len(rows), of, quoted)


def _chosen(run: "Run", filters: "Where", limit: int) -> list[dict[str, Any]]:
    """Return a row for each of the first episodes that fit.

    Raises:
        RecordError: there is no such stage.
    """
    if filters["stage"] is not None:
        run.stages.get(filters["stage"])
    names = run.episode_ids(**filters)[:limit]
    return [_line(episode, filters["seat"]) for episode in run.named(names)]


def _line(episode: "Episode", seat: str | None) -> dict[str, Any]:
    pay = totals(episode.rewards, episode.weights)
    row = {
        "episode": episode.id,
        "scenario": episode.scenario,
        "task": episode.task.id,
        "split": episode.task.split,
        "arm": episode.arm,
        "turns": len(episode.utterances),
        "ending": episode.ending.kind,
        "fault": ", ".join(faults(episode.grades)),
        "pay": ", ".join(f"{seat} {number(value)}" for seat, value in pay.items()),
    }
    if seat is not None:
        texts = [
            utterance.text for utterance in episode.utterances if utterance.seat == seat
        ]
        row["said"] = texts[-1] if texts else ""
    return row
