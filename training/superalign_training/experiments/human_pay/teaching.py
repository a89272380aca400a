"""Stages of the arms: practice by pay, imitation of what people liked or wrote, vetoes."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from superalign_env.humans.selection import choose
from superalign_env.protocols import Scenario
from superalign_env.seeding import generator, label, mix
from superalign_env.types import Episode, Signal, role_of
from superalign_training.algorithms.sft import Sft
from superalign_training.experience import Example, Row, training_rows
from superalign_training.experiments.engine.experiment import Params
from superalign_training.experiments.human_pay.flawed_critic import asked_verb
from superalign_training.loop.cast import keep_policy, lineup_of, policy_of
from superalign_training.loop.driver import Bench, Outcome
from superalign_training.loop.playing import first_view, play, stage_scenario
from superalign_training.loop.practice import Drill, practise
from superalign_training.loop.supervisors.candidates import askable
from superalign_training.loop.supervisors.hearing import Hearing
from superalign_training.loop.supervisors.people import People
from superalign_training.policy import Policy
from superalign_training.settings import Settings

SEAT = "learner_0"


def _scenario(settings: Settings) -> Scenario[Any]:
    return stage_scenario(settings, split="train", variant="plain")


def by_pay(bench: Bench, settings: Settings, params: Params) -> Outcome:
    """Let the learner practise; see `superalign_training.loop.practice`."""
    policy = policy_of(bench, "learner", settings)
    agents = {**lineup_of(bench, settings), "learner": policy.agent}
    drill = Drill("learner", _scenario(settings), agents, "learn")
    shaping = (
        partial(permuted, key=bench.seed_of("permuted")) if params["permuted"] else None
    )
    (algorithm,) = settings.by_pay("learner")
    done = practise(bench, settings, bench.chain, policy, drill, algorithm, shaping=shaping)
    return Outcome(keep_policy(bench, done.chain, "learner", policy), done.metrics)


def permuted(rows: Sequence[Row], *, key: int) -> list[Row]:
    """Return rows among which the pay of labelled ones is permuted; others pay near nothing."""
    places = [place for place, row in enumerate(rows) if abs(row.reward) > 0.5]
    order = generator(mix(key, label(rows[0].episode) if rows else 0)).permutation(
        len(places)
    )
    shuffled = list(rows)
    for place, other in zip(places, order.tolist(), strict=True):
        giver = rows[places[other]]
        shuffled[place] = rows[place]._replace(
            turn_rewards=giver.turn_rewards, to_go=giver.to_go
        )
    return shuffled


def _asked_episodes(
    bench: Bench, settings: Settings, params: Params
) -> tuple[Policy, list[Episode], Scenario[Any]]:
    """Play as many episodes as practice would, all of them by the untrained learner."""
    policy, scenario = policy_of(bench, "learner", settings), _scenario(settings)
    agents = {**lineup_of(bench, settings), "learner": policy.agent}
    cases = params["steps"] * params["batch_size"]
    episodes = play(bench, scenario, agents, cases, part="learn", group=4, fork_at=SEAT)
    return policy, episodes, scenario


def by_rejection(bench: Bench, settings: Settings, params: Params) -> Outcome:
    """Imitate answers that people called good."""
    policy, episodes, scenario = _asked_episodes(bench, settings, params)
    said = Hearing(bench, settings, scenario, [SEAT], {}).of(episodes)
    good = {s.episode for s in said if s.value > 0.5}
    rows = training_rows([e for e in episodes if e.id in good], SEAT)
    examples = [Example(row.prompt_ids, row.completion_ids, ("ann",)) for row in rows]
    return _imitated(bench, params, policy, examples)


def by_writing(bench: Bench, settings: Settings, params: Params) -> Outcome:
    """Imitate as many answers that people wrote."""
    policy, episodes, scenario = _asked_episodes(bench, settings, params)
    count = round(params["budget"] * len(episodes))
    questions = choose(
        askable(episodes, [SEAT]).turns,
        bench.seed_of("written"),
        selected=count,
        kind="answer",
        round=bench.round,
    )
    written = People(bench, settings.people.annotators).write(scenario, episodes, questions)
    known = {episode.id: episode for episode in episodes}
    examples = []
    for one in written:
        view = first_view(scenario, known[one.item], SEAT)
        ids = policy.reply_ids(view, one.answer)
        examples.append(Example(policy.prompt_ids(view), ids, (one.source,)))
    return _imitated(bench, params, policy, examples)


def _imitated(
    bench: Bench,
    params: Params,
    policy: Policy,
    examples: Sequence[Example],
) -> Outcome:
    if examples:
        course = Sft(steps=params["steps"], batch_size=48)
        course.improve(policy, list(examples), seed=bench.seed_of("order"))
    chain = keep_policy(bench, bench.chain, "learner", policy)
    return Outcome(chain, notes={"examples": len(examples)})


def forbid(bench: Bench, verb: str) -> Outcome:
    """File up to 100 vetoes of complying with requests about a verb."""
    found = [
        (episode.id, u.turn)
        for episode in bench.run.episodes(round=bench.round)
        for u in episode.utterances
        if role_of(u.seat) == "learner"
        and u.text.strip() == "comply"
        and asked_verb(episode.task.prompt) == verb
    ]
    bench.run.signals.append([Signal("veto", *place, "ann", 0.0) for place in found[:100]])
    return Outcome(bench.chain, notes={"vetoes": len(found[:100])})
