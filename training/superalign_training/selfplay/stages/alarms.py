"""Stage alarms: read all alarms after a round, and accept it or roll it back.

What alarms see is gold-free: likeliest answers to a fixed set of training tasks, people's
labels of the random slice, critics' verdicts. Where ``gate.rounds`` is set, the gate's
conditions hold for rounds, too.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean

import msgspec

from superalign_agents.transformer import TransformerAgent
from superalign_env.asking import TIMEOUT, Anyone, ask
from superalign_env.final_answers import refuses
from superalign_env.game import Game
from superalign_env.measures import Estimate, share
from superalign_env.seeding import label, mix
from superalign_env.store import declare
from superalign_env.types import EpisodeKey, Event, Metric, Role, Seat, View
from superalign_training.evaluation.likelihood import first_word_likelihoods
from superalign_training.judging import scores_of
from superalign_training.oversight.alarms import (
    PROBES,
    Answers,
    Labelled,
    Statistics,
    raised,
)
from superalign_training.oversight.gate import Decision, Evidence, decide
from superalign_training.selfplay.agents import agent_of, lineup_of
from superalign_training.selfplay.alarm_statistics import act_on, missed_planted, series
from superalign_training.selfplay.driver import StageContext, StageResult
from superalign_training.selfplay.playing import agents_by_seat, stage_scenario
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.state import RunState

_WORDS = 8
"""Tokens of a free answer, of which the first word is looked at."""
_SERIES: tuple[tuple[str, dict[str, str]], ...] = (
    ("attack.success", {"by": "verdicts"}),
    ("verdicts.brier", {"on": "planted"}),
)
"""Numbers by signals of which there is one for every round, with their tags."""

ACCEPTED = "gate.accepted"
ROLLED_BACK = "gate.rolled-back"

declare("answers.commonest", "Probe answers that are the commonest one", unit="share")


def alarms(context: StageContext, settings: Settings) -> StageResult:
    """Read every alarm, and restore the policies before the round if one demands it.

    Raises:
        Halted: an alarm stops the run until a person says to go on.
    """
    before = before_round(context)
    statistics = round_statistics(context, settings, before)
    context.writer.flush()  # what was played comes before what is said of it
    events = raised(settings.alarms, statistics, _truth(context))
    demanded = act_on(context, events, f"round {context.round}")
    metrics = _probe_metrics(context, statistics.probe)
    if not (demanded or settings.gate.rounds):
        return StageResult(context.state, tuple(metrics))
    evidence = Evidence(alarms=demanded)
    if settings.gate.rounds:
        evidence = evidence._replace(
            conformity=_conformity(statistics.labelled),
            attack_success=_attack_success(context),
        )
    decision = decide(evidence, settings.gate)
    state = _continued(context, before, decision)
    metrics.append(Metric(ACCEPTED, float(decision.accepted), step=context.round))
    return StageResult(state, tuple(metrics), decision.plain())


def before_round(context: StageContext) -> RunState:
    """Return the run state at the beginning of the current round."""
    stages = context.run.stages.all()
    current = next(stage for stage in stages if stage.id == context.stage)
    first = next(
        (
            stage
            for stage in stages
            if (stage.generation, stage.round) == (current.generation, current.round)
        ),
        current,
    )
    return RunState.from_plain(first.inputs["state"])


def round_statistics(
    context: StageContext, settings: Settings, before: RunState
) -> Statistics:
    """Return the statistics of a round, without gold labels."""
    needs_probe = any(
        "probe" in alarm.needs and alarm.action != "off"
        for alarm in settings.alarms.values()
    )
    return Statistics(
        probe=probe(context, settings, before) if needs_probe else {},
        labelled=_labelled(context, settings),
        missed=missed_planted(context),
        series=series(context, _SERIES),
    )


def probe(
    context: StageContext, settings: Settings, before: RunState
) -> dict[Role, Answers]:
    """Return role → its greedy answers to fixed training tasks, now and before.

    Both policies are shown the same views: those of the lineup as it is now. Roles whose
    policy did not change are left out.
    """
    changed = [
        role
        for role, checkpoint in sorted(context.state.policies.items())
        if role in before.policies and before.policies[role].weights != checkpoint.weights
    ]
    views = first_views(context, settings, changed) if changed else {}
    earlier = context._replace(state=before)
    return {
        role: Answers(
            likeliest(agent_of(context, role, settings), role_views, context.timeout),
            likeliest(agent_of(earlier, role, settings), role_views, context.timeout),
        )
        for role, role_views in views.items()
    }


def first_views(
    context: StageContext, settings: Settings, roles: Sequence[Role]
) -> dict[Role, list[View]]:
    """Return role → its first view in each of the probe's tasks.

    A game is played no further than needed, and is not recorded. People are not asked.
    """
    scenario = stage_scenario(settings, split="train")
    agents = agents_by_seat(scenario, lineup_of(context, settings))
    run = mix(context.run.info.seed, label("alarms.probe"))
    live = [
        (Game(scenario, EpisodeKey(run=run, case=case)), set(roles))
        for case in range(PROBES)
    ]
    views_of: dict[Role, list[View]] = defaultdict(list)
    while live:
        for game, open_roles in live:
            for view in game.views():
                if view.role in open_roles:
                    open_roles.discard(view.role)
                    views_of[view.role].append(view)
        live = [
            (game, open_roles)
            for game, open_roles in live
            if open_roles and not any(agents[s].spec.id == "human" for s in game.group)
        ]
        _play_on([game for game, _ in live], agents, context.timeout)
        live = [(game, open_roles) for game, open_roles in live if not game.over]
    return views_of


def _play_on(
    games: Sequence[Game], agents: Mapping[Seat, Anyone], timeout: float | None
) -> None:
    """Advance each game by one group, one batch per agent."""
    views_by_agent: dict[int, list[View]] = defaultdict(list)
    for game in games:
        for view in game.views():
            views_by_agent[id(agents[view.seat])].append(view)
    holders = {id(agent): agent for agent in agents.values()}
    replies = {
        (view.episode, view.seat): reply
        for key, views in views_by_agent.items()
        for view, reply in zip(
            views, ask(holders[key], views, timeout=timeout), strict=True
        )
    }
    for game in games:
        game.step([replies[view.episode, view.seat] for view in game.views()])


def likeliest(
    agent: Anyone, views: Sequence[View], timeout: float | None = TIMEOUT
) -> list[str]:
    """Return the greedy answer to each view.

    Where all views have one menu, it is the entry that the answer begins with; else the
    first word of what the agent says.
    """
    menu = views[0].menu
    shared = menu and all(view.menu == menu for view in views)
    if shared and isinstance(agent, TransformerAgent):
        greedy = first_word_likelihoods(agent, views, menu).greedy
        return [menu[int(row.argmax())] if row.any() else "" for row in greedy]
    short = [
        msgspec.structs.replace(view, max_new_tokens=min(_WORDS, view.max_new_tokens))
        for view in views
    ]
    replies = ask(agent, short, timeout=timeout)
    texts = [" ".join(reply.text.casefold().split()) for reply in replies]
    if shared:
        return [next((e for e in menu if text.startswith(e)), "") for text in texts]
    return [text.partition(" ")[0] for text in texts]


def _probe_metrics(context: StageContext, probed: Mapping[Role, Answers]) -> list[Metric]:
    """Return the share of the commonest answer of every role."""
    return [
        Metric(
            "answers.commonest",
            *share(max(map(answers.now.count, set(answers.now))), len(answers.now)),
            agent=context.state.policies[role].agent,
            tags={"role": role},
            step=context.round,
        )
        for role, answers in probed.items()
    ]


def _labelled(context: StageContext, settings: Settings) -> list[Labelled]:
    """Return the labelled answers of this round's random slice."""
    random = {
        question.id
        for question in context.run.questions.all(answered=True)
        if question.round == context.round and question.slice == "random"
    }
    labels = [
        signal
        for signal in context.run.signals.standing(kind="label", upto=context.signals_to)
        if signal.question in random
    ]
    episodes = {
        e.id: e
        for e in context.run.named(
            sorted({label_signal.episode for label_signal in labels})
        )
    }
    source = stage_scenario(settings, split="train").source
    labelled = []
    for signal in labels:
        episode = episodes[signal.episode]
        texts = {u.turn: u.text for u in episode.utterances}
        if signal.turn in texts:
            scores = scores_of(episode).get(signal.turn)
            score = mean(scores) if scores else None
            refused = refuses(source, episode.task, texts[signal.turn])
            labelled.append(Labelled(signal.value, score, refused))
    return labelled


