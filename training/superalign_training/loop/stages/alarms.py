"""Alarms are read after a round, and the round is kept or rolled back.

What alarms see is gold-free: likeliest answers to a fixed set of training tasks, people's
labels of the random slice, critics' verdicts. Where ``gate.rounds`` is set, the gate's
conditions hold for rounds, too.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean

import msgspec

from superalign_agents.transformer import TransformerAgent
from superalign_env.asking import Anyone, ask
from superalign_env.game import Game
from superalign_env.measures import Estimate, share
from superalign_env.seeding import label, mix
from superalign_env.types import EpisodeKey, Event, Metric, Role, Seat, View
from superalign_training.evaluation.likelihood import first_words
from superalign_training.judging import scores_of
from superalign_training.loop.cast import agent_of, lineup_of
from superalign_training.loop.chain import Chain
from superalign_training.loop.driver import Bench, Outcome
from superalign_training.loop.playing import seat_all, stage_scenario
from superalign_training.loop.weighing.lookout import act_on, missed_planted, series
from superalign_training.oversight.alarms import (
    PROBES,
    Answers,
    Labelled,
    Statistics,
    raised,
)
from superalign_training.oversight.gate import Decision, Evidence, decide
from superalign_training.oversight.hazards import is_refusal
from superalign_training.settings import Settings

_WORDS = 8
"""Tokens of a free answer, of which the first word is looked at."""
_SERIES: tuple[tuple[str, dict[str, str]], ...] = (
    ("attack.success", {"by": "verdicts"}),
    ("verdicts.brier", {"on": "planted"}),
)
"""Numbers by signals of which there is one for every round, with their tags."""

ACCEPTED = "gate.accepted"
ROLLED_BACK = "gate.rolled-back"


def alarms(bench: Bench, settings: Settings) -> Outcome:
    """Read every alarm; restore the policies of the round before if one demands it.

    Raises:
        Halted: an alarm stops the run until a person says to go on.
    """
    before = before_round(bench)
    statistics = round_statistics(bench, settings, before)
    bench.writer.flush()  # what was played comes before what is said of it
    found = raised(settings.alarms, statistics, _truth(bench))
    demanded = act_on(bench, found, f"round {bench.round}")
    metrics = _probe_metrics(bench, statistics.probe)
    if not (demanded or settings.gate.rounds):
        return Outcome(bench.chain, tuple(metrics))
    evidence = Evidence(alarms=demanded)
    if settings.gate.rounds:
        evidence = evidence._replace(
            conformity=_conformity(statistics.labelled),
            attack_success=_attack_success(bench),
        )
    decision = decide(evidence, settings.gate)
    chain = _continued(bench, before, decision)
    metrics.append(Metric(ACCEPTED, float(decision.accepted), step=bench.round))
    return Outcome(chain, tuple(metrics), decision.plain())


def before_round(bench: Bench) -> Chain:
    """Return the chain as the round of a stage found it."""
    stages = bench.run.stages.all()
    here = next(stage for stage in stages if stage.id == bench.stage)
    first = next(
        (
            stage
            for stage in stages
            if (stage.generation, stage.round) == (here.generation, here.round)
        ),
        here,
    )
    return Chain.from_plain(first.inputs["chain"])


def round_statistics(bench: Bench, settings: Settings, before: Chain) -> Statistics:
    """Return what may be known of a round without gold labels."""
    wanted = any(
        "probe" in alarm.needs and alarm.action != "off"
        for alarm in settings.alarms.values()
    )
    return Statistics(
        probe=probe(bench, settings, before) if wanted else {},
        labelled=_labelled(bench),
        missed=missed_planted(bench),
        series=series(bench, _SERIES),
    )


def probe(bench: Bench, settings: Settings, before: Chain) -> dict[Role, Answers]:
    """Return role → its likeliest answers to fixed training tasks, now and before.

    Both policies are shown the same views: those of the lineup as it is now. Roles whose
    policy did not change are left out.
    """
    changed = [
        role
        for role, checkpoint in sorted(bench.chain.policies.items())
        if role in before.policies and before.policies[role].weights != checkpoint.weights
    ]
    views = first_views(bench, settings, changed) if changed else {}
    earlier = bench._replace(chain=before)
    return {
        role: Answers(
            likeliest(agent_of(bench, role, settings), seen),
            likeliest(agent_of(earlier, role, settings), seen),
        )
        for role, seen in views.items()
    }


def first_views(
    bench: Bench, settings: Settings, roles: Sequence[Role]
) -> dict[Role, list[View]]:
    """Return role → what it is first shown in each of the probe's tasks.

    A game is played no further than needed, and is not recorded. People are not asked.
    """
    scenario = stage_scenario(settings, split="train")
    agents = seat_all(scenario, lineup_of(bench, settings))
    run = mix(bench.run.info.seed, label("alarms.probe"))
    live = [
        (Game(scenario, EpisodeKey(run=run, case=case)), set(roles))
        for case in range(PROBES)
    ]
    found: dict[Role, list[View]] = defaultdict(list)
    while live:
        for game, left in live:
            for view in game.views():
                if view.role in left:
                    left.discard(view.role)
                    found[view.role].append(view)
        live = [
            (game, left)
            for game, left in live
            if left and not any(agents[s].spec.id == "human" for s in game.group)
        ]
        _play_on([game for game, _ in live], agents)
        live = [(game, left) for game, left in live if not game.over]
    return found


def _play_on(games: Sequence[Game], agents: Mapping[Seat, Anyone]) -> None:
    """Ask whoever is to move in each game, every agent once for all of them."""
    asked: dict[int, list[View]] = defaultdict(list)
    for game in games:
        for view in game.views():
            asked[id(agents[view.seat])].append(view)
    holders = {id(agent): agent for agent in agents.values()}
    said = {
        (view.episode, view.seat): reply
        for key, views in asked.items()
        for view, reply in zip(views, ask(holders[key], views), strict=True)
    }
    for game in games:
        game.step([said[view.episode, view.seat] for view in game.views()])


def likeliest(agent: Anyone, views: Sequence[View]) -> list[str]:
    """Return the likeliest answer to each view.

    Where all views have one menu, it is the entry that the answer begins with; else the
    first word of what the agent says.
    """
    menu = views[0].menu
    shared = menu and all(view.menu == menu for view in views)
    if shared and isinstance(agent, TransformerAgent):
        greedy = first_words(agent, views, menu).greedy
        return [menu[int(row.argmax())] if row.any() else "" for row in greedy]
    short = [
        msgspec.structs.replace(view, max_new_tokens=min(_WORDS, view.max_new_tokens))
        for view in views
    ]
    texts = [" ".join(reply.text.casefold().split()) for reply in ask(agent, short)]
    if shared:
        return [next((e for e in menu if text.startswith(e)), "") for text in texts]
    return [text.partition(" ")[0] for text in texts]


def _probe_metrics(bench: Bench, probed: Mapping[Role, Answers]) -> list[Metric]:
    """Return the share of the commonest answer of every role."""
    return [
        Metric(
            "answers.commonest",
            *share(max(map(answers.now.count, set(answers.now))), len(answers.now)),
            agent=bench.chain.policies[role].agent,
            tags={"role": role},
            step=bench.round,
        )
        for role, answers in probed.items()
    ]


def _labelled(bench: Bench) -> list[Labelled]:
    """Return the answers of this round's random slice that people labelled."""
    random = {
        question.id
        for question in bench.run.questions.all(answered=True)
        if question.round == bench.round and question.slice == "random"
    }
    labels = [
        signal
        for signal in bench.run.signals.standing(kind="label", upto=bench.signals_to)
        if signal.question in random
    ]
    episodes = {e.id: e for e in bench.run.named(sorted({one.episode for one in labels}))}
    found = []
    for signal in labels:
        episode = episodes[signal.episode]
        texts = {u.turn: u.text for u in episode.utterances}
        if signal.turn in texts:
            scores = scores_of(episode).get(signal.turn)
            score = mean(scores) if scores else None
            found.append(Labelled(signal.value, score, is_refusal(texts[signal.turn])))
    return found


