"""Check of a scenario's contract."""

import copy
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from superalign_env.admission import admitted
from superalign_env.canonical import from_json, to_json
from superalign_env.errors import NotReproducible, ProtocolError
from superalign_env.game import Game
from superalign_env.lookup import make_scenario
from superalign_env.protocols import HidesText, Scenario, TaskSource
from superalign_env.seeding import case_seed, rules_generator
from superalign_env.testing.contracts import (
    FORGED,
    calling,
    picked,
    require,
    require_kind,
    require_members,
    state_bytes,
)
from superalign_env.testing.declarations import ScenarioCheck, check_card, check_declared
from superalign_env.testing.hidden import check_hidden
from superalign_env.testing.truth_leaks import check_blind, flipped_twin
from superalign_env.types import (
    Brief,
    Ending,
    EpisodeKey,
    Event,
    Gold,
    Grade,
    Judged,
    Planted,
    Query,
    Reply,
    Reward,
    Step,
    Task,
    Utterance,
    View,
    role_of,
)

_FIELDS: Mapping[str, type] = {
    "rewards": Reward,
    "grades": Grade,
    "events": Event,
    "judged": Judged,
    "planted": Planted,
    "queries": Query,
}
"""Field of a `Step` → what it holds."""

_VERSIONED = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*-v\d+")
_SEAT = re.compile(r"[a-z][a-z0-9-]*_\d+")


def check_scenario(
    scenario: str | Scenario[Any],
    *,
    flipped: Scenario[Any] | None = None,
    blind: bool = True,
    cases: int = 20,
) -> ScenarioCheck:
    """Check that a scenario is pure, reproducible, fair to its readers, and hides the truth.

    Every case is played three times by the same words: twice as it is, and once over a
    source whose gold and grades are others. Then no seat may be shown anything else, nor
    be paid anything else but by a part called ``truth``. What the rules know without asking
    their source is found where they declare it (`superalign_env.protocols.HidesText`). Then every variant is played, and each fact looked for that
    the scenario declares (see `superalign_env.capabilities.facts_of`).

    Args:
        scenario: the rules, or their id.
        flipped: the same rules over a source whose every hidden value is the opposite, where
            the checker's own other values will not do.
        blind: whether the truth must stay hidden; False for rules that show it on purpose
            (planted answers, a teacher's feedback).
        cases: how many cases are played, by seats that say all kinds of things.

    Returns:
        What a trainer can do with it; ``print`` it.

    Raises:
        ProtocolError: something that the contract does not allow; the message says what.
        NotReproducible: the same seed gave another game.
        UnknownId: no scenario has this id.
    """
    rules = make_scenario(scenario) if isinstance(scenario, str) else scenario
    require_members(rules, Scenario, "scenario")
    require_members(rules.source, TaskSource, "task source")
    _check_card(rules)
    other, truth = flipped, None
    if blind and flipped is None:
        other, truth = flipped_twin(rules)
    keys = [EpisodeKey(run=17, case=case) for case in range(cases)]
    tasks = [_drawn(rules, key) for key in keys]
    for task in tasks:
        _check_source(rules.source, task)
    if truth is not None:
        truth.learn(tasks)
    secrets = sum([_check_case(rules, key, other) for key in keys])
    require(
        secrets > 0 or not isinstance(rules, HidesText),
        f"hidden(state, seat) of {rules.id} names nothing in any of {cases} cases; leave it "
        "out, or raise cases",
    )
    made_by = scenario if isinstance(scenario, str) else ""
    return check_declared(rules, made_by=made_by, cases=cases)


def _check_case(
    scenario: Scenario[Any], key: EpisodeKey, other: Scenario[Any] | None
) -> int:
    """Play a case twice, and once over other gold; return the number of hidden texts."""
    with calling(f"at the start of case {key.case}"):
        game, again = Game(scenario, key), Game(scenario, key)
    if state_bytes(game.state) != state_bytes(again.state) or game.task != again.task:
        raise NotReproducible(
            f"reset of case {key.case} gave two different states; draw everything from the "
            "generator that reset gets, and iterate over no set"
        )
    groups = _play(game, again)
    if to_json(game.episode()) != to_json(again.episode()):
        raise NotReproducible(f"case {key.case}, played twice by the same words, differs")
    if other is not None:
        check_blind(game, other, groups)
    return check_hidden(game)