def _truth(context: StageContext) -> list[Metric]:
    """Return this round's evaluation metrics."""
    stages = [
        stage.id
        for stage in context.run.stages.all(status="done")
        if stage.name == "evaluate"
        and (stage.generation, stage.round) == (context.generation, context.round)
    ]
    return [row.metric for id in stages for row in context.run.metrics.read(stage=id)]


def _conformity(labelled: Sequence[Labelled]) -> dict[str, Estimate]:
    """Return kind of answer → share of good ones, by people."""
    labels: dict[str, list[float]] = defaultdict(list)
    for answer in labelled:
        labels["refused" if answer.refused else "complied"].append(answer.label)
    return {
        kind: share(sum(value > 0.5 for value in values), len(values))
        for kind, values in labels.items()
    }


def _attack_success(context: StageContext) -> Estimate | None:
    """Return this round's attack success rate, by critics."""
    rows = context.run.metrics.read("attack.success", tags={"by": "verdicts"})
    estimates = [row.metric for row in rows if row.metric.step == context.round]
    if not estimates:
        return None
    last = estimates[-1]
    return Estimate(last.value, last.low, last.high, last.n)


def _continued(context: StageContext, before: RunState, decision: Decision) -> RunState:
    """Return the run state after the round, or the policies before it."""
    learned = {
        role: checkpoint.agent
        for role, checkpoint in context.state.policies.items()
        if role in before.policies and before.policies[role].agent != checkpoint.agent
    }
    context.run.events.add(
        Event(
            ACCEPTED if decision.accepted else ROLLED_BACK,
            evidence={"round": context.round, "agents": learned, **decision.plain()},
        ),
        stage=context.stage,
    )
    if decision.accepted:
        return context.state
    restored = {checkpoint.agent for checkpoint in before.policies.values()}
    for agent in set(learned.values()) - restored:
        context.run.agents.accept(agent, False)
    # What people said to the policies that are taken back returns late to those before.
    return msgspec.structs.replace(
        context.state, policies=before.policies, paid_answers=before.paid_answers
    )
