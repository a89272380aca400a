"""``superalign train``."""

from typing import Annotated

import typer


def train(
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="scenario, rounds, seed, run_dir, learner, attacker, critic, budget, device, "
            "preset, and sections: judge, attack, learn, annotator, calibrate, evaluate.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in run_dir.")
    ] = False,
    multirun: Annotated[
        bool, typer.Option("--multirun", "-m", help="Sweep: seed=0,1,2.")
    ] = False,
) -> None:
    """Raise attacker, learner and critic in rounds of self-play.

    superalign train scenario=red-team rounds=3 run_dir=runs/mine
    """
    from superalign_training.launch import launch  # noqa: PLC0415 (imports Hydra)

    try:
        launch(settings or [], resume=resume, multirun=multirun)
    except KeyboardInterrupt as stop:
        typer.echo(f"\n{stop or 'stopped before anything was written'}", err=True)
        raise typer.Exit(130) from stop