def _truth(bench: Bench) -> list[Metric]:
    """Return what evaluation by the truth measured in this round."""
    stages = [
        stage.id
        for stage in bench.run.stages.all(status="done")
        if stage.name == "evaluate"
        and (stage.generation, stage.round) == (bench.generation, bench.round)
    ]
    return [row.metric for id in stages for row in bench.run.metrics.read(stage=id)]


def _conformity(labelled: Sequence[Labelled]) -> dict[str, Estimate]:
    """Return what was answered → share of it that people call good."""
    labels: dict[str, list[float]] = defaultdict(list)
    for one in labelled:
        labels["refused" if one.refused else "complied"].append(one.label)
    return {
        kind: share(sum(value > 0.5 for value in values), len(values))
        for kind, values in labels.items()
    }


def _attack_success(bench: Bench) -> Estimate | None:
    """Return the share of this round's attacks that succeeded, as critics say."""
    rows = bench.run.metrics.read("attack.success", tags={"by": "verdicts"})
    found = [row.metric for row in rows if row.metric.step == bench.round]
    if not found:
        return None
    last = found[-1]
    return Estimate(last.value, last.low, last.high, last.n)


def _continued(bench: Bench, before: Chain, decision: Decision) -> Chain:
    """Return the chain with what the round taught, or with the policies before it."""
    learned = {
        role: checkpoint.agent
        for role, checkpoint in bench.chain.policies.items()
        if role in before.policies and before.policies[role].agent != checkpoint.agent
    }
    bench.run.events.add(
        Event(
            ACCEPTED if decision.accepted else ROLLED_BACK,
            evidence={"round": bench.round, "agents": learned, **decision.plain()},
        ),
        stage=bench.stage,
    )
    if decision.accepted:
        return bench.chain
    kept = {checkpoint.agent for checkpoint in before.policies.values()}
    for agent in set(learned.values()) - kept:
        bench.run.agents.accept(agent, False)
    # What people said to the policies that are taken back returns late to those before.
    return msgspec.structs.replace(
        bench.chain, policies=before.policies, heard=before.heard
    )
