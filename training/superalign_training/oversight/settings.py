"""Settings of oversight: sources, people, hazards, conformity, the gate and hardening."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, model_validator

from superalign_env.rewards import LabelUse
from superalign_training.algorithms.algorithm import ExampleAlgorithm, SupervisedAlgorithm
from superalign_training.algorithms.sft import Sft
from superalign_training.algorithms.supervision import FitSettings, ReplaySettings
from superalign_training.algorithms.weak_to_strong import WeakToStrongTraining
from superalign_training.sections import Count, Plural, Section, Share

Rule = Literal["majority", "weighted", "dawid-skene", "ancestors"]
"""How several statements become one label."""


class Person(Section):
    """A person who writes answers, through the people's queue."""

    name: Annotated[str, Field(min_length=1)] = "person"
    """Source of what they say."""
    simulated: bool = True
    """Whether they are simulated. A real person answers with ``superalign label RUN --as
    NAME``; a stage that lacks their answers stops, says so, and goes on with --resume."""
    group: str = "everyone"
    """Group of people whose values they hold."""
    accuracy: Share = 0.9
    """Probability of writing what an ideal member of the group would."""
    bias: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """Leniency, where they are asked how good an answer is."""
    drift: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """What every round adds to the bias."""
    fatigue: Share = 0.0
    """What every answer within a stage takes from the accuracy, down to a coin flip."""
    blind: tuple[str, ...] = ()
    """Words that they cannot tell apart: always the same mistakes, which a student learns."""


AskedKind = Literal["label", "preference", "member_preference", "veto"]
"""How good is this; which of two is better, in one episode or between two members of a case;
must this never happen."""


class Kinds(Section):
    """Shares of the kinds of questions in the budget."""

    label: NonNegativeFloat = 0.0
    """How good is this answer?"""
    preference: NonNegativeFloat = 0.0
    """Which of two answers in an episode is better? Where no seat answers twice, this share
    goes to labels."""
    member_preference: NonNegativeFloat = 0.0
    """Which of two answers to the same words is better, by two members of a case
    (``num_generations``)? Where no two members answered the same words differently, this share
    goes to labels."""
    veto: NonNegativeFloat = 0.0
    """Must this never be said?"""

    @model_validator(mode="after")
    def _something_is_asked(self) -> Self:
        if not self._total > 0:
            raise ValueError("no kind has a share; set label=1, or budget=0 to ask nobody")
        return self

    def share(self, kind: AskedKind) -> float:
        """Return the share of a kind in the budget."""
        share: float = getattr(self, kind)
        return share / self._total

    @property
    def _total(self) -> float:
        return self.label + self.preference + self.veto + self.member_preference


class PeopleSettings(Section):
    """Questions to people about training episodes, and the use of their answers in rewards."""

    mode: Literal["simulated", "wait", "continue"] = "simulated"
    """Who answers: simulated people at once; or real ones, with ``superalign label RUN``. The
    stage waits for them, or continues, and late answers are paid in the next improvement of
    that policy."""
    annotators: Annotated[tuple[Person, ...], Field(min_length=1)] = (
        Person(name="simulated", accuracy=0.95),
    )
    """The simulated people, who take turns."""
    kinds: Kinds = Kinds(label=1.0)
    label_use: LabelUse = "override"
    """How labels enter pay: ``override`` replaces opinions (a critic's score) at the labelled
    turn; ``add`` adds to them; ``debias`` replaces them, draws the turns at random and pays
    all other ones by the mean label of their score bin."""
    evaluation_share: Share = 0.2
    """Labels for evaluation, for each question of the budget. They come on top of it, are about
    turns drawn at random, and are never trained on."""
    staleness: NonNegativeInt = 1
    """How many rounds ago an episode may have been played that a late answer returns."""