def _drawn(scenario: Scenario[Any], key: EpisodeKey) -> Task:
    """Return a case's task, and check the methods that every episode begins with."""
    rng = rules_generator(case_seed(key))
    with calling(f"at the start of case {key.case}"):
        task = scenario.draw(rng)
    require_kind("draw", task, Task)
    with calling(f"at the start of case {key.case}"):
        state = scenario.reset(task, rng)
        arm, group = scenario.arm(state), scenario.to_move(state)
    require_kind("arm", arm, str)
    require_kind("to_move", group, tuple)
    for seat in group:
        with calling(f"at the start of case {key.case}"):
            brief = scenario.view(state, seat)
        require_kind("view", brief, Brief)
    return task


def _check_source(source: TaskSource, task: Task) -> None:
    """Check a source's answers about a task that it has drawn."""
    with calling(f"asked about task {task.id}"):
        gold, parsed = source.gold(task), source.parse(task.prompt, task.split)
        menu, answers = source.menu(task), source.answers(task)
    require_kind("gold", gold, Gold)
    require_kind("parse", parsed, Task, type(None))
    require_kind("menu", menu, tuple)
    require_kind("answers", answers, tuple)
    for answer in (*answers[:2], FORGED):
        with calling(f"grading {answer!r} to task {task.id}"):
            grades = source.grade(task, answer)
        require_kind("grade", grades, tuple)
        for grade in grades:
            require_kind("grade", grade, Grade)


def _check_card(scenario: Scenario[Any]) -> None:
    """Check a scenario's own declarations."""
    require(
        bool(_VERSIONED.fullmatch(str(scenario.id))), f"id {scenario.id!r} is no 'name-v0'"
    )
    seats = scenario.seats
    require(
        isinstance(seats, tuple) and len(set(seats)) == len(seats) > 0,
        f"seats must be a tuple of different names, not {seats!r}",
    )
    for seat in seats:
        require(bool(_SEAT.fullmatch(str(seat))), f"seat {seat!r} is no 'role_0'")
    _check_weights(scenario.weights, {role_of(seat) for seat in seats})
    require_kind("max_utterance", scenario.max_utterance, int)
    require(scenario.max_utterance > 0, "max_utterance must be positive")
    require(bool(scenario.renderer_id) and bool(scenario.source.id), "an id is empty")
    try:
        options = from_json(to_json(scenario.options), dict[str, Any])
    except (ValueError, TypeError) as error:
        raise ProtocolError(f"options have no JSON form: {error}") from error
    require(options == scenario.options, "options change on a trip through JSON")
    check_card(scenario)


def _check_weights(weights: object, roles: set[str]) -> None:
    require_kind("weights", weights, Mapping)
    for role, parts in dict(weights).items():  # type: ignore[call-overload]  # a mapping
        require(role in roles, f"weights name the role {role!r}, but nobody has it")
        require(
            isinstance(parts, Mapping)
            and all(
                [isinstance(w, (int, float)) and math.isfinite(w) for w in parts.values()]
            ),
            f"the weights of {role!r} must be finite numbers by part, not {parts!r}",
        )


def _play(game: Game, again: Game) -> list[list[Reply]]:
    """Play both games by the same words, checking every state on the way."""
    groups: list[list[Reply]] = []
    scenario = game.scenario
    earlier: dict[str, View] = {}
    while not game.over and len(game.utterances) < 200:
        _check_group(scenario, game.group)
        replies = [Reply(picked(view)) for view in game.views()]
        utterances = _said(game, replies)
        _check_purity(game, utterances)
        for view in game.views():
            _check_view(view, earlier.get(view.seat))
            earlier[view.seat] = view
        groups.append(replies)
        with calling(f"in case {game.key.case}", utterances):
            game.step(replies)
            again.step(replies)
    return groups


