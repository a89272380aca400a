"""Check of a scenario's declarations: variants, facts, opinions, baselines, winners."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from superalign_env.capabilities import (
    baselines_of,
    facts_of,
    lowest_pay_of,
    opinions_of,
    says_who_wins,
    variants_of,
    winner_of,
)
from superalign_env.errors import ProtocolError, hint, nearest
from superalign_env.game import Game
from superalign_env.lookup import make_scenario
from superalign_env.protocols import Scenario
from superalign_env.rewards import in_range
from superalign_env.testing.contracts import calling, picked, require, require_kind
from superalign_env.types import Episode, EpisodeKey, Judged, Query, Reply, role_of

FACTS = ("judged", "planted", "queries")
"""Fields of a `Step` that a scenario may declare in ``facts``."""


class ScenarioCheck(NamedTuple):
    """Capabilities of a scenario that keeps its contract, for a trainer."""

    pays: tuple[str, ...]
    """Roles that earn something to learn from."""
    variants: tuple[str, ...]
    facts: Mapping[str, str]
    lines: tuple[str, ...]
    """What can be done with it, a sentence each."""

    def __str__(self) -> str:
        return "\n".join(self.lines)


def check_card(scenario: Scenario[Any]) -> None:
    """Check types and ranges of what a scenario declares.

    Raises:
        ProtocolError: the message names the declaration.
    """
    roles = list(dict.fromkeys(map(role_of, scenario.seats)))
    _check_variants(scenario)
    facts = facts_of(scenario)
    require_kind("facts", facts, Mapping)
    for name, role in facts.items():
        suggestion = hint(nearest(str(name), FACTS), FACTS, listed="there are")
        require(name in FACTS, f"facts declare {name!r}, which no step has; {suggestion}")
        require(role in roles, f"facts say {name!r} is made by {role!r}, a role nobody has")
    opinions = opinions_of(scenario)
    require_kind("opinions", opinions, tuple)
    parts = {part for weights in scenario.weights.values() for part in weights}
    for part in opinions:
        require(part in parts, f"opinions name {part!r}, a part that weights pay nobody")
    lowest = getattr(scenario, "lowest_pay", -1.0)
    real = isinstance(lowest, (int, float)) and not isinstance(lowest, bool)
    require(
        real and math.isfinite(lowest) and lowest_pay_of(scenario) <= 0,
        f"lowest_pay must be a finite number ≤ 0, not {lowest!r}",
    )
    baselines = baselines_of(scenario)
    require_kind("baselines", baselines, Mapping)
    for role, references in baselines.items():
        require(role in roles, f"baselines name the role {role!r}, but nobody has it")
        require_kind(f"baselines of {role}", references, tuple)


def check_declared(
    scenario: Scenario[Any], *, made_by: str = "", cases: int = 20
) -> ScenarioCheck:
    """Play every variant, look for each declared fact, and return the capabilities.

    Args:
        scenario: the rules; `check_card` found nothing wrong with it.
        made_by: its id, where it was made by one.
        cases: of each variant.

    Raises:
        ProtocolError: a variant cannot be made or played, a declared fact never occurs, or
            one is made that is not declared.
    """
    facts = facts_of(scenario)
    occurred: set[str] = set()
    episodes = 0
    unmade = _not_made(scenario, made_by) if variants_of(scenario) else ""
    for name, rules in (
        [(scenario.id, scenario)] if unmade else _variants(scenario, made_by)
    ):
        for case in range(cases):
            with calling(f"in case {case} of {name}"):
                episode = _play(rules, EpisodeKey(run=23, case=case))
            _check_facts(episode, facts, name)
            _check_opinions(episode, opinions_of(rules), name)
            _check_winner(rules, episode)
            occurred |= {fact for fact in FACTS if getattr(episode, fact)}
            episodes += 1
    for fact, role in facts.items():
        require(
            fact in occurred or bool(unmade),
            f"facts declare {fact!r} of {role!r}, and no step of {episodes} episodes held one; "
            f"return Step(…, {fact}=(…,)), or declare a variant in which it occurs",
        )
    return ScenarioCheck(
        tuple(_paying(scenario)),
        tuple(variants_of(scenario)),
        dict(facts),
        tuple(_lines(scenario, facts, unmade)),
    )


def _check_variants(scenario: Scenario[Any]) -> None:
    variants = variants_of(scenario)
    require_kind("variants", variants, Mapping)
    for name, options in variants.items():
        require_kind(f"variant {name!r}", options, Mapping)
        for option in options:
            suggestion = hint(nearest(str(option), scenario.options), scenario.options)
            require(
                option in scenario.options,
                f"variant {name!r} sets {option!r}, which is no option; {suggestion}",
            )


def _variants(scenario: Scenario[Any], made_by: str) -> Iterator[tuple[str, Scenario[Any]]]:
    """Yield the scenario itself, and each of its variants, made anew."""
    yield scenario.id, scenario
    for name, options in variants_of(scenario).items():
        try:
            yield (
                f"variant {name!r}",
                _made({**scenario.options, **options}, scenario, made_by),
            )
        except Exception as error:  # rules raise whatever comes
            raise ProtocolError(
                f"variant {name!r} cannot be made ({type(error).__name__}: {error})"
            ) from error


def _made(
    options: Mapping[str, Any], scenario: Scenario[Any], made_by: str
) -> Scenario[Any]:
    rules: Scenario[Any] = (
        make_scenario(made_by, **options) if made_by else type(scenario)(**options)
    )
    return rules


def _not_made(scenario: Scenario[Any], made_by: str) -> str:
    """Return why a scenario cannot be made again from its options; empty where it can."""
    try:
        _made(scenario.options, scenario, made_by)
    except Exception as error:  # a source that is an object, another constructor
        return f"{type(error).__name__}: {error}"
    return ""


def _play(scenario: Scenario[Any], key: EpisodeKey) -> Episode:
    game = Game(scenario, key)
    while not game.over and len(game.utterances) < 200:
        game.step([Reply(picked(view)) for view in game.views()])
    return game.episode()


def _check_opinions(episode: Episode, opinions: Sequence[str], place: str) -> None:
    """Check that opinions are paid where a label can replace them, and stand for scores."""
    speakers = {u.turn: u.seat for u in episode.utterances}
    for reward in episode.rewards:
        if reward.part not in opinions:
            continue
        author = speakers.get(reward.turn, "nobody")
        require(
            author == reward.seat,
            f"{place} pays {reward.seat} the opinion {reward.part!r} at turn {reward.turn}, "
            f"which {author} said: a person's label of what {reward.seat} said would not "
            f"replace it; name the turn that it is about, Reward(…, turn=…)",
        )
        require(
            in_range(reward),
            f"{place} pays {reward.seat} {reward.value:g} by the opinion {reward.part!r}; an "
            "opinion of pay v stands for the score (v + 1) / 2, so it lies between −1 and 1: "
            f"scale it there, and let weights make it large ({reward.part!r}: 5.0)",
        )


def _check_facts(episode: Episode, facts: Mapping[str, str], place: str) -> None:
    """Check the authors and the turns of an episode's facts."""
    speakers = {u.turn: u.seat for u in episode.utterances}
    places = {fact.about for fact in episode.planted}
    for name in FACTS:
        for fact in getattr(episode, name):
            role = facts.get(name)
            require(
                role is not None,
                f"{place} makes {name!r} and does not declare it; add "
                f"facts = {{{name!r}: {role_of(fact.seat)!r}}}",
            )
            require(
                role_of(fact.seat) == role,
                f"{place}: {name!r} is declared of {role!r} and was made by {fact.seat}",
            )
    pointing: tuple[Judged | Query, ...] = (*episode.judged, *episode.queries)
    for one in pointing:
        require(
            speakers.get(one.turn) == one.seat,
            f"{place}: a fact of {one.seat} names turn {one.turn}, which it did not speak; "
            "leave turn out for its latest",
        )
    for judged in episode.judged:
        require(
            judged.about in speakers or judged.about < 0,
            f"{place}: {judged.seat} judged turn {judged.about}, which nobody spoke",
        )
        score = judged.score
        require(score is None or 0 <= score <= 1, f"{place}: a score of {score} (0 to 1)")
    for planted in episode.planted:
        require(
            planted.about < 0 and planted.about in places,
            f"{place}: a planted answer is about turn {planted.about}; nobody spoke it, so "
            "it is negative",
        )


