"""A ladder of snapshots of one pre-training run.

One run gives as many levels as wanted, all of one size, one tokenizer and one seed, which
differ in capacity alone: the nearest thing to a continuous capability gap. A level is an
ordinary rung: ``micro-snapshots/4@0`` is the fifth level of the run of seed 0.
"""

import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from superalign_agents.ladders import RungReference, built_root, read_card
from superalign_env.canonical import content_hash
from superalign_env.errors import InvalidOption
from superalign_env.seeding import generator, mix
from superalign_env.types import Task
from superalign_training.ladder.build import (
    PACKING,
    Watch,
    fresh_model,
    mean_loss,
    store_rung,
    stream,
)
from superalign_training.ladder.micro_model import build_tokenizer, size_of
from superalign_training.ladder.pretrain import Training, pretrain
from superalign_training.ladder.rung_metrics import knows
from superalign_training.ladder.worlds import World

FAMILY = "micro-snapshots"
_MAX_DRAWS = 200
"""Draws per wanted task of one family and tier."""


class Reached(NamedTuple):
    """Levels by capacity: the first snapshot that solves this share of tasks.

    No two levels are the same snapshot: where capacity jumps, the next level is taken at
    the next check.
    """

    shares: tuple[float, ...]
    """Rising; one level each."""
    family: str = "requests"
    tier: int = 1
    every: int = 25
    """Steps between checks."""
    tasks: int = 400
    """Number of tasks of the training split, always the same ones."""


Levels = Sequence[int] | Reached
"""Step counts, rising, or shares of tasks that must be known."""


def snapshots(
    world: World,
    *,
    at: Levels,
    rung: int = 3,
    seed: int = 0,
    steps: int | None = None,
    family: str = FAMILY,
    out: Path | None = None,
    watch: Watch | None = None,
) -> list[Path]:
    """Pre-train one rung once and store its snapshots; return the folders.

    The run ends with its highest level. Finished levels are skipped, and an interrupted
    run is resumed exactly, so the same call may be made again at any time.

    Args:
        world: text, tokenizer words and held-out tasks.
        at: where levels are taken, lowest first.
        rung: which size of the ladder.
        seed: of weights and text.
        steps: length of the whole run, by which the learning rate falls; None is the
            rung's own.
        family: name of the ladder that appears.
        out: root under which ``FAMILY/LEVEL@SEED`` appears; None is the user's cache.
        watch: called after every step.

    Raises:
        UnknownId: no such rung.
        InvalidOption: levels that do not rise or that the run cannot reach, or a ladder
            of that name and seed that was made otherwise.
    """
    size = size_of(rung)
    training = Training(steps or size.steps, size.learning_rate)
    plan = _plan(world, at, training, rung=rung, seed=seed)
    root = (built_root() if out is None else Path(out)) / family
    count = len(at.shares if isinstance(at, Reached) else at)
    references = [RungReference(family, level, seed) for level in range(count)]
    folders = [root / reference.folder_name for reference in references]
    _refuse_others(folders, plan)
    if all(_is_finished(folder) for folder in folders):
        return folders
    state = root / ".building" / f"{seed}-{content_hash(plan)[:16]}.safetensors"
    run = _Run(world, references[0], training, state=state, rung=rung, watch=watch)
    reached = 0
    for number, (folder, reference) in enumerate(zip(folders, references, strict=True)):
        if not _is_finished(folder):
            measured = _advance(run, at, number, after=reached)
            facts = {"reference": str(reference), "continues": "", "plan": plan}
            run.store(folder, {**facts, "pretraining": {**run.facts(), **measured}})
        reached = int(read_card(folder)["pretraining"]["step"])
    state.unlink(missing_ok=True)
    return folders


