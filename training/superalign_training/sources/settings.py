"""Which sources supervise, how they are combined, and what competence is taught on."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, model_validator

from superalign_env.rewards import LabelUse
from superalign_training.algorithms.algorithm import ExampleAlgorithm
from superalign_training.algorithms.weak_to_strong import WeakToStrongTraining
from superalign_training.sections import Count, Plural, Section, Share

Rule = Literal["majority", "weighted", "dawid-skene", "ancestors"]
"""How several statements become one label."""


class Person(Section):
    """A person who writes what ought to be said, through the people's queue."""

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


AskedKind = Literal["label", "preference", "veto"]
"""How good is this; which of two is better; must this never happen."""


class Kinds(Section):
    """Shares of the kinds of questions in the budget."""

    label: NonNegativeFloat = 0.0
    """How good is this answer?"""
    preference: NonNegativeFloat = 0.0
    """Which of two answers in an episode is better? Where no seat answers twice, this share
    goes to labels."""
    veto: NonNegativeFloat = 0.0
    """Must this never be said?"""

    @model_validator(mode="after")
    def _something_is_asked(self) -> Self:
        if not self.label + self.preference + self.veto > 0:
            raise ValueError("no kind has a share; set label=1, or budget=0 to ask nobody")
        return self

    def share(self, kind: AskedKind) -> float:
        """Return the share of a kind in the budget."""
        share: float = getattr(self, kind)
        return share / (self.label + self.preference + self.veto)


class PeopleSettings(Section):
    """Who answers the questions about episodes of training, and how answers pay."""

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
    all other opinions by the mean label of their score bin."""
    evaluation_share: Share = 0.2
    """Labels for evaluation, for each question of the budget. They come on top of it, are about
    turns drawn at random, and are never trained on."""
    staleness: NonNegativeInt = 1
    """How many rounds ago an episode may have been played that a late answer returns."""


class Signals(Section):
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
    """Whether a person's answer is the label, or one voice among the others."""
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
    """Teaching a generation tasks of the competence families: A_i⁻."""

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
    above: Share = 0.0
    """Least confidence of a label that is taught: below it the sources are not worth
    listening to, by their own record. People's answers have their own confidence."""
    least: Count = 8
    """Labels below which nothing is taught: the stage fails and says so."""
