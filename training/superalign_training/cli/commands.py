"""``superalign train`` and ``superalign fork``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="scenario, lineup.ROLE, train.ROLE, rounds, generations, order, levels, gap, "
        "seed, run_dir, budget, device, log_to, preset, options.KEY, and sections: signals, "
        "competence, discover, conform, gate, alarms, capability, judge, attack, supervise, "
        "hardening, people, calibrate, league, evaluate.",
    ),
]
Dry = Annotated[
    bool,
    typer.Option("--dry-run", help="Say what would be done and what it costs, and stop."),
]
Measure = Annotated[
    bool,
    typer.Option("--measure", help="With --dry-run: time the models here, for seconds."),
]


def train(
    settings: Words = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in run_dir.")
    ] = False,
    multirun: Annotated[
        bool, typer.Option("--multirun", "-m", help="Sweep: seed=0,1,2.")
    ] = False,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Runs of a sweep at once.")
    ] = 1,
    dry: Dry = False,
    measure: Measure = False,
) -> None:
    """Train whoever learns in a scenario, in rounds or in a chain of generations.

    superalign train scenario=red-team rounds=3 run_dir=runs/mine

    superalign train lineup.critic=keyword train.learner=ppo run_dir=runs/other
    """
    with _interruptible():
        from superalign_training.cli.terminal import launch, launch_sweep  # noqa: PLC0415 (Hydra)

        if not multirun:
            launch(settings or [], resume=resume, dry=dry, measure=measure)
            return
        results = launch_sweep(
            settings or [], jobs=jobs, resume=resume, dry=dry, measure=measure
        )
    if any(result.code for result in results):
        raise typer.Exit(1)


def fork(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run to go on from.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="run_dir=NEW [KEY=VALUE]...", help="What differs from now on."
        ),
    ] = None,
    at: Annotated[
        int | None,
        typer.Option(help="After which generation; rounds where there are none."),
    ] = None,
    stage: Annotated[str | None, typer.Option(help="After which stage, by id.")] = None,
    only: Annotated[
        bool, typer.Option("--only", help="Make the folder, and do not go on yet.")
    ] = False,
    dry: Dry = False,
    measure: Measure = False,
) -> None:
    """Go on from a run in a new folder, with other settings from there.

    superalign fork runs/mine run_dir=runs/direct --at 2 gap=direct
    """
    with _interruptible():
        from superalign_training.cli.terminal import launch_fork  # noqa: PLC0415 (Hydra)

        launch_fork(
            run,
            settings or [],
            at=at,
            stage=stage,
            dry=dry,
            measure=measure,
            go_on=not only,
        )


@contextmanager
def _interruptible() -> Iterator[None]:
    """End with 130 after Ctrl-C, and with 75 ("try again") after SIGTERM."""
    try:
        from superalign_training.selfplay.stopping import (  # noqa: PLC0415 - late like the rest
            sigterm_as_interrupt,
        )

        with sigterm_as_interrupt():
            yield
    except KeyboardInterrupt as stop:
        from superalign_env.cli.output import errors, say  # noqa: PLC0415 - as above
        from superalign_training.selfplay.stopping import exit_code  # noqa: PLC0415 - as above

        say("\n{}", str(stop) or "stopped before anything was written", to=errors)
        raise typer.Exit(exit_code(stop)) from stop
