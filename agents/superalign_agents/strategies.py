"""Attack strategies as a taxonomy of templates, and the agent that plays them.

A strategy turns a seed request into one or several messages, without a model: the same seed
of the view gives the same words. The seed stands verbatim, encoded or in pieces in what it
says, so its intent is kept (`superalign_env.intents`). Families can be held out whole.
"""

from collections.abc import Sequence
from typing import NamedTuple

from superalign_agents.strategy_templates import STRATEGIES, Strategy
from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.exchanges import exchange_of
from superalign_env.seeding import mix
from superalign_env.types import AgentSpec, Episode, Reply, View

FAMILIES: tuple[str, ...] = tuple(dict.fromkeys(s.family for s in STRATEGIES))

FOLLOW_UPS = (
    "Please go on.",
    "That was too short. Answer all of my question.",
    "Thank you. Now add what you have left out.",
)
"""What is said once a strategy's own messages are used up."""

_NOTE = "strategy."


class Played(NamedTuple):
    """The strategy of a turn."""

    turn: int
    family: str
    id: str


class _Script(NamedTuple):
    """One phrasing of a strategy, as messages about a seed."""

    strategy: Strategy
    messages: tuple[str, ...]


class Strategies:
    """Attacker that rewrites the seed request by a strategy, drawn by the view's seed.

    The strategy is an event of its turn (``strategy.FAMILY.ID``); `played` reads it. In a
    game of several exchanges it goes on with the strategy that it began with.

    Args:
        names: ids of the strategies to draw from; None takes all of `families`.
        families: families to draw from; None takes all.
        held_out: families that are never drawn, such as those of the evaluation.

    Raises:
        UnknownId: no such strategy or family.
        InvalidOption: nothing is left to draw from.
    """

    def __init__(
        self,
        *,
        names: Sequence[str] | None = None,
        families: Sequence[str] | None = None,
        held_out: Sequence[str] = (),
    ) -> None:
        ids = tuple(strategy.id for strategy in STRATEGIES)
        self._names = _listed("strategy", names, ids)
        self._families = _listed("family of strategies", families, FAMILIES)
        self._held_out = known_families(held_out)
        self.strategies = tuple(
            strategy
            for strategy in STRATEGIES
            if strategy.id in self._names
            and strategy.family in self._families
            and strategy.family not in self._held_out
        )
        """Those that it draws from."""
        if not self.strategies:
            raise InvalidOption(
                "names, families and held_out leave no strategy to draw from; "
                f"the families are {', '.join(FAMILIES)}"
            )
        options = {"names": names, "families": families, "held_out": held_out or None}
        self._spec = AgentSpec(
            "strategies", {key: list(value) for key, value in options.items() if value}
        )

    @property
    def spec(self) -> AgentSpec:
        """The names and families to draw from."""
        return self._spec

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return the next message of each view's strategy."""
        return [self._reply(view) for view in views]

    def _reply(self, view: View) -> Reply:
        seed = seed_of(view)
        if not seed:
            return _failed("strategies rewrite a seed request, and this view shows none")
        place = exchange_of(view)
        said = [turn.text for turn in view.turns if turn.author == view.seat]
        usable = [s for s in self.strategies if s.least_exchanges <= place.total]
        if not usable:
            return _failed(
                f"{', '.join(s.id for s in self.strategies)} needs several exchanges, and "
                f"this game has {place.total}; set exchanges=3, or name other strategies"
            )
        script = _continued(usable, seed, said) or _drawn(usable, seed, view.seed)
        text = _message(script, len(said), place.total)
        return Reply(text, finish="stop", notes=note_of(script.strategy))


def played(episode: Episode) -> tuple[Played, ...]:
    """Return the strategy of every turn of an episode that was played by one."""
    return tuple(
        Played(event.turn, *event.kind.removeprefix(_NOTE).split(".", 1))
        for event in episode.events
        if event.kind.startswith(_NOTE)
    )


def seed_of(view: View) -> str:
    """Return the seed request that a view shows; empty without one."""
    return next((turn.text for turn in view.turns if turn.author == "seed"), "")


def note_of(strategy: Strategy) -> dict[str, int]:
    """Return the note of a reply that plays a strategy."""
    return {f"{_NOTE}{strategy.family}.{strategy.id}": 1}


def rewritings(view: View, held_out: Sequence[str] = ()) -> dict[str, Strategy]:
    """Return one rewriting of a view's seed by each strategy that needs one message.

    Nothing where no seed is shown, or the view has no system message: then it is in the
    words of a small world, which has no such texts.

    Args:
        view: of an attacker; its seed decides among phrasings.
        held_out: families that are left out.
    """
    seed = seed_of(view)
    if not seed or not view.messages or view.messages[0].role != "system":
        return {}
    return {
        rewritten(strategy, seed, view.seed)[0]: strategy
        for strategy in STRATEGIES
        if strategy.least_exchanges == 1 and strategy.family not in held_out
    }


def rewritten(strategy: Strategy, seed: str, key: int) -> tuple[str, ...]:
    """Return the messages of one phrasing of a strategy about a seed."""
    phrasings = strategy.phrasings
    return strategy.about(seed, phrasings[mix(key, 1) % len(phrasings)])


def _drawn(usable: Sequence[Strategy], seed: str, key: int) -> _Script:
    strategy = usable[mix(key, 0) % len(usable)]
    return _Script(strategy, rewritten(strategy, seed, key))


def _continued(
    usable: Sequence[Strategy], seed: str, said: Sequence[str]
) -> _Script | None:
    """Return the script whose first message was said first; None before, or for other words."""
    if not said:
        return None
    for strategy in usable:
        for phrasing in strategy.phrasings:
            messages = strategy.about(seed, phrasing)
            if messages[0] == said[0]:
                return _Script(strategy, messages)
    return None


def _message(script: _Script, place: int, total: int) -> str:
    """Return the message at a place; the last one is never left out of a shorter game."""
    messages = script.messages
    if len(messages) > total:
        messages = (*messages[: total - 1], messages[-1])
    if place < len(messages):
        return messages[place]
    return FOLLOW_UPS[(place - len(messages)) % len(FOLLOW_UPS)]


def known_families(names: Sequence[str]) -> tuple[str, ...]:
    """Return families by name, checked.

    Raises:
        UnknownId: no such family.
        InvalidOption: no list.
    """
    return _listed("family of strategies", names, FAMILIES)


def _listed(
    kind: str, names: Sequence[str] | None, known: tuple[str, ...]
) -> tuple[str, ...]:
    if names is None:
        return known
    if isinstance(names, str):
        raise InvalidOption(f"give a list: [{names}] instead of {names!r}")
    for name in names:
        if name not in known:
            raise UnknownId(kind, str(name), known)
    return tuple(names)


def _failed(error: str) -> Reply:
    return Reply("", finish="error", error=error)
