"""``superalign doctor``: versions, extras, device, and the health of a record."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from superalign_env import registry
from superalign_env.cli.output import (
    AsJson,
    console,
    print_json,
    reading_bar,
    say,
    table,
)
from superalign_env.errors import RecordError

_EXTRAS = {
    "endpoints": ("openai",),
    "rows": ("pyarrow",),
    "figures": ("matplotlib",),
    "tensorboard": ("tensorboard",),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
    "train": ("openskill", "peft", "stable-baselines3", "torch", "transformers", "trl"),
}


def doctor(
    run: Annotated[
        Path | None, typer.Argument(metavar="[RUN]", help="Also repair and check this run.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print versions, extras, device; repair what is safe in a run, and say what is lost.

    Repaired are views, indices and triggers, a missing config.yaml, half-written files, and
    what an interrupted process left. Nothing that was altered is sealed anew: that is lost,
    and named, with what to do about it.
    """
    from superalign_env.store.provenance import versions  # noqa: PLC0415 - imported when needed

    facts: dict[str, Any] = {
        "versions": versions(),
        "extras": {extra: _missing(packages) for extra, packages in _EXTRAS.items()},
        "device": _device(),
        "plugins_left_out": registry.left_out(),
    }
    problems: list[str] = []
    if run is not None:
        state, repaired, problems = _health(run)
        facts["run"] = {
            "path": str(run),
            "state": state,
            "repaired": repaired,
            "problems": problems,
        }
    if as_json:
        print_json(facts)
    else:
        _print(facts)
    if problems:
        raise typer.Exit(1)


def _missing(packages: tuple[str, ...]) -> list[str]:
    from superalign_env.store.provenance import installed  # noqa: PLC0415 - imported when needed

    return [package for package in packages if not installed(package)]


def _device() -> dict[str, Any]:
    """Return processors and GPUs of this machine, without importing torch."""
    device: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "gpus": [],
    }
    tool = shutil.which("nvidia-smi")
    if tool:
        query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
        process = subprocess.run(
            query, capture_output=True, text=True, timeout=20, check=False
        )
        device["gpus"] = (
            process.stdout.strip().splitlines() if process.returncode == 0 else []
        )
    elif sys.platform == "darwin" and platform.machine() == "arm64":
        device["gpus"] = ["Apple (mps)"]
    return device


def _health(path: Path) -> tuple[str, list[str], list[str]]:
    """Return the state of a run, what was repaired, and what is wrong with it still."""
    from superalign_env.store import examine, repair  # noqa: PLC0415 - imported when needed

    repaired: list[str] = []
    try:
        repaired = repair(path)
    except OSError as error:
        repaired = [f"nothing could be repaired: {error}"]
    except RecordError:
        pass  # whatever it is, it is told below
    try:
        with reading_bar() as bar:
            health = examine(path, bar)
    except RecordError as error:  # of a later version, in use, or no record at all
        return "not checked", repaired, [str(error)]
    problems = [f"{p.kind}: {p.what}; {p.advice}" for p in health.problems]
    return ("damaged" if problems else "healthy"), repaired, problems


def _print(health: dict[str, Any]) -> None:
    console.print(table(["package", "version"], health["versions"].items()))
    console.print()
    rows = [
        (extra, f"misses {', '.join(missing)}" if missing else "complete")
        for extra, missing in health["extras"].items()
    ]
    console.print(table(["extra", "state"], rows))
    console.print()
    device = health["device"]
    gpus = ", ".join(device["gpus"]) or "no GPU seen"
    say("{}, {} processors, {}", device["system"], device["processors"], gpus)
    for why in health["plugins_left_out"]:
        say("{}", why, style="red")
    if "run" in health:
        for repaired in health["run"]["repaired"]:
            say("{}", repaired, style="green")
        for problem in health["run"]["problems"]:
            say("{}", problem, style="red")
        say("{}: {}", health["run"]["path"], health["run"]["state"])