def evenly(levels: int, *, steps: int) -> tuple[int, ...]:
    """Return so many step counts at equal distances; the last is the end of the run."""
    return tuple(steps * (level + 1) // levels for level in range(levels))


class _Run:
    """A pre-training run that trains on to a given step."""

    def __init__(
        self,
        world: World,
        reference: RungReference,
        training: Training,
        *,
        state: Path,
        rung: int,
        watch: Watch | None,
    ) -> None:
        self.world, self.training, self.rung, self.seed = (
            world,
            training,
            rung,
            reference.seed,
        )
        self.tokenizer = build_tokenizer(world.words, world.special)
        self.model = fresh_model(rung, self.tokenizer, seed=reference.seed)
        self.step = 0
        self._first, self._state, self._watch = reference, state, watch
        self._text = stream(world, self.tokenizer, reference.seed)
        self._losses: list[float] = []
        self._seconds = 0.0
        if state.is_file():
            self.go_to(0)

    def go_to(self, step: int) -> None:
        """Train up to a step; a saved state may be beyond it already."""
        started = time.process_time()
        self.step = pretrain(
            self.model,
            self._text,
            self.training,
            state=self._state,
            stop_after=step,
            progress=self._note,
        )
        self._seconds += time.process_time() - started

    def facts(self) -> dict[str, Any]:
        """Return the facts of training on the card of a level."""
        return {
            "seed": self.seed,
            "rung": self.rung,
            "step": self.step,
            "steps": self.training.steps,
            "rate": self.training.learning_rate,
            "final_loss": mean_loss(self._losses),
            "cpu_seconds": round(self._seconds, 1),
            **PACKING,
        }

    def store(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write the level that the run is at."""
        store_rung(self.model, self.tokenizer, self.world, folder=folder, facts=facts)

    def _note(self, step: int, loss: float) -> None:
        self._losses.append(loss)
        if self._watch is not None:
            self._watch(self._first, step, self.training.steps, loss)


def _advance(run: _Run, at: Levels, number: int, *, after: int) -> dict[str, float]:
    """Train up to a level; return the share of tasks that it knows, where that decides.

    Args:
        run: at or beyond the level before, never beyond this one.
        at: all levels.
        number: of this one.
        after: step of the level before.

    Raises:
        InvalidOption: the run is over before the level is reached.
    """
    if not isinstance(at, Reached):
        run.go_to(at[number])
        return {}
    tasks, target, share = _tasks(run.world, at), at.shares[number], 0.0
    while True:
        # Checks are made at fixed steps, so that a resumed run takes the same ones.
        over = run.step >= run.training.steps
        if run.step > after and (over or run.step % at.every == 0):
            correct = knows(run.model, run.tokenizer, run.world, tasks=tasks)
            share = sum(correct) / len(correct)
            if share >= target:
                return {"known": share}
        if over:
            raise InvalidOption(
                f"after {run.step} steps {share:.2f} of {at.family} of tier {at.tier} is "
                f"known, and level {number} wants {target}; lower it, raise steps, or take a "
                "larger rung"
            )
        run.go_to(min((run.step // at.every + 1) * at.every, run.training.steps))


def _tasks(world: World, at: Reached) -> list[Task]:
    """Return a fixed set of different tasks of the training split."""
    rng = generator(mix(0, 0x5EE))
    tasks: dict[str, Task] = {}
    for _ in range(_MAX_DRAWS * at.tasks):
        task = world.source.draw(rng, "train")
        if (task.family, task.tier) == (at.family, at.tier):
            tasks.setdefault(task.prompt, task)
        if len(tasks) == at.tasks:
            break
    if not tasks:
        raise InvalidOption(
            f"{world.source.id} draws no tasks of {at.family} of tier {at.tier}; name "
            "another family"
        )
    return list(tasks.values())


def _plan(
    world: World, at: Levels, training: Training, *, rung: int, seed: int
) -> dict[str, Any]:
    """Return the checked settings that the levels of a run depend on.

    Raises:
        InvalidOption: levels that do not rise, or that the run is too short for.
    """
    targets = list(at.shares if isinstance(at, Reached) else at)
    rises = all(low < high for low, high in pairwise(targets))
    if isinstance(at, Reached):
        fits = all(0 <= share <= 1 for share in targets) and at.every > 0 and at.tasks > 0
    else:
        fits = all(0 < step <= training.steps for step in targets)
    if not (targets and rises and fits):
        raise InvalidOption(
            f"levels at {targets} make no ladder; give rising step counts from 1 to "
            f"{training.steps}, or rising shares from 0 to 1"
        )
    return {
        "rung": rung,
        "seed": seed,
        "steps": training.steps,
        "corpus": world.settings,
        "at": {**at._asdict(), "shares": targets} if isinstance(at, Reached) else targets,
    }


def _refuse_others(folders: Sequence[Path], plan: dict[str, Any]) -> None:
    """Raise where levels of another run have the same name.

    Raises:
        InvalidOption: says what to change.
    """
    for folder in folders:
        if _is_finished(folder) and read_card(folder).get("plan") != plan:
            raise InvalidOption(
                f"{folder} is a level of another run; give the ladder another family name, "
                "or delete that folder"
            )


def _is_finished(folder: Path) -> bool:
    return (folder / "card.json").is_file()
