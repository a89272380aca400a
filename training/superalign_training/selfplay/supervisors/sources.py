"""Supervisors of a generation other than people, and their statements."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import exp
from typing import Any, NamedTuple

from superalign_agents.references import make_agent
from superalign_agents.transformer import TransformerAgent
from superalign_env.asking import Anyone
from superalign_env.canonical import content_hash
from superalign_env.errors import InvalidOption
from superalign_env.final_answers import in_one_wording, labels_of
from superalign_env.protocols import Agent, Scenario
from superalign_env.rollout import Rollouts
from superalign_env.types import Episode, Seat, Task, Utterance
from superalign_training.gap.level import Level, with_level_decoding
from superalign_training.oversight.labels import Statement
from superalign_training.oversight.settings import SignalSettings
from superalign_training.selfplay.agents import checkpoint_agent
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.settings import Settings

_LIVE = 256
"""Episodes played at once, decoded as one batch."""


class Supervisor(NamedTuple):
    """A source in a supervisor's seat."""

    source: str
    """Source of its statements: the hash of an agent."""
    agent: Anyone


def supervisors_of(context: StageContext, settings: Settings) -> list[Supervisor]:
    """Return personas, other models and ancestors (oldest first) as supervisors.

    Raises:
        UnknownId: no agent is called so.
        InvalidOption: a source that is named twice.
        RecordDamaged: the checkpoint of an ancestor is missing or was altered.
    """
    signals = settings.signals
    members = [
        Supervisor(content_hash(agent.spec), agent)
        for reference in (*signals.personas, *signals.models)
        for agent in [
            _at_own_temperature(make_agent(reference), reference, signals, settings.device)
        ]
    ]
    if signals.ancestors:
        members += [
            Supervisor(source, _at_own_temperature(agent, "", signals, settings.device))
            for source, agent in aligned_agents(context, settings)
        ]
    names = [member.source for member in members]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InvalidOption(
            f"the source {twice[0]} is named twice in signals.models and signals.personas; "
            "the same source twice adds no information: name another, or another seed of it"
        )
    return members


def student_seat(scenario: Scenario[Any]) -> Seat:
    """Return the student's seat, the last one."""
    return scenario.seats[-1]


def play_tasks(
    context: StageContext,
    scenario: Scenario[Any],
    members: Sequence[Supervisor],
    learner: Anyone,
    cases: int,
    *,
    part: str,
    tasks: Sequence[Task] | None = None,
) -> list[Episode]:
    """Play and record tasks that supervisors label and the learner answers.

    Episodes in which somebody failed are recorded, and left out of what is returned.

    Args:
        context: of the stage.
        scenario: with a seat for each supervisor.
        members: supervisors, in the order of the seats.
        learner: who answers.
        cases: how many tasks.
        part: of the stage.
        tasks: what to play; drawn when absent.
    """
    agents = [*(member.agent for member in members), learner]
    episodes = Rollouts(
        scenario,
        dict(zip(scenario.seats, agents, strict=True)),
        run=context.seed_of(part),
        generation=context.generation,
        round=context.round,
        live=_LIVE,
        timeout=context.timeout,
        sinks=[context.writer],
        tasks=tasks,
    ).run(cases)
    context.failures.count(episodes)
    return [episode for episode in episodes if not episode.failed]


def statements_of(
    scenario: Scenario[Any], episodes: Sequence[Episode], members: Sequence[Supervisor]
) -> list[Statement]:
    """Return one statement for each non-empty answer of a supervisor.

    Answers to one task that come to the same are in the words of the first.
    """
    # Members hold the first seats; the student's is the last.
    source = dict(zip(scenario.seats, [member.source for member in members], strict=False))
    statements = []
    for episode in episodes:
        turns = {u.turn: u for u in episode.utterances}
        statements += [
            Statement(
                episode.id,
                source[label.seat],
                label.text,
                probability_of(turns[label.turn]),
            )
            for label in labels_of(episode)
            if label.text.strip()
        ]
    return agreed(scenario, episodes, statements)


def agreed(
    scenario: Scenario[Any], episodes: Sequence[Episode], statements: Sequence[Statement]
) -> list[Statement]:
    """Return statements of which those that come to the same are in one wording.

    Args:
        scenario: whose source reads the answers.
        episodes: what the statements are about.
        statements: in any order, which is kept.
    """
    task = {episode.id: episode.task for episode in episodes}
    texts: dict[str, list[str]] = {}
    for statement in statements:
        texts.setdefault(statement.item, []).append(statement.answer)
    worded = {
        item: iter(in_one_wording(scenario.source, task[item], answers))
        for item, answers in texts.items()
    }
    return [
        statement._replace(answer=next(worded[statement.item])) for statement in statements
    ]


def answer_of(episode: Episode) -> Utterance:
    """Return the student's answer, the last utterance."""
    return episode.utterances[-1]


def probability_of(utterance: Utterance) -> float:
    """Return the probability of an utterance under its own policy; 1 without log-probs."""
    logprobs = utterance.reply.logprobs if utterance.reply is not None else ()
    return min(1.0, exp(sum(logprobs)))


def _at_own_temperature(
    agent: Anyone, reference: Any, signals: SignalSettings, device: str
) -> Anyone:
    """Set temperature and device of a supervisor's agent."""
    if isinstance(agent, TransformerAgent):
        options = reference if isinstance(reference, Mapping) else {}
        agent.temperature = float(options.get("temperature", signals.temperature))
        if "device" not in options:
            agent.model.to(device)  # type: ignore[arg-type] # transformers' own is narrower
    return agent


@contextmanager
def temperature_set(agent: TransformerAgent, temperature: float) -> Iterator[None]:
    """Set an agent's temperature within the context."""
    before = agent.temperature
    agent.temperature = temperature
    try:
        yield
    finally:
        agent.temperature = before


def aligned_agents(context: StageContext, settings: Settings) -> list[tuple[str, Agent]]:
    """Return (source, agent) of every accepted generation A_i⁺, oldest first."""
    return [
        (
            generation.checkpoint.agent,
            with_level_decoding(
                checkpoint_agent(context, generation.checkpoint, settings, part="aligned"),
                Level.of(settings.levels[generation.level]),
            ),
        )
        for generation in context.state.aligned
    ]