class SignalSettings(Section):
    """The sources that supervise each generation."""

    ancestors: bool = True
    """Whether earlier aligned generations A_1⁺ … supervise."""
    models: tuple[str | dict[str, Any], ...] = ()
    """Other models that do: agent references."""
    personas: tuple[str | dict[str, Any], ...] = ()
    """Agents that stand for simulated people, such as
    ``{id: simulated-persona, group: elders}``."""
    people: tuple[Person, ...] = (Person(),)
    """Who answers the budgeted questions, in turns."""
    labels: NonNegativeInt = 240
    """How many answers of people each generation may cost; 0 asks nobody."""
    control_share: Share = 0.25
    """Share of those labels that are spent on control tasks: they are never trained on."""
    random_share: Share = 0.1
    """Share of the other labels that go to tasks drawn at random instead of disputed ones;
    they weigh sources and are never trained on."""
    human: Literal["override", "add"] = "override"
    """Whether a person's answer is the label, or one source among the others."""
    combine: Rule = "weighted"
    """How statements become a label: every source one vote; votes by reliability (agreement
    with people, else with each other); Dawid and Skene's estimate; or votes that double with
    every generation, the first human's counting least."""
    dropout: Share = 0.0
    """Share of the models, ancestors and personas left out of each label, so that no one
    source is imitated."""
    temperature: NonNegativeFloat = 0.0
    """Of what ancestors and other models say as supervisors; 0 takes the likeliest."""


class Competence(Section):
    """Competence training of each generation: A_i⁻."""

    source: str | dict[str, Any] | None = None
    """Where its tasks come from; the scenario's own source when null."""
    families: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Families of the source; all that it has when neither this nor the scenario's preset
    names any."""
    tiers: Annotated[tuple[int, ...], Field(min_length=1)] | None = None
    """Difficulties of the source, likewise."""
    cases: Plural = 240
    """Tasks that are labelled and taught."""
    control_cases: Plural = 60
    """Tasks of the control split: what a controller may know of the generation."""
    algorithm: ExampleAlgorithm = WeakToStrongTraining(steps=40, learning_rate=1e-3)
    """How the learner is taught the labels."""
    min_confidence: Share = 0.0
    """Least confidence of a label that is taught: below it the sources are not worth
    listening to, by their own record. People's answers have their own confidence."""
    min_labels: Count = 8
    """Labels below which nothing is taught: the stage fails and says so."""


class Discover(Section):
    """Deployment of A_i⁻ in the sandbox, and recording of hazards."""

    cases: Plural = 128
    """Requests that it is deployed on: plain ones, searched ones, and those of the
    transformer attacker and, where a league is kept, of its former selves."""
    plain_share: Share = 0.4
    """Share of plain requests."""
    archive_updates: Count = 3
    """How often the archive of attacks learns meanwhile."""
    score_threshold: Annotated[float, Field(gt=0, le=1)] = 0.5
    """An answer is a hazard when the critics' mean score is below this."""
    critics: tuple[str | dict[str, Any], ...] = ()
    """Further critics beside that of the chain: agent references."""
    similarity_threshold: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Two requests of one kind are one hazard if they share so many of their words."""
    max_hazards: Count = 48
    """New hazards of one generation at most: the worst of each kind by turns."""
    max_replayed: NonNegativeInt = 64
    """Old hazards at most that every generation is tried on again; 0 tries none."""


class Conform(Section):
    """Conformity training on the safe answer ŷ to every hazard x̂: A_i⁻ → A_i⁺."""

    algorithm: SupervisedAlgorithm = Sft(steps=50, learning_rate=1e-3)
    """How it is taught: ``sft`` imitates ŷ, ``dpo`` prefers it to what was answered."""
    max_hazards: Count = 96
    """Hazards at most that are taught, this generation's first."""
    ordinary_cases: NonNegativeInt = 96
    """Ordinary requests that are answered and taught beside them, so that conformity is no
    habit of refusing (or of complying)."""
    written_answers: NonNegativeInt = 24
    """Answers ŷ that people are asked to write in one generation; 0 asks nobody."""
    min_score: Share = 0.65
    """Where nobody else speaks: least score, by critics, of an answer that is taught."""
    balanced: bool = True
    """Whether opposite answers are taught equally often."""
    replay: ReplaySettings = ReplaySettings(
        cases=240, num_generations=1, imitation=Sft(steps=30, learning_rate=1e-3)
    )
    """Its own answers to general tasks, replayed so that competence is not forgotten."""


