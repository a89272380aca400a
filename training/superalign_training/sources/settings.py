"""Which sources supervise, how they are combined, and what competence is taught on."""

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from superalign_training.algorithms.making import ExampleAlgorithm
from superalign_training.algorithms.weak_to_strong import WeakToStrong
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
    blind: tuple[str, ...] = ()
    """Words that they cannot tell apart: always the same mistakes, which a student learns."""


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
    algorithm: ExampleAlgorithm = WeakToStrong(steps=40, learning_rate=1e-3)
    """How the learner is taught the labels."""
    above: Share = 0.0
    """Least confidence of a label that is taught: below it the sources are not worth
    listening to, by their own record. People's answers have their own confidence."""
    least: Count = 8
    """Labels below which nothing is taught: the stage fails and says so."""
