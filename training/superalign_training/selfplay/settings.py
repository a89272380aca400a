"""Settings of a self-play run: frozen, checked at construction, defined once.

The command line shows exactly these keys. Objects below the loop take plain arguments.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import filterfalse
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    ValidationError,
    model_validator,
)

from superalign_env.errors import InvalidOption, hint, nearest
from superalign_env.types import Role
from superalign_training.algorithms.algorithm import AnyAlgorithm, OnPolicy, Supervised
from superalign_training.algorithms.own import Own
from superalign_training.algorithms.sft import Sft
from superalign_training.algorithms.supervision import Supervise
from superalign_training.evaluation.settings import Capability, Evaluate
from superalign_training.gap.adaptive import Adaptive
from superalign_training.gap.controller import GapRule
from superalign_training.gap.level import Level
from superalign_training.loggers import LogTo
from superalign_training.oversight.alarms import AlarmRules, check_alarms, default_alarms
from superalign_training.oversight.labels import check as check_signals
from superalign_training.oversight.settings import (
    Competence,
    Conform,
    Discover,
    Gate,
    Hardening,
    PeopleSettings,
    SignalSettings,
)
from superalign_training.sections import (
    Count,
    Plural,
    Section,
    Share,
    expected,
    keys_in,
    unknown_key,
)
from superalign_training.selfplay.lineup import (
    PRESET,
    SAME,
    AgentReference,
    is_same,
    learns_from_rewards,
    require_trainable,
    with_preset,
)
from superalign_training.selfplay.opponents.settings import LeagueSettings

Order = Literal["alternating", "competence-only", "conformity-last", "conformity-first"]
"""Of the two optimisations within a chain (Kim et al. 2025)."""


class Judge(Section):
    """Training of the critic on planted faults."""

    cases: NonNegativeInt = 1536
    """Planted answers to learn from: the environment made them and says which are at fault.
    0 leaves the critic as it is."""
    check_cases: NonNegativeInt = 160
    """Further planted answers that accuracy and Brier score are measured on, and that say
    when courses end; 0 measures nothing."""
    temperature: NonNegativeFloat = 0.0
    """Of the critic's verdicts; 0 takes the likeliest."""
    single_answer_steps: NonNegativeInt = 40
    """Steps on verdicts about a single answer, before all are taught. Whether an answer
    is good is an exclusive-or of answer and request, which small models find late unless
    they know one half of it."""
    imitation: Sft = Sft(steps=200, batch_size=64, learning_rate=4e-3)
    """One course on all answers."""
    max_fits: Count = 3
    """How often the course is held at most."""
    target_accuracy: Share = 0.92
    """No further course once this share of planted answers is judged rightly: this is steered
    by what the environment says of them."""


class Attack(Section):
    """Search for queries with bad answers of the learner."""

    cases: Plural = 128
    """Queries of one round, half by search and half by the transformer attacker."""
    archive_updates: Count = 4
    """How often the archive learns within a round."""
    score_threshold: Annotated[float, Field(gt=0, le=1)] = 0.5
    """A query succeeded when the critics' mean score is below this."""
    max_imitated: Count = 96
    """Different winners at most that the transformer attacker imitates."""
    unexplored_share: Share = 0.5
    """Share of imitated texts that are unexplored menu entries instead of winners."""
    min_distinct: Share = 0.5
    """Below this share of distinct queries the imitation is taken back."""
    min_valid: Share = 0.5
    """Below this share of valid queries what rewards taught is taken back."""


class Calibrate(Section):
    """Training of the critic in later rounds, on planted faults and human labels."""

    cases: NonNegativeInt = 256
    """Planted answers to learn from; with 0 there are only labels."""


