"""Cost of a run: counts of its stages, times the speed of its models on this machine."""

import os
import time
from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from rich.table import Table

from superalign_agents.ladders import user_cache
from superalign_env.canonical import content_hash
from superalign_env.capabilities import variants_of
from superalign_env.cli.output import table
from superalign_env.rollout import Rollouts
from superalign_training.algorithms.sft import Sft
from superalign_training.data import Example
from superalign_training.selfplay.costs import CostContext, StageCounts
from superalign_training.selfplay.lineup import AgentReference
from superalign_training.selfplay.plan import people_in, plan
from superalign_training.selfplay.playing import stage_capabilities, stage_scenario
from superalign_training.selfplay.scenario_capabilities import scenario_capabilities
from superalign_training.selfplay.settings import Settings

if TYPE_CHECKING:
    from superalign_training.policy import Lora, Policy


_CASES = 64
_FIRST_CASES = 4
_SLOW = 2.0
"""Seconds of the first cases from which on they, and a single lesson, are all that is measured."""
_STEPS = 3
_BATCH = 32
_STAND_IN: AgentReference = "micro/0"
"""Is measured where nobody learns but learners of somebody's: how fast those are, nobody knows."""
_STAGE = 0.2
"""Seconds for a checkpoint and what else begins and ends with a course."""


class Speed(NamedTuple):
    """Seconds and tokens, as measured."""

    model: str
    """What it was measured with."""
    reply: float
    """Seconds that one reply takes in a batch, its share of rules and record included."""
    row: float
    """Seconds of one trained row."""
    course: float
    """Seconds until a training begins."""
    read: float
    """Tokens that a reply reads and writes."""
    turns: float
    """Replies of an episode."""
    measured: str = ""
    """Day on which it was; empty for now."""

    def seconds(self, replies: float, rows: float, courses: float) -> float:
        """Return how long so many replies, trained rows and trainings take."""
        return replies * self.reply + rows * self.row + courses * self.course

    def tokens(self, replies: float, rows: float) -> float:
        """Return how many tokens are read, written and trained on."""
        return (replies + rows) * self.read


def known_speed(settings: Settings) -> Speed | None:
    """Return what was measured here before for a run of this kind; None if nothing was."""
    return _remembered().get(_kind(settings))


def _kind(settings: Settings) -> str:
    """Return what speed depends on: the scenario, the model and where it runs."""
    model = _measured_model(settings)
    parts = [settings.device, settings.threads]
    return content_hash([settings.scenario, settings.options, model, *parts])


def _remembered() -> dict[str, Speed]:
    """Return kind of run → speed; nothing where it cannot be read."""
    try:
        return msgspec.json.decode(_memory().read_bytes(), type=dict[str, Speed])
    except (OSError, msgspec.MsgspecError):
        return {}


def _remember(settings: Settings, speed: Speed) -> None:
    """Keep a speed for later dry runs; where that is impossible, they say that they lack it."""
    speeds = {**_remembered(), _kind(settings): speed}
    path = _memory()
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(msgspec.json.encode(speeds))
        beside.replace(path)
    except OSError:
        return


def _memory() -> Path:
    return user_cache() / "speed.json"