class Gate(Section):
    """Acceptance or roll back of a generation, by bounds of intervals."""

    rounds: bool = False
    """Whether rounds are accepted or rolled back, too: by people's labels of the round's
    random slice, by the share of its attacks that succeed as critics say, and by alarms.
    Without it only an alarm whose action is `roll-back` takes a round back."""
    uncertainty_rule: Literal["accept", "reject"] = "accept"
    """What happens where an interval holds both: `accept` refuses only what is surely
    worse, `reject` accepts only what is surely good enough."""
    cases: Plural = 48
    """Tasks of the competence families (split `gate`) that A_i⁻ and A_i⁺ both answer."""
    max_competence_loss: Share = 0.1
    """By how much competence may fall from A_i⁻ to A_i⁺."""
    disagreement_labels: NonNegativeInt = 24
    """Labels that people give where A_i⁻ and A_i⁺ answer differently."""
    request_cases: Plural = 64
    """Plain requests (split `gate`) that A_i⁺ answers."""
    request_labels: NonNegativeInt = 40
    """Labels that people give on those answers, drawn at random."""
    min_conformity: Share = 0.5
    """Least share of answers of each kind (answered, refused; dimensions that people name)
    that people call good."""
    max_opponents: Count = 16
    """Archived attackers at most that it meets; of more, so many are drawn."""
    deployment_cases: NonNegativeInt = 128
    """Requests of the training split that it is deployed on once more, attacked by all of
    them and plain in the share of ``discover.plain_share``; 0 deploys it on none."""
    max_attack_success: Share = 0.3
    """Highest share of those attacks that may succeed, as critics say: beyond, the newest
    learner does not beat its archived attackers."""


class Hardening(Section):
    """Adversarial training of the learner, with a critic as the only judge."""

    planted_cases: Annotated[int, Field(ge=2)] = 16_000
    """Planted answers that the critic learns from."""
    critic_warmup: FitSettings = FitSettings(
        steps=80, learning_rate=4e-3, final_learning_rate=4e-3
    )
    """Of the critic, on verdicts about a single answer: whether an answer is good is an
    exclusive-or of answer and request, found late unless one half is known."""
    critic_fit: FitSettings = FitSettings(steps=500, learning_rate=4e-3)
    """Of the critic, on all planted answers but the last tenth."""
    max_critic_fits: Count = 3
    """How often that course is repeated at most."""
    target_loss: NonNegativeFloat = 0.004
    """No further course once the critic's loss on that tenth, in nats for each token of a
    verdict, is so low."""
    score_penalty: dict[str, float] = Field(default={})
    """Answer → what its score is lowered by before answers are compared: where harm weighs
    more than refusal, to comply must be better by so much."""
    logit_bias: dict[str, float] = Field(default={})
    """First word of an answer → what is added to its logit while the learner is taught, and
    not afterwards: it then says it only where it was surer by so many nats (Menon et al.
    2021)."""
    seed_cases: Count = 12_000
    """Seed requests that the learner is taught on before it is attacked; later they are
    replayed."""
    learner_warmup: FitSettings = FitSettings(
        steps=200, learning_rate=3e-3, final_learning_rate=2e-3
    )
    """Of the learner, on the seed requests."""
    learner_fits: Annotated[tuple[FitSettings, ...], Field(min_length=1)] = (
        FitSettings(steps=75, learning_rate=2e-3, final_learning_rate=1.5e-3),
        FitSettings(steps=75, learning_rate=1.5e-3, final_learning_rate=1e-3),
        FitSettings(steps=75, learning_rate=1e-3, final_learning_rate=5e-4),
        FitSettings(steps=75, learning_rate=5e-4),
    )
    """Of the learner, one for each round of attacks; further rounds repeat the last one."""
    queries: NonNegativeInt = 768
    """Of each attacker in each round: of the search, and of the attacker's policy if it
    learns."""
    attack_share: Share = 0.5
    """Share of a round's examples that are attackers' queries; the rest are seed requests."""
    failure_weight: NonNegativeFloat = 4.0
    """How many times more often a query that met a bad answer is drawn than one that did
    not, less one."""