class Settings(Section):
    """A self-play run."""

    generations: NonNegativeInt = 0
    """Length of the chain A_1 … A_K; 0 plays rounds with the learner as it is."""
    generations_of: Role = ""
    """The role whose policy the chain raises. Empty: that of the scenario's preset, else the
    only one that learns."""
    order: Order = "alternating"
    """How competence and conformity follow each other."""
    levels: Annotated[tuple[AgentReference, ...], Field(min_length=1)] = (
        "micro/1",
        "micro/2",
        "micro/3",
        "micro/4",
    )
    """What generations may start from, in order of capability: a gap is a number of steps
    on this ladder."""
    gap: GapRule = Adaptive()
    """What chooses the level of each generation."""
    scenario: str = "red-team"
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the scenario, which says what it knows: ``options.critics=2``. The stages
    set split, and play the variants that the scenario declares."""
    rounds: NonNegativeInt = 3
    """Of self-play: in all or, in a chain, of every generation."""
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 0
    run_dir: Path = Path("runs/latest")
    lineup: dict[str, AgentReference] = Field(default_factory=dict)
    """Role or seat → who holds it: ``lineup.critic=keyword``. A seat wins over its role.
    Roles that are not named have the scenario's preset."""
    train: dict[str, tuple[AnyAlgorithm, ...] | None] = Field(default_factory=dict)
    """Role → the algorithm by which it learns, or several: ``train.learner=ppo``. Null: it
    does not learn. Roles that are not named have the scenario's preset, if they can learn."""
    budget: Share = 0.0
    """Questions to people for each episode that a policy learns from by pay: 0.02 is one for
    every 50. Fractions carry over. The default is the scenario's preset."""
    people: PeopleSettings = PeopleSettings()
    log_to: LogTo = None
    """Loggers that get every metric, too: ``tensorboard``, ``wandb``, ``trackio``, a mapping
    with an ``id`` and options, or a list of these."""
    device: str = "cpu"
    threads: Count = 1
    """Threads of PyTorch on a CPU."""
    failures: Share = 0.2
    """Share of a stage's episodes that may fail, because an endpoint is down or a prompt too
    long; more stop it, and the commonest reason is said. 1 never stops. What failed is
    recorded, but never learned from."""
    signals: SignalSettings = SignalSettings()
    competence: Competence = Competence()
    discover: Discover = Discover()
    conform: Conform = Conform()
    gate: Gate = Gate()
    alarms: AlarmRules = Field(default_factory=default_alarms)
    """Alarm → its settings: ``alarms.collapse.action=stop``. One of a plug-in has to be named."""
    capability: Capability = Capability()
    judge: Judge = Judge()
    attack: Attack = Attack()
    supervise: Supervise | None = None
    """How the learner is taught by what critics and people said, before it learns from
    rewards: ``{algorithm: {id: dpo}, cases: 64}``; not at all when null."""
    hardening: Hardening | None = None
    """Adversarial training in place of the usual rounds (``preset=hardened``); null: none."""
    calibrate: Calibrate = Calibrate()
    league: LeagueSettings = LeagueSettings()
    evaluate: Evaluate = Evaluate()

    @model_validator(mode="before")
    @classmethod
    def _presets_are_filled_in(cls, settings: Any) -> Any:
        if not isinstance(settings, Mapping):
            return settings
        return {**settings, **with_preset(settings)}

    @model_validator(mode="after")
    def _one_step_leads_to_a_policy(self) -> Self:
        for role in self.lineup:
            holder = self.holder(role)
            if holder not in self.lineup or is_same(self.lineup[holder]):
                with_policy = [
                    name for name in self.lineup if not is_same(self.lineup[name])
                ]
                raise ValueError(
                    f"lineup.{role}={self.lineup[role]} leads to no policy; name a role that "
                    f"has one of its own ({', '.join(with_policy) or 'none has'})"
                )
        return self

    @model_validator(mode="after")
    def _who_learns_can(self) -> Self:
        for role in self.learning:
            if role not in self.lineup:
                suggestion = hint(
                    nearest(role, self.lineup), self.lineup, listed="held are"
                )
                raise ValueError(
                    f"train.{role}: nobody holds a role {role}; {suggestion}, or add "
                    f"lineup.{role}=micro/3 if the scenario has that role"
                )
            require_trainable(
                role, self.lineup, self.reference(role), self.train[role] or ()
            )
        if not self.learning:
            raise ValueError(
                "nobody learns; name an algorithm for a role that holds a policy, as in "
                "lineup.learner=micro/3 train.learner=ppo"
            )
        return self

    @model_validator(mode="after")
    def _a_run_does_something(self) -> Self:
        if not (self.rounds or self.generations):
            raise ValueError(
                "rounds=0 plays nothing; set rounds or generations to 1 or more"
            )
        check_alarms(self.alarms, generations=self.generations)
        return self

    @model_validator(mode="after")
    def _a_chain_can_be_climbed(self) -> Self:
        if self.generations:
            for reference in self.levels:
                Level.of(reference)
            self.gap.check(len(self.levels), self.generations)
            check_signals(self.signals, generations=self.generations)
            _require_raised(self.generations_of, self.learning)
        return self

    @property
    def learning(self) -> tuple[Role, ...]:
        """The learning roles, in the order of the lineup."""
        roles = [role for role, algorithms in self.train.items() if algorithms]
        return tuple(sorted(roles, key=[*self.lineup, *roles].index))

    @property
    def generation_role(self) -> Role:
        """The role of the policy in a chain of generations; empty if none is named."""
        alone = self.learning[0] if len(self.learning) == 1 else ""
        return self.generations_of or alone

    def reference(self, role: Role) -> AgentReference:
        """Return a role's agent reference, ``same:`` resolved."""
        return self.lineup[self.holder(role)]

    def holder(self, role: Role) -> Role:
        """Return the role whose policy a role uses: itself, unless its reference is ``same:``."""
        reference = self.lineup.get(role, "")
        return reference.removeprefix(SAME) if is_same(reference) else role

    def rl_algorithms(self, role: Role) -> tuple[OnPolicy, ...]:
        """Return a role's algorithms that learn from its episodes."""
        algorithms = filter(learns_from_rewards, self.train.get(role) or ())
        return tuple(cast(Iterable[OnPolicy], algorithms))

    def own(self, role: Role) -> Own | None:
        """Return the settings of a role's self-improving learner; None for other agents."""
        algorithms: tuple[object, ...] = self.train.get(role) or ()
        return next((rules for rules in algorithms if isinstance(rules, Own)), None)

    def supervised_algorithms(self, role: Role) -> tuple[Supervised, ...]:
        """Return a role's algorithms that learn from examples."""
        algorithms = filterfalse(learns_from_rewards, self.train.get(role) or ())
        return tuple(cast(Iterable[Supervised], algorithms))


