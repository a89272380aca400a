"""A person is asked about a few answers of the round, through the queue that people use.

Labels count from the next stage on; nothing waits for them. A random slice is kept for
evaluation and never trained on.
"""

from collections.abc import Sequence

from superalign_env.errors import InvalidOption
from superalign_env.humans.selection import Candidate, select
from superalign_env.humans.simulated import SimulatedAnnotator, work_off
from superalign_env.measures import share
from superalign_env.protocols import HasGold
from superalign_env.seeding import generator
from superalign_env.types import Episode, Metric
from superalign_training.judging import last_answer
from superalign_training.loop.cast import recorded_agent
from superalign_training.loop.driver import Bench, Outcome
from superalign_training.loop.playing import stage_parts, stage_scenario
from superalign_training.settings import Settings

_CHOICE = 5
"""Candidates for every question: enough to choose from, few enough to read quickly."""


def annotate(bench: Bench, settings: Settings) -> Outcome:
    """Ask about a share of the answers that the learner gave in this round."""
    if not settings.budget:
        return Outcome(bench.chain, notes={"asked": 0})
    run = bench.run
    scenario = stage_scenario(settings, split="train")
    # Replayed exams are nobody's question.
    names = run.episode_ids(round=bench.round, split="train", scenario=scenario.id)
    budget = round(settings.budget * len(names))
    played = [
        episode
        for episode in run.named(_drawn(names, _CHOICE * budget, bench))
        if not episode.failed and last_answer(episode) is not None
    ]
    questions = select(
        [_candidate(episode) for episode in played],
        budget,
        bench.seed_of("selection"),
        random_share=settings.annotator.random_share,
        round=bench.round,
    )
    run.questions.ask(questions)
    annotator = SimulatedAnnotator(
        group=settings.annotator.group,
        accuracy=settings.annotator.accuracy,
        bias=settings.annotator.bias,
        seed=run.info.seed,
    )
    run.annotators.enroll(annotator.name, group=annotator.group, profile=annotator.profile)
    if not isinstance(scenario, HasGold):
        raise InvalidOption(
            f"nobody can simulate people in {scenario.id}: it has no gold; set budget=0 and "
            "let people answer with `superalign label`"
        )
    by_name = {episode.id: episode for episode in played}
    work_off(
        run.questions,
        annotator,
        episode_of=lambda name: by_name.get(name) or run.episode(name),
        scenario=scenario,
    )
    answered = run.questions.budget(round=bench.round).answered
    bought = Metric("people.answers", float(answered), step=bench.round)
    critic = recorded_agent(bench, stage_parts(settings).judges, settings)
    agreed = _agreement(bench, by_name, critic)
    return Outcome(bench.chain, (bought, *agreed), {"asked": len(questions)})


def _drawn(names: Sequence[str], count: int, bench: Bench) -> list[str]:
    """Return so many names, or all, drawn at random."""
    order = generator(bench.seed_of("candidates")).permutation(len(names))
    return [names[place] for place in sorted(order[:count].tolist())]


def _candidate(episode: Episode) -> Candidate:
    answer = last_answer(episode)
    turn = answer.turn if answer is not None else -1
    scores = {
        fact.seat: fact.verdict.score
        for fact in episode.judged
        if fact.verdict is not None and fact.about == turn
    }
    return Candidate(episode.id, turn, scores)


def _agreement(
    bench: Bench, episodes: dict[str, Episode], critic: str
) -> tuple[Metric, ...]:
    """Return how often critics agree with people on the random slice of this round."""
    questions = {
        question.id: question
        for question in bench.run.questions.all(answered=True)
        if question.round == bench.round and question.slice == "random"
    }
    agreed = []
    for signal in bench.run.signals.read(kind="label"):
        if signal.question in questions:
            scores = _candidate(episodes[signal.episode]).scores.values()
            agreed += [(score > 0.5) == (signal.value > 0.5) for score in scores]
    if not agreed:
        return ()
    return (
        Metric(
            "verdicts.agreement",
            *share(sum(agreed), len(agreed)),
            agent=critic,
            tags={"with": "human"},
            step=bench.round,
        ),
    )