def _measured_model(settings: Settings) -> AgentReference:
    """Return the model of who answers, else of another that learns; of a chain, the middle level."""
    policies = [role for role in settings.learning if not settings.own(role)]
    if settings.generations:
        return settings.levels[len(settings.levels) // 2]
    if not policies:
        return _STAND_IN
    answers = scenario_capabilities(stage_scenario(settings, split="train")).answers
    return settings.reference(answers if answers in policies else policies[0])


def speed_of(settings: Settings) -> Speed:
    """Measure the speed of a run's model, and remember it."""
    from superalign_training.policy import Policy  # noqa: PLC0415 - see above

    scenario = stage_scenario(settings, split="train")
    model = _measured_model(settings)
    policy = Policy.from_reference(
        _plain(model), device=settings.device, adapter=_adapter(model)
    )
    variant = "plain" if "plain" in variants_of(scenario) else ""
    scenario = stage_scenario(settings, split="train", variant=variant)
    agents = dict.fromkeys(scenario.seats, policy.agent)
    begin = time.perf_counter()
    episodes = Rollouts(scenario, agents, run=1).run(_FIRST_CASES)
    seconds = time.perf_counter() - begin
    slow = seconds > _SLOW  # a real model on a CPU: nobody waits for more
    if not slow:  # what is made once has been made now
        begin = time.perf_counter()
        episodes = Rollouts(scenario, agents, run=0, live=256).run(_CASES)
        seconds = time.perf_counter() - begin
    replies = [u.reply for e in episodes for u in e.utterances if u.reply is not None]
    with_ids = [reply for reply in replies if reply.prompt_ids and reply.token_ids]
    tokens_read = sum(len(r.prompt_ids) + len(r.token_ids) for r in with_ids) / max(
        1, len(with_ids)
    )
    lessons = [Example(r.prompt_ids, r.token_ids) for r in with_ids]
    lessons = lessons[: 1 if slow else _BATCH]
    course, row = _taught(policy, lessons) if lessons else (0.0, 0.0)
    turns = len(replies) / max(1, len(episodes))
    name = model if isinstance(model, str) else str(model.get("id"))
    speed = Speed(
        name, seconds / max(1, len(replies)), row, course + _STAGE, tokens_read, turns
    )
    _remember(settings, speed._replace(measured=date.today().isoformat()))
    return speed


def _taught(policy: "Policy", lessons: list[Example]) -> tuple[float, float]:
    """Return seconds until a course begins, and seconds of one of its rows."""
    ends: list[float] = []
    course = Sft(steps=_STEPS, num_train_epochs=1000.0, batch_size=len(lessons))
    begin = time.perf_counter()
    course.improve(
        policy, lessons, seed=0, on_step=lambda done, n: ends.append(time.perf_counter())
    )
    steps = [after - before for before, after in pairwise(ends)]
    step = min(steps) if steps else 0.0
    return max(0.0, ends[0] - begin - step), step / len(lessons)


def _adapter(model: AgentReference) -> "Lora | None":
    """Return the adapter that a reference asks for; None where the whole model is trained."""
    from superalign_training.policy import Lora  # noqa: PLC0415 - imports torch

    settings = model.get("adapter") if isinstance(model, Mapping) else None
    return Lora.model_validate(dict(settings)) if isinstance(settings, Mapping) else None


def _plain(model: AgentReference) -> AgentReference:
    """Return a reference without its adapter."""
    if isinstance(model, Mapping):
        return {key: value for key, value in model.items() if key != "adapter"}
    return model


class Cost(NamedTuple):
    """Upper bounds of what a run uses, in counts and, where speed is known, seconds."""

    stages: Mapping[str, StageCounts]
    """Name of a stage → all of its kind together."""
    counts: Mapping[str, int]
    """Name of a stage → how often it is done."""
    speed: Speed | None
    """None where it was not measured: tokens and time are not known then."""
    seats: int = 0
    """How many seats people hold."""
    real: bool = False
    """Whether people answer who are not simulated."""

    @property
    def owed(self) -> str:
        """One sentence on the turns and answers that people owe; empty without any."""
        turns = self.seats * self.whole.episodes
        answers = self.whole.labels if self.real else 0.0
        owed = [
            f"{_round(count)} {unit}"
            for count, unit in ((turns, "turns in seats"), (answers, "answers"))
            if count
        ]
        if not owed:
            return ""
        if self.real and self.whole.comparisons:
            owed[-1] += f" ({_round(self.whole.comparisons)} compare two members of a case)"
        return (
            f"people will owe at most about {' and '.join(owed)}; they give them with "
            "`superalign label RUN --as NAME` beside the run"
        )

    @property
    def whole(self) -> StageCounts:
        """The sum over all stages."""
        total = StageCounts()
        for counts_of_stage in self.stages.values():
            total = total.plus(counts_of_stage)
        return total

    @property
    def seconds(self) -> float | None:
        """Duration of the run; None where speed is not known."""
        return self.seconds_of(self.whole)

    @property
    def tokens(self) -> float | None:
        """Read and written by models, and trained on, if that is known."""
        return self.tokens_of(self.whole)

    def seconds_of(self, counts: StageCounts) -> float | None:
        """Return the duration of some counts; None where speed is not known."""
        if self.speed is None:
            return None
        return self.speed.seconds(counts.replies, counts.rows, counts.courses)

    def tokens_of(self, counts: StageCounts) -> float | None:
        """Return the tokens read, written and trained on; None where speed is not known."""
        return (
            None if self.speed is None else self.speed.tokens(counts.replies, counts.rows)
        )

    @property
    def line(self) -> str:
        """The sums in one sentence."""
        total = self.whole
        facts = (
            f"{_round(total.labels)} labels by people, {_round(total.planted)} planted answers "
            "whose truth critics are told"
        )
        begin = f"at most about {_round(total.episodes)} episodes, "
        if self.speed is None:
            return (
                f"{begin}{facts} (an estimate; time and tokens are not known, as nothing of this "
                "kind was measured here yet: --dry-run --measure does it)"
            )
        day = self.speed.measured
        since = f" on {day}; --measure does it again" if day else ""
        return (
            f"{begin}{_round(self.tokens)} tokens, {facts}, {_span(self.seconds)} "
            f"(an estimate; speed measured here with {self.speed.model}{since})"
        )


def cost_of(
    settings: Settings, *, measured: Cost | None = None, measure: bool = True
) -> Cost:
    """Estimate what a run with these settings will cost.

    Args:
        settings: of the run.
        measured: of a run with the same models, whose measured speed is taken.
        measure: whether models are loaded and timed now, which takes seconds; else it is
            taken what was measured before, if anything was.
    """
    if measured:
        speed = measured.speed
    else:
        speed = speed_of(settings) if measure else known_speed(settings)
    turns = speed.turns if speed else 1.0  # replies are not shown then
    capabilities = stage_capabilities(settings)
    counts: dict[str, int] = defaultdict(int)
    stages: dict[str, StageCounts] = defaultdict(StageCounts)
    episodes: dict[tuple[int, int], float] = defaultdict(float)
    for planned in plan(settings):
        place = (planned.generation, planned.round)
        stage_counts = planned.cost(
            CostContext(settings, *place, episodes[place], turns, capabilities)
        )
        episodes[place] += stage_counts.episodes
        counts[planned.name] += 1
        stages[planned.name] = stages[planned.name].plus(stage_counts)
    real = settings.people.mode != "simulated"
    return Cost(stages, counts, speed, len(people_in(settings)), real)


def cost_table(cost: Cost) -> Table:
    """Return the estimate for the terminal."""
    stages = [
        (name, str(cost.counts[name]), stage_counts)
        for name, stage_counts in cost.stages.items()
    ]
    rows = [
        (
            name,
            often,
            _round(stage_counts.episodes),
            _round(cost.tokens_of(stage_counts)),
            _round(stage_counts.labels),
            _round(stage_counts.planted),
            _span(cost.seconds_of(stage_counts)),
        )
        for name, often, stage_counts in [*stages, ("all", "", cost.whole)]
    ]
    return table(
        ["stage", "how often", "episodes", "tokens", "labels", "planted", "time"],
        rows,
        title="what this run will cost, at most (an estimate)",
        numbers=True,
    )


def _round(number: float | None) -> str:
    """Return two significant digits, as people read them."""
    if number is None:
        return "?"
    if number >= 1e6:
        return f"{number / 1e6:.1f} M"
    return f"{float(f'{number:.2g}'):,.0f}"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
