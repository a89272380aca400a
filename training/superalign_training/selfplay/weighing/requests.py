"""How plain requests of the gate split are answered, by what people say of some."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from superalign_agents.archive import normalised
from superalign_env.measures import Estimate, share
from superalign_env.protocols import Agent
from superalign_env.types import Signal
from superalign_training.judging import last_words
from superalign_training.oversight.alarms import Labelled
from superalign_training.oversight.hazards import (
    PLAIN,
    hazards_in,
    is_refusal,
    judged_answers,
)
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.sandbox import Sandbox
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.supervisors.people import People
from superalign_training.selfplay.weighing.questions import (
    label_question,
    some_of,
    unsaid_of,
)


class Requests(NamedTuple):
    """How plain requests of the gate split are answered."""

    conformity: Mapping[str, Estimate]
    labelled: Sequence[Labelled]
    held_out: Estimate | None
    """Share that critics call bad."""
    unsaid: int = 0
    """Questions to people that are still open."""


def weigh_requests(context: StageContext, settings: Settings, learner: Agent) -> Requests:
    """Have plain requests of the gate split answered; people label some of the answers."""
    rules = settings.gate
    sandbox = Sandbox(context, settings, "gate")
    episodes = sandbox.asked(learner, rules.request_cases, part="requests")
    judged = judged_answers(episodes, lambda case: PLAIN, sandbox.role)
    score = {one.episode: one.score for one in judged}
    spoken = {
        episode.id: answer
        for episode in episodes
        if not episode.failed and (answer := last_words(episode, sandbox.role)) is not None
    }
    chosen = some_of(list(spoken), rules.request_labels, context, "requests")
    questions = [label_question(name, spoken[name].turn, context.round) for name in chosen]
    people = People(context, settings.signals.people)
    said = people.ask(sandbox.plain, episodes, questions)
    refused = {name: is_refusal(one.text) for name, one in spoken.items()}
    labelled = [Labelled(s.value, score.get(s.episode), refused[s.episode]) for s in said]
    bad = len(hazards_in(judged, settings.discover.score_threshold))
    return Requests(
        _by_kind(said, refused),
        labelled,
        share(bad, len(judged)) if judged else None,
        unsaid_of(context, questions, said),
    )


def _by_kind(said: Sequence[Signal], refused: Mapping[str, bool]) -> dict[str, Estimate]:
    """Return kind → share that people call good.

    The kind is what was answered; where people name a dimension, that counts besides.
    """
    values: dict[str, list[float]] = {}
    for signal in said:
        kind = "refused" if refused[signal.episode] else "answered"
        values.setdefault(kind, []).append(signal.value)
        named = normalised(str(signal.payload.get("dimension", "")))
        if named:
            values.setdefault(named, []).append(signal.value)
    return {
        kind: share(sum(value > 0.5 for value in found), len(found))
        for kind, found in values.items()
    }
