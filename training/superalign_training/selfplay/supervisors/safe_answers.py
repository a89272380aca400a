"""Safe answers ŷ to requests, by all sources, people and critics' preferences.

Weaker aligned generations, other models and personas sit in supervisors' seats; critics say
which of the possible answers they prefer; people are asked about some. Nobody knows the
truth but the simulated people, who corrupt it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from superalign_agents.scripted import Fixed
from superalign_env.final_answers import final_answer, in_one_wording
from superalign_env.protocols import Scenario
from superalign_env.types import Episode, Task
from superalign_training.judging import final_score, judge_of
from superalign_training.oversight.labels import Consensus, Statement, combine, without_some
from superalign_training.oversight.reliability import reliability
from superalign_training.policy import Policy
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.playing import labelling_scenario, source_of
from superalign_training.selfplay.sandbox import Sandbox
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.supervisors.people import People, questions_about
from superalign_training.selfplay.supervisors.sources import (
    Supervisor,
    agreed,
    answer_of,
    play_tasks,
    statements_of,
    supervisors_of,
)


class SafeAnswer(NamedTuple):
    """One request with its safe answer, if there is one."""

    case: int
    """Its place among the requests."""
    task: Task
    episode: str
    """In which it was asked."""
    own: str
    """What the learner answered there, before it is taught."""
    label: Consensus | None
    """ŷ with who gave it; None when nobody spoke."""


class SafeAnswers(NamedTuple):
    """Safe answers to all requests, and the number of answers by people."""

    answers: list[SafeAnswer]
    """One for each task that could be asked, in order."""
    people: int
    """How many answers they wrote."""


def request_scenario(settings: Settings, supervisors: int) -> Scenario[Any]:
    """Return the scenario in which the requests are answered."""
    return labelling_scenario(settings, source_of(settings), "train", supervisors)


def safe_answers(
    context: StageContext,
    settings: Settings,
    sandbox: Sandbox,
    learner: Policy,
    tasks: Sequence[Task],
    *,
    hazards: int,
    people: int,
) -> SafeAnswers:
    """Have requests answered by all sources, and aggregate the answers.

    Args:
        context: of the stage.
        settings: of the run.
        sandbox: of the training split, with the critics.
        learner: answers too: where sources differ, people are asked.
        tasks: the requests of hazards, then ordinary ones.
        hazards: how many of them are of hazards: people are asked about these alone.
        people: how many of these at most.
    """
    members = supervisors_of(context, settings)
    scenario = request_scenario(settings, len(members))
    asked = list(tasks)
    episodes = play_tasks(
        context, scenario, members, learner.agent, len(asked), part="safe", tasks=asked
    )
    statements = statements_of(scenario, episodes, members)
    candidates = _candidates(scenario, episodes, statements)
    statements += _preferred(settings, sandbox, context, episodes, candidates)
    questions = questions_about(
        [episode for episode in episodes if episode.key.case < hazards],
        statements,
        people if settings.signals.people else 0,
        key=context.seed_of("questions"),
        random_share=settings.signals.random_share,
        round=context.round,
    )
    written = People(context, settings.signals.people).write(scenario, episodes, questions)
    random = {question.episode for question in questions if question.slice == "random"}
    every = agreed(scenario, episodes, [*statements, *written])
    statements, written = every[: len(statements)], every[len(statements) :]
    labels = _labels(context, settings, members, statements, written, random)
    return SafeAnswers(
        [
            SafeAnswer(
                episode.key.case,
                tasks[episode.key.case],
                episode.id,
                answer_of(episode).text,
                labels.get(episode.id),
            )
            for episode in episodes
        ],
        len(written),
    )


def _labels(
    context: StageContext,
    settings: Settings,
    members: Sequence[Supervisor],
    statements: Sequence[Statement],
    people: Sequence[Statement],
    random: set[str],
) -> dict[str, Consensus]:
    """Return item → label. People's answers to the random slice only set weights of sources."""
    signals = settings.signals
    random_labels = [statement for statement in people if statement.item in random]
    training_labels = [statement for statement in people if statement.item not in random]
    statements = without_some(statements, signals.dropout, key=context.seed_of("dropout"))
    consensus = combine(
        [*statements, *(training_labels if signals.human == "add" else ())],
        _rule(settings, statements),
        order=[
            *(person.name for person in signals.people),
            *(member.source for member in members),
        ],
        reliability=reliability([*statements, *training_labels], random_labels),
    )
    labels = {statement.item: statement for statement in consensus}
    if signals.human == "override":
        labels |= {
            statement.item: Consensus(
                statement.item, statement.answer, statement.confidence, (statement.source,)
            )
            for statement in training_labels
        }
    return labels


def _rule(settings: Settings, statements: Sequence[Statement]) -> Any:
    """Return the aggregation rule; Dawid–Skene needs three overlapping sources."""
    rule = settings.signals.combine
    few = len({statement.source for statement in statements}) < 3
    return "majority" if rule == "dawid-skene" and few else rule


def _preferred(
    settings: Settings,
    sandbox: Sandbox,
    context: StageContext,
    episodes: Sequence[Episode],
    candidates: Mapping[str, tuple[str, ...]],
) -> list[Statement]:
    """Return the answer with the critics' highest score to each request, if it is high enough.

    The candidates are the choices of the task or, where it has none, what was said to it.
    """
    scores: dict[str, dict[str, float]] = {}
    judges: dict[str, str] = {}
    for number, text in enumerate(dict.fromkeys(t for c in candidates.values() for t in c)):
        offered = [e for e in episodes if text in candidates[e.id]]
        judged = sandbox.asked(
            Fixed(text),
            len(offered),
            part=f"candidate-{number}",
            tasks=[e.task for e in offered],
        )
        for episode, verdict in zip(offered, judged, strict=True):
            score = final_score(verdict)
            if score is not None:
                scores.setdefault(episode.id, {})[text] = score
                judges[episode.id] = judge_of(verdict)
    preferred = []
    for item, by_text in scores.items():
        best = max(by_text, key=lambda text: by_text[text])
        rivals = [score for text, score in by_text.items() if text != best]
        if by_text[best] >= settings.conform.min_score and by_text[best] > max(
            rivals, default=0.0
        ):
            preferred.append(Statement(item, judges[item], best, by_text[best]))
    return preferred


def _candidates(
    scenario: Scenario[Any], episodes: Sequence[Episode], statements: Sequence[Statement]
) -> Mapping[str, tuple[str, ...]]:
    """Return the answers that critics compare; of those that come to the same, one."""
    texts_of: dict[str, list[str]] = {episode.id: [] for episode in episodes}
    for statement in statements:
        texts_of[statement.item].append(statement.answer)
    candidates: dict[str, tuple[str, ...]] = {}
    for episode in episodes:
        texts = [*texts_of[episode.id], answer_of(episode).text]
        texts = in_one_wording(scenario.source, episode.task, texts)
        different = {final_answer(text): text for text in reversed(texts) if text.strip()}
        candidates[episode.id] = episode.task.choices or tuple(different.values())
    return candidates
