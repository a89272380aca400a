"""``superalign gap train`` and ``superalign gap rehearse``."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Train the learned gap controller, and try controllers on a model of a chain.",
    add_completion=False,
)


@app.command("train")
def train_command(
    out: Annotated[Path, typer.Option(help="File that gap.policy shall name.")],
    seed: Annotated[int, typer.Option(help="Of everything.", min=0)] = 0,
    steps: Annotated[
        int | None, typer.Option(help="Generations that are raised in all.", min=1)
    ] = None,
) -> None:
    """Train a policy on the surrogate with PPO; about half a minute on one core."""
    from superalign_training.gap import terminal  # noqa: PLC0415 (imports torch)

    terminal.train_with_progress(out, seed=seed, steps=steps)
    typer.echo(out)


@app.command("rehearse")
def rehearse_command(
    controllers: Annotated[
        list[str] | None, typer.Argument(help="Ids; all but the oracle when left out.")
    ] = None,
    chains: Annotated[int, typer.Option(help="How many chains.", min=1)] = 300,
    seed: Annotated[int, typer.Option(help="Of the first chain.", min=0)] = 0,
) -> None:
    """Try controllers on the surrogate: a rehearsal, no evidence about real chains."""
    from superalign_training.gap import terminal  # noqa: PLC0415 (imports torch)

    terminal.show_rehearsal(controllers, chains=chains, seed=seed)
