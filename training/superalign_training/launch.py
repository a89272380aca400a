"""From the command line to a run: the only file that knows Hydra.

The composed configuration becomes plain values, plain values become `Settings`, and
nothing below sees more than those.
"""

import gc
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from superalign_env import registry
from superalign_env.errors import InvalidOption, SuperalignError
from superalign_env.store import Run
from superalign_training.algorithms.making import (
    learns_from,
    make_algorithm,
    plain_algorithm,
)
from superalign_training.evaluation.summary import Summary
from superalign_training.experience import Experience, Live
from superalign_training.settings import Settings, read_settings
from superalign_training.watching import LiveTable, LogLines, summary_tables

ROOT = "train"
PACKAGE = "pkg://superalign_training.conf"
CHOOSING = ("attack", "learn", "calibrate")
"""Sections whose ``rl`` is a choice among algorithms."""
FOLDER = Path(__file__).with_name("conf")
"""Where the presets lie."""


def launch(
    overrides: Sequence[str], *, resume: bool = False, multirun: bool = False
) -> None:
    """Compose a configuration and train; with `multirun`, once for every combination.

    Args:
        overrides: ``key=value`` in Hydra's grammar.
        resume: continue the run in ``run_dir``, with the settings that it recorded.
        multirun: sweep over comma-separated values.

    Raises:
        SuperalignError: the first that any run raised.
        SystemExit: Hydra could not compose the configuration, and said why.
        Interrupted: by Ctrl-C or SIGTERM.
    """
    register_settings()
    raised: list[BaseException] = []

    def task(composed: DictConfig) -> None:
        try:
            settings = read_settings(plain(composed))
            if resume:
                given = named(composed, HydraConfig.get().overrides.task)
                settings = recorded_settings(settings.run_dir, given)
            train(settings, resume=resume)
        except (SuperalignError, KeyboardInterrupt) as error:
            # Hydra would print a trace; whoever called knows better what to say.
            raised.append(error)

    before = sys.argv
    sys.argv = ["superalign train", *(["--multirun"] if multirun else []), *overrides]
    try:
        hydra.main(version_base="1.3", config_path=PACKAGE, config_name=ROOT)(task)()
    finally:
        sys.argv = before
    if raised:
        raise raised[0]


def train(settings: Settings, *, resume: bool) -> Summary:
    """Run self-play with a live table at a terminal, or a line a step elsewhere."""
    # PyTorch and TRL take seconds to import: paid once the settings make sense.
    from superalign_training.selfplay import SelfPlay  # noqa: PLC0415

    # Trainers collect garbage at every end; what was imported so far is none.
    gc.freeze()
    console = Console()
    if console.is_terminal:
        with LiveTable(console) as live:
            summary = SelfPlay.of(settings, live).run(resume=resume)
    else:
        summary = SelfPlay.of(settings, LogLines()).run(resume=resume)
    console.print(*summary_tables(summary), sep="\n")
    console.print(summary.sentence, highlight=False, markup=False)
    console.print(f"recorded in {settings.run_dir}", highlight=False, markup=False)
    return summary


def register_settings() -> None:
    """Tell Hydra every key and default, read from the settings class.

    Where a role may be improved by any algorithm, the algorithms are a group:
    ``learn/rl=ppo learn.rl.clip=0.1``.
    """
    defaults = Settings().model_dump(mode="json")
    store = ConfigStore.instance()
    for section in CHOOSING:
        del defaults[section]["rl"]
        for name, node in rl_algorithms().items():
            store.store(
                group=f"{section}/rl",
                name=name,
                node=OmegaConf.create(node),
                package=f"{section}.rl",
            )
    store.store(name="settings", node=OmegaConf.create(defaults))


@cache
def rl_algorithms() -> dict[str, dict[str, Any]]:
    """Return the settings of every algorithm that learns from live episodes, by id."""
    found = {}
    for name in registry.entries("algorithm"):
        kind = registry.load("algorithm", name)
        if learns_from(kind) & {Live, Experience}:
            found[name] = plain_algorithm(make_algorithm(name))
    return found


def plain(composed: DictConfig) -> dict[str, Any]:
    """Return the plain values of a composed configuration."""
    values: Any = OmegaConf.to_container(composed, resolve=True)
    return {str(key): value for key, value in values.items()}


def named(composed: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the keys that the user named, with the values that they came to."""
    keys = [override.lstrip("+~").partition("=")[0] for override in overrides]
    # A group's choice is in the record as the id that it leads to.
    places = [f"{k.replace('/', '.')}.id" if "/" in k else k for k in keys]
    return {place: OmegaConf.select(composed, place) for place in places}


def recorded_settings(run_dir: Path, given: dict[str, Any]) -> Settings:
    """Return the settings that a run was made with.

    Args:
        run_dir: its folder.
        given: what the user named now; it must not contradict the record.

    Raises:
        InvalidOption: it does.
        RecordError: there is no run.
    """
    with Run.open(run_dir, readonly=True) as run:
        recorded = OmegaConf.create({**run.info.config, "run_dir": str(run_dir)})
    for key, value in given.items():
        known = OmegaConf.select(recorded, key)
        if key not in ("run_dir", "preset") and known != value:
            raise InvalidOption(
                f"{run_dir} was made with {key}={known}, and a resumed run keeps its "
                f"settings; drop {key}={value}, or choose another run_dir"
            )
    return read_settings(plain(recorded))