def _check_winner(scenario: Scenario[Any], episode: Episode) -> None:
    with calling("asked who won"):
        won = winner_of(scenario, episode)
        blind = winner_of(scenario, replace(episode, grades=()))
    require(
        won is None or won in scenario.seats,
        f"beats gave {won!r}; it names one of {scenario.seats}, or None for nobody",
    )
    require(won == blind, "beats reads grades; who won is said by what players may know")


def _paying(scenario: Scenario[Any]) -> list[str]:
    """Return the roles that are paid more than the ``format`` penalty."""
    return [
        role
        for role, parts in scenario.weights.items()
        if any(weight for part, weight in parts.items() if part != "format")
    ]


def _lines(scenario: Scenario[Any], facts: Mapping[str, str], unmade: str) -> Sequence[str]:
    """Return the capabilities of a scenario, a sentence each."""
    lines = ["plays"]
    if unmade:
        lines.append(
            "its variants were not played, as it cannot be made again from its options "
            f"({unmade}); a trainer makes them so"
        )
    paying = _paying(scenario)
    if "split" not in scenario.options:
        lines.append("cannot be trained: no option split; add one to its constructor")
    elif not paying:
        lines.append("cannot be trained by pay: its weights pay nobody")
    else:
        lines.append(f"can be trained by pay: {', '.join(paying)}")
    variants = variants_of(scenario)
    lines.append(f"has variants: {', '.join(variants)}" if variants else "has no variants")
    own_lines = [f"{name} ({role})" for name, role in facts.items()]
    lines.append(f"has facts: {', '.join(own_lines)}" if own_lines else "has no facts")
    for fact, variant, use in (
        ("queries", "attacked", "nobody is taught to ask, and no fresh attack is measured"),
        ("planted", "planted", "who judges is not taught by planted answers"),
    ):
        if fact in facts and variant not in variants:
            lines.append(f"lacks the variant {variant}: {use}")
    if not says_who_wins(scenario) and "judged" not in facts:
        lines.append("does not say who wins: no ratings")
    return lines
