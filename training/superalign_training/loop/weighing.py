"""What the gate sees of a generation: labels, critics, archived attackers. Never the truth."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from superalign_agents.archive import normalised
from superalign_env.errors import Halted
from superalign_env.measures import Estimate, share
from superalign_env.protocols import Agent
from superalign_env.seeding import generator
from superalign_env.store.questions import question_id
from superalign_env.types import Episode, Metric, Question, Signal
from superalign_scenarios.weak_to_strong import key_of
from superalign_training.alarms import Labelled, Speech
from superalign_training.league import load, members
from superalign_training.loop.archive import searcher
from superalign_training.loop.cast import agent_of, checkpoint_agent, shelf_of
from superalign_training.loop.driver import Bench
from superalign_training.loop.panel import (
    answer_of,
    lesson_scenario,
    panel,
    play_lessons,
    said_by_members,
    speaking,
)
from superalign_training.loop.people import People
from superalign_training.loop.sandbox import Sandbox
from superalign_training.mixture import Mixture
from superalign_training.risks import (
    PLAIN,
    Deployed,
    Opinions,
    Sat,
    deployed,
    disputed,
    hazards_in,
    is_refusal,
    kept,
)
from superalign_training.settings import Settings
from superalign_training.sources.combining import combine
from superalign_training.sources.reliability import reliability

Item = TypeVar("Item")

SEARCH = "search"
"""Name of the archive of attacks among the opponents."""


class Competence(NamedTuple):
    """Whether what was learned before conformity is still there."""

    kept: Estimate | None
    speech: Mapping[str, Speech]
    """Family → what was said by both sides."""
    unsaid: int = 0
    """Questions to people that are still open."""


class Requests(NamedTuple):
    """How plain requests of the gate split are answered."""

    conformity: Mapping[str, Estimate]
    labelled: Sequence[Labelled]
    held_out: Estimate | None
    """Share that critics call bad."""
    unsaid: int = 0
    """Questions to people that are still open."""


class Deployment(NamedTuple):
    """How the finished generation stands archived attackers, on the training split."""

    broken: Estimate | None
    rate: Estimate | None
    """Of bad answers, plain requests included."""
    trained_on: Estimate | None
    """Of bad answers to plain requests."""
    opponents: Mapping[str, Estimate]


def weigh_competence(bench: Bench, settings: Settings) -> Competence:
    """Compare A_i⁺ with A_i⁻ on tasks of the gate split, by people's and sources' labels."""
    before = bench.chain.before
    if before is None:
        return Competence(None, {})
    if before.weights == bench.chain.policies["learner"].weights:
        return Competence(Estimate(0.0, 0.0, 0.0, 0), {})
    rules, voice = settings.gate, settings.signals.temperature
    sources = panel(bench, settings)
    scenario = lesson_scenario(settings, "gate", len(sources))
    after = agent_of(bench, "learner", settings)
    with speaking(after, voice):
        now = play_lessons(
            bench, scenario, sources, after, rules.cases, part="competence-after"
        )
    tasks = [episode.task for episode in now]
    earlier = checkpoint_agent(bench, before, settings, part="before")
    paper = lesson_scenario(settings, "gate", 0)
    with speaking(earlier, voice):
        then = play_lessons(
            bench,
            paper,
            (),
            earlier,
            len(tasks),
            part="competence-before",
            tasks=tasks,
        )
    pairs = _pairs(now, then)
    sat = [
        Sat(one.id, key_of(answer_of(two).text), key_of(answer_of(one).text))
        for one, two in pairs
    ]
    voices = said_by_members(now, sources)
    rule = settings.signals.combine if sources else "majority"
    found = combine(voices, rule, reliability=reliability(voices))
    opinions = {one.item: Opinions(consensus=key_of(one.answer)) for one in found}
    open_ = {one.item for one in disputed(sat)}
    asked = _some(
        [p for p in pairs if p[0].id in open_], rules.disputes // 2, bench, "disputes"
    )
    people = People(bench, settings.signals.people)
    about_new = [_label_of(one, bench.round) for one, _ in asked]
    about_old = [_label_of(two, bench.round) for _, two in asked]
    new = people.ask(scenario, now, about_new)
    old = people.ask(paper, then, about_old)
    on_new, on_old = ({s.episode: s.value for s in said} for said in (new, old))
    for one, two in asked:
        known = opinions.get(one.id, Opinions())
        opinions[one.id] = known._replace(
            before=on_old.get(two.id), after=on_new.get(one.id)
        )
    unsaid = _unsaid(bench, [*about_new, *about_old], [*new, *old])
    return Competence(kept(sat, opinions), _speech(pairs), unsaid)


def weigh_requests(bench: Bench, settings: Settings, learner: Agent) -> Requests:
    """Have plain requests of the gate split answered; people label some of the answers."""
    rules = settings.gate
    sandbox = Sandbox(bench, settings, "gate")
    episodes = sandbox.asked(learner, rules.requests, part="requests")
    answers = deployed(episodes, lambda case: PLAIN)
    chosen = _some(answers, rules.people, bench, "requests")
    questions = [_label(one.episode, one.turn, bench.round) for one in chosen]
    people = People(bench, settings.signals.people)
    said = people.ask(sandbox.plain, episodes, questions)
    by_name = {one.episode: one for one in answers}
    labelled = [
        Labelled(s.value, by_name[s.episode].score, is_refusal(by_name[s.episode].answer))
        for s in said
    ]
    bad = len(hazards_in(answers, settings.discover.below))
    return Requests(
        _by_kind(said, by_name),
        labelled,
        share(bad, len(answers)) if answers else None,
        _unsaid(bench, questions, said),
    )


def await_people(bench: Bench, settings: Settings, unsaid: int) -> None:
    """Stop where only real people are asked, until they have answered what was asked.

    Raises:
        Halted: says how they answer, and how the run goes on.
    """
    who = settings.signals.people
    if unsaid and who and not any(person.simulated for person in who):
        path = bench.run.path
        raise Halted(
            f"the gate of generation {bench.generation} waits for {unsaid} answers of "
            f"people: `superalign label {path} --as NAME`, then continue with --resume "
            f"run_dir={path} (gate.people=0 gate.disputes=0 would ask nobody)"
        )


def weigh_deployment(bench: Bench, settings: Settings, learner: Agent) -> Deployment:
    """Deploy the learner once more: plain requests, and every archived attacker."""
    cases = settings.gate.deployed
    if not cases:
        return Deployment(None, None, None, {})
    field = archived(bench, settings)
    mixture = Mixture(field, seed=bench.seed_of("opponents"))
    episodes = Sandbox(bench, settings).attacked(
        learner, mixture, cases, part="deployed", vanilla=settings.discover.vanilla
    )
    answers = deployed(episodes, mixture.chosen)
    below = settings.discover.below
    attacked = [one for one in answers if one.asked_by != PLAIN]
    return Deployment(
        _bad(attacked, below),
        _bad(answers, below),
        _bad([one for one in answers if one.asked_by == PLAIN], below),
        {
            name: found
            for name in field
            for found in [_bad([one for one in attacked if one.asked_by == name], below)]
            if found is not None
        },
    )


def archived(bench: Bench, settings: Settings) -> dict[str, Agent]:
    """Return the attackers that a generation has to stand: name → agent.

    The search with its archive, and the checkpoints that attackers have had; of more than
    ``gate.opponents`` the others are drawn.
    """
    current = bench.chain.policies["attacker"].agent
    league = [
        member
        for member in members(bench.run.agents, "attacker", current=current)
        if member.spec.id != SEARCH
    ]
    drawn = _some(league, settings.gate.opponents - 1, bench, "opponents")
    shelf = shelf_of(bench, settings)
    field: dict[str, Agent] = {SEARCH: searcher(bench)}
    for member in drawn:
        now = member.name == current
        field[member.name] = (
            agent_of(bench, "attacker", settings) if now else load(member, shelf)
        )
    return field


def opponent_metrics(found: Deployment, *, agent: str, step: int) -> list[Metric]:
    """Return how often each archived attacker succeeded, as critics say."""
    return [
        Metric("gate.attacked", *estimate, agent=agent, opponent=name, step=step)
        for name, estimate in found.opponents.items()
    ]


def _pairs(
    now: Sequence[Episode], then: Sequence[Episode]
) -> list[tuple[Episode, Episode]]:
    """Return the episodes of both sides, task by task; who failed is left out."""
    by_place = {episode.key.case: episode for episode in then}
    return [(one, by_place[place]) for place, one in enumerate(now) if place in by_place]


def _speech(pairs: Sequence[tuple[Episode, Episode]]) -> dict[str, Speech]:
    families = sorted({one.task.family for one, _ in pairs})
    return {
        family: Speech(
            [answer_of(one).text for one, _ in pairs if one.task.family == family],
            [answer_of(two).text for one, two in pairs if one.task.family == family],
        )
        for family in families
    }


def _by_kind(
    said: Sequence[Signal], answers: Mapping[str, Deployed]
) -> dict[str, Estimate]:
    """Return kind → share that people call good.

    The kind is what was answered; where people name a dimension, that counts besides.
    """
    values: dict[str, list[float]] = {}
    for signal in said:
        refused = is_refusal(answers[signal.episode].answer)
        values.setdefault("refused" if refused else "complied", []).append(signal.value)
        named = normalised(str(signal.payload.get("dimension", "")))
        if named:
            values.setdefault(named, []).append(signal.value)
    return {
        kind: share(sum(value > 0.5 for value in found), len(found))
        for kind, found in values.items()
    }


def _bad(answers: Sequence[Deployed], below: float) -> Estimate | None:
    return share(len(hazards_in(answers, below)), len(answers)) if answers else None


def _label_of(episode: Episode, round: int) -> Question:
    return _label(episode.id, answer_of(episode).turn, round)


def _label(episode: str, turn: int, round: int) -> Question:
    """Return the question how good an answer is; its label is never trained on."""
    return Question(
        question_id("label", episode, turn),
        "label",
        episode,
        turn,
        slice="random",
        priority=2.0,
        why="random slice",
        round=round,
    )


def _unsaid(bench: Bench, asked: Sequence[Question], said: Sequence[Signal]) -> int:
    """Return how many questions nobody answered, nor skipped."""
    closed = {signal.question for signal in (*said, *bench.run.signals.read(kind="skip"))}
    return sum(question.id not in closed for question in asked)


def _some(items: Sequence[Item], count: int, bench: Bench, part: str) -> list[Item]:
    """Return so many items, or all, drawn at random, in their order."""
    order = generator(bench.seed_of(f"some-{part}")).permutation(len(items)).tolist()
    return [items[place] for place in sorted(order[: max(0, count)])]
