"""The stages of a run: rounds of any scenario, or a chain of generations.

No role and no game is known by name: which stages there are follows from the facts and
variants that the scenario declares, and from who learns.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any, Literal, NamedTuple

from superalign_env.errors import InvalidOption
from superalign_env.types import Role, Seat, role_of
from superalign_training.evaluation.evaluation import PREFIX
from superalign_training.oversight.settings import Hardening
from superalign_training.selfplay import costs
from superalign_training.selfplay.costs import StageCounts
from superalign_training.selfplay.driver import PlannedStage, StageContext, StageResult
from superalign_training.selfplay.lineup import is_person
from superalign_training.selfplay.playing import (
    is_judged,
    stage_capabilities,
    stage_scenario,
)
from superalign_training.selfplay.scenario_capabilities import (
    ATTACKED,
    DEPLOYED,
    JUDGED,
    PLANTED,
    SUPERVISED,
    Needs,
    ScenarioCapabilities,
    rated_pairings,
    tried_pairing,
)
from superalign_training.selfplay.settings import Settings

TrainingStage = Literal["attack", "calibrate", "improve"]
"""The stage in which a policy learns."""


class StageDefinition(NamedTuple):
    """A stage: its function, its cost, and its requirements of the scenario."""

    target: str
    """Module among the stages, and the function there: ``judge:calibrate``."""
    cost: Callable[..., StageCounts]
    """Upper bound in counts; takes the same options as the function."""
    needs: Needs = Needs()
    options: Mapping[str, Any] = {}

    def with_options(self, **options: Any) -> "StageDefinition":
        """Return the stage with options of its function and its cost."""
        return self._replace(options={**self.options, **options})

    def function(self) -> Callable[..., StageResult]:
        """Import the function on first call, so that plans need no PyTorch."""
        module, _, name = self.target.partition(":")
        stage_module = import_module(f"superalign_training.selfplay.stages.{module}")
        function: Callable[..., StageResult] = getattr(stage_module, name)
        return function

    def run(self, context: StageContext, **options: Any) -> StageResult:
        """Run the stage."""
        return self.function()(context, **options)


alarms = StageDefinition("alarms:alarms", costs.alarms)
annotate = StageDefinition("improve:annotate", costs.annotate, JUDGED)
attack = StageDefinition("attack:attack", costs.attack, ATTACKED)
calibrate = StageDefinition("judge:calibrate", costs.calibrate, PLANTED)
competence = StageDefinition("competence:competence", costs.competence)
conform = StageDefinition("conform:conform", costs.conform, DEPLOYED)
discover = StageDefinition("discover:discover", costs.discover, DEPLOYED)
evaluate = StageDefinition("evaluate:evaluate", costs.evaluate)
evaluated = StageDefinition("own_evaluations:evaluated", costs.evaluated)
final = StageDefinition("measure:final", costs.final)
gap = StageDefinition("gap:gap", costs.free)
gate = StageDefinition("gate:gate", costs.gate)
harden = StageDefinition("harden:harden", costs.harden)
imitate = StageDefinition("harden:imitate", costs.imitate)
improve = StageDefinition("improve:improve", costs.improve)
judge = StageDefinition("judge:judge", costs.judge, PLANTED)
league = StageDefinition("league:league", costs.league)
measure = StageDefinition("measure:measure", costs.measure)
supervise = StageDefinition("supervise:supervise", costs.supervise, SUPERVISED)
teach_critic = StageDefinition("harden:teach_critic", costs.teach_critic)
test = StageDefinition("evaluate:test", costs.test)
trial = StageDefinition("league:trial", costs.trial)


class StageEntry(NamedTuple):
    """A stage with its position in the run."""

    name: str
    stage: StageDefinition
    generation: int = 0
    round: int = 0


def plan(settings: Settings) -> list[PlannedStage]:
    """Return the stages of a run in order, without those that the scenario does not support."""
    capabilities, shared = stage_capabilities(settings), _shaping(settings)
    listed = entries(settings, capabilities)
    return [
        PlannedStage(
            entry.name,
            partial(entry.stage.run, **entry.stage.options, settings=settings),
            entry.round,
            entry.generation,
            shared,
            entry.stage.needs,
            partial(entry.stage.cost, **entry.stage.options),
        )
        for entry in listed
        if capabilities.can(entry.stage.needs)
    ]


def entries(settings: Settings, capabilities: ScenarioCapabilities) -> Iterator[StageEntry]:
    """Yield the stages of a run, unsupported ones included."""
    if settings.hardening is not None:
        return _hardened(settings, capabilities, settings.hardening)
    if settings.generations:
        return _generations(settings, capabilities)
    return _rounds(settings, capabilities)


def training_stage(
    role: Role, capabilities: ScenarioCapabilities, settings: Settings
) -> TrainingStage:
    """Return the stage that trains a role: attack, calibrate, else improve.

    Only policies learn in attack and calibrate; others learn from rewards.
    """
    if settings.own(role):
        return "improve"
    if role == capabilities.asks and capabilities.can(ATTACKED):
        return "attack"
    if role == capabilities.judges and capabilities.can(PLANTED):
        return "calibrate"
    return "improve"


def people_in(settings: Settings) -> list[Seat]:
    """Return the seats that people hold."""
    seats = stage_scenario(settings, split="train").seats
    names = [seat if seat in settings.lineup else role_of(seat) for seat in seats]
    return [
        seat
        for seat, name in zip(seats, names, strict=True)
        if is_person(settings.reference(name))
    ]


def _rounds(settings: Settings, capabilities: ScenarioCapabilities) -> Iterator[StageEntry]:
    """Judge → evaluate, rounds with an evaluation each, test at the end."""
    if capabilities.judges in ("", *_taught(settings)):
        yield StageEntry("judge", judge)
    yield StageEntry("evaluate", evaluate)
    for number in range(1, settings.rounds + 1):
        yield from _round(settings, capabilities, 0, number)
        yield from _own(settings, "round", 0, number)
    yield StageEntry("test", test, 0, settings.rounds)
    yield from _own(settings, "end", 0, settings.rounds)


def _own(
    settings: Settings, moment: str, generation: int, number: int
) -> Iterator[StageEntry]:
    """Custom evaluations, after a round or at the end."""
    for evaluation in settings.evaluate.also:
        if evaluation.when == moment:
            stage = evaluated.with_options(evaluation=evaluation)
            yield StageEntry(f"{PREFIX}{evaluation.id}", stage, generation, number)


def _hardened(
    settings: Settings, capabilities: ScenarioCapabilities, rules: Hardening
) -> Iterator[StageEntry]:
    """Judge → evaluate → imitate, rounds of attacks with an evaluation each, test.

    Raises:
        InvalidOption: a scenario, a lineup or a chain that cannot be hardened.
    """
    if settings.generations:
        raise InvalidOption("hardening is for rounds; set generations=0 or hardening=null")
    for needs in (ATTACKED, PLANTED):
        if not capabilities.can(needs):
            raise InvalidOption(
                f"{settings.scenario} cannot be hardened ({capabilities.lacks(needs)}); set "
                "hardening=null"
            )
    for role in (capabilities.answers, capabilities.judges):
        if role not in _taught(settings):
            raise InvalidOption(
                f"hardening teaches the {role}, who does not learn here; give it a policy and "
                f"an algorithm (lineup.{role}=micro/3 train.{role}=sft), or set hardening=null"
            )
    yield StageEntry("judge", teach_critic.with_options(rules=rules))
    yield StageEntry("evaluate", evaluate)
    yield StageEntry("imitate", imitate.with_options(rules=rules))
    for number in range(1, settings.rounds + 1):
        yield StageEntry("harden", harden.with_options(rules=rules), 0, number)
        yield StageEntry("evaluate", evaluate, 0, number)
        yield StageEntry("alarms", alarms, 0, number)
    yield StageEntry("test", test, 0, settings.rounds)


def _round(
    settings: Settings, capabilities: ScenarioCapabilities, generation: int, number: int
) -> Iterator[StageEntry]:
    """Attack → (supervise →) improve → calibrate → evaluate (→ league) → alarms.

    Policies are improved in the order of the seats; who judges learns last, when people
    have said what they think of this round's answers.
    """
    place = (generation, number)
    learning = [role for role in capabilities.roles if role in settings.learning]
    if capabilities.asks in ("", *_taught(settings)):
        yield StageEntry("attack", attack, *place)
    if settings.supervise is not None:
        yield StageEntry(
            "supervise", supervise.with_options(rules=settings.supervise), *place
        )
    by_reward = [
        role
        for role in learning
        if training_stage(role, capabilities, settings) == "improve"
        and settings.rl_algorithms(role)
    ]
    # Once, though a policy holds several roles.
    first_roles = {settings.holder(role): role for role in reversed(by_reward)}
    for role in by_reward:
        if first_roles[settings.holder(role)] == role:
            yield StageEntry(f"improve-{role}", improve.with_options(role=role), *place)
    # Else people are asked while somebody learns.
    if settings.budget and not by_reward:
        yield StageEntry("annotate", annotate, *place)
    if capabilities.judges in ("", *_taught(settings)):
        yield StageEntry("calibrate", calibrate, *place)
    if not generation:  # a generation is measured as a whole
        yield StageEntry("evaluate", evaluate, *place)
    if settings.league.share and rated_pairings(settings, capabilities):
        yield StageEntry("league", league.with_options(rules=settings.league), *place)
        if tried_pairing(settings, capabilities) is not None:
            yield StageEntry("trial", trial.with_options(rules=settings.league), *place)
    yield StageEntry("alarms", alarms, *place)


def _taught(settings: Settings) -> list[Role]:
    """Return the learning roles with a policy; self-improving learners are left out."""
    return [role for role in settings.learning if not settings.own(role)]


def _generations(
    settings: Settings, capabilities: ScenarioCapabilities
) -> Iterator[StageEntry]:
    """Gap → competence → discover → conform → rounds → measure → gate, for A_1 … A_K.

    Rounds are counted on from one generation to the next, so that a round names one time
    in the run (Kim et al. 2025, progressive training; its anneal step is the controller's
    choice at the beginning of the next generation).
    """
    if capabilities.judges in ("", *_taught(settings)):
        yield StageEntry("judge", judge)
    deploys = is_judged(settings) or not capabilities.can(DEPLOYED)
    round = 0
    for number in range(1, settings.generations + 1):
        yield StageEntry("gap", gap, number, round)
        for name, stage, rounds in _order(settings, is_last=number == settings.generations):
            if deploys or stage.needs != DEPLOYED:
                yield StageEntry(name, stage, number, round)
            for _ in range(rounds):
                round += 1
                yield from _round(settings, capabilities, number, round)
        yield StageEntry("measure", measure, number, round)
        yield from _own(settings, "round", number, round)
        yield StageEntry("gate", gate, number, round)
    yield StageEntry("test", final, settings.generations, round)
    yield from _own(settings, "end", settings.generations, round)


def _order(settings: Settings, *, is_last: bool) -> list[tuple[str, StageDefinition, int]]:
    """Return (name, stage, rounds of self-play after it) of one generation.

    What an order leaves out in one place it spends in another, so that all orders train
    for as many steps on as many answers: conformity that comes last is as much as the
    alternating chain has in all its generations, and a chain without any is taught twice
    as much competence.
    """
    learning = ("competence", competence, 0)
    deployed = ("discover", discover, 0)
    aligning = ("conform", conform, settings.rounds)
    if settings.order == "competence-only":
        return [("competence", competence.with_options(effort=2), 0), deployed]
    if settings.order == "conformity-last":
        if not is_last:
            return [learning, deployed]
        everything = conform.with_options(effort=settings.generations)
        rounds = settings.rounds * settings.generations
        return [learning, deployed, ("conform", everything, rounds)]
    if settings.order == "conformity-first":
        return [deployed, aligning, learning]
    return [learning, deployed, aligning]


def _shaping(settings: Settings) -> dict[str, Any]:
    """Return the settings that can change results.

    The number of rounds does not either: a finished run may be continued with more; nor
    does when to stop because episodes fail.
    """
    idle = {"run_dir", "threads", "rounds", "failures"}
    return settings.model_dump(mode="json", exclude=idle)