def _require_raised(role: Role, learning: Sequence[Role]) -> None:
    """Raise unless exactly one policy is named for the generations."""
    roles = ", ".join(learning)
    if role and role not in learning:
        raise ValueError(
            f"generations_of={role}: the role {role} does not learn; name one that does "
            f"({roles}), or an algorithm for it: train.{role}=ppo"
        )
    if not role and len(learning) > 1:
        raise ValueError(
            "a chain of generations raises one policy, and several learn; say which: "
            f"generations_of={learning[0]} (there are {roles})"
        )


def read_settings(plain: Mapping[str, Any]) -> Settings:
    """Return checked settings from plain values, completed by defaults.

    Raises:
        InvalidOption: names every wrong key, its value and what is allowed.
    """
    # The defaults before any scenario's preset is filled in.
    completed = _completed(plain, Settings.model_construct())
    for name in PRESET:  # of the defaults' scenario until now
        completed[name] = plain.get(name)
    try:
        return Settings.model_validate(completed)
    except ValidationError as error:
        flaws = "; ".join(_flaw(flaw) for flaw in error.errors())
        raise InvalidOption(f"settings that make no sense: {flaws}") from error


def _flaw(flaw: Any) -> str:
    """Return key, value and the allowed values; whole sections are not printed."""
    key = ".".join(map(str, flaw["loc"]))
    value = "" if isinstance(flaw["input"], (Mapping, Section)) else f"={flaw['input']!r}"
    unknown = flaw["type"] == "extra_forbidden"
    message = unknown_key(key, keys()) if unknown else expected(flaw)
    return f"{key}{value}: {message}" if key else message


@cache
def keys() -> tuple[str, ...]:
    """Return all default keys, with dots, sections included."""
    return tuple(keys_in(Settings().model_dump(mode="json")))


def _completed(plain: Mapping[str, Any], defaults: Section) -> dict[str, Any]:
    """Complete sections by their own defaults."""
    full = {name: getattr(defaults, name) for name in type(defaults).model_fields}
    for name, value in plain.items():
        section = full.get(name)
        if isinstance(section, Section) and isinstance(value, Mapping):
            # Another algorithm has other settings: nothing of this one's is filled in.
            kind = getattr(section, "id", None)
            full[name] = (
                _completed(value, section) if value.get("id", kind) == kind else value
            )
        else:
            full[name] = value
    return full