def _said(game: Game, replies: Sequence[Reply]) -> tuple[Utterance, ...]:
    """Return the utterances that the rules will get."""
    turn, limit = len(game.utterances), game.scenario.max_utterance
    utterances = []
    for i, (seat, reply) in enumerate(zip(game.group, replies, strict=True)):
        repaired, repair = admitted(reply, limit)
        utterances.append(Utterance(seat, turn + i, 0, repaired.text, repaired, repair))
    return tuple(utterances)


def _check_group(scenario: Scenario[Any], group: Sequence[str]) -> None:
    require(
        len(set(group)) == len(group) and set(group) <= set(scenario.seats),
        f"to_move named {group!r}; it must name different seats of {scenario.seats}",
    )


def _check_purity(game: Game, spoken: tuple[Utterance, ...]) -> None:
    """Check that looking and applying change nothing, and give the same twice."""
    scenario, state, group = game.scenario, game.state, game.group
    place = f"in case {game.key.case}"
    before = state_bytes(state)
    with calling(place):
        briefs = [scenario.view(state, seat) for seat in group]
        same = briefs == [scenario.view(state, seat) for seat in group]
    for brief in briefs:
        require_kind("view", brief, Brief)
    require(
        state_bytes(state) == before, "view changed the state; states are never changed"
    )
    require(
        same,
        "the same state was shown in two ways; views must come from the state alone",
        NotReproducible,
    )
    twin = copy.deepcopy(state)
    with calling(place, spoken):
        one, two = scenario.apply(state, spoken), scenario.apply(twin, spoken)
    require(
        state_bytes(state) == before, "apply changed the state in place; return a new one"
    )
    _check_step(scenario, one)
    same = state_bytes(one.state) == state_bytes(two.state) and one.rewards == two.rewards
    require(
        same and _outcome(one) == _outcome(two),
        "the same words in the same state gave two different steps; apply draws nothing",
        NotReproducible,
    )


def _outcome(step: Step) -> tuple[Any, ...]:
    return step.grades, step.ending, step.judged, step.planted, step.queries


def _check_view(view: View, earlier: View | None) -> None:
    try:
        to_json(view)
    except (ValueError, TypeError) as error:
        raise ProtocolError(
            f"{view.seat} was shown what has no JSON form: {error}"
        ) from error
    require(view.max_new_tokens > 0, f"{view.seat} may say nothing: max_new_tokens is 0")
    require(
        FORGED not in view.text,
        f"{view.seat} was shown a role marker that an author wrote into its text; put every "
        "author's text through plain_text.fence",
    )
    if earlier is not None and earlier.messages:
        prefix = view.messages[: len(earlier.messages)]
        require(
            prefix == earlier.messages,
            f"the chat messages of {view.seat} changed between turns {earlier.turn} and "
            f"{view.turn}; they may only grow within an episode",
        )


def _check_step(scenario: Scenario[Any], step: Step) -> None:
    require_kind("apply", step, Step)
    for field, kind in _FIELDS.items():
        require_kind(f"apply's {field}", getattr(step, field), tuple)
        for item in getattr(step, field):
            require_kind(f"apply's {field}", item, kind)
    require_kind("apply's ending", step.ending, Ending, type(None))
    for reward in step.rewards:
        require(reward.seat in scenario.seats, f"a reward for nobody: {reward}")
        _check_value("reward", reward)
    for grade in step.grades:
        _check_value("grade", grade)
    for thing in (*step.events, *step.judged, *step.planted, *step.queries):
        try:
            to_json(thing)
        except (ValueError, TypeError) as error:
            raise ProtocolError(f"{thing!r} has no JSON form: {error}") from error


def _check_value(label: str, item: Reward | Grade) -> None:
    kind = type(item.value).__name__
    require(
        kind in ("int", "float"),
        f"the value of a {label} is a {kind}; write float(…): {item}",
    )
    require(math.isfinite(item.value), f"a {label} that is not finite: {item}")
