"""Agents for seats: ``as_agent(lambda text: "refuse")`` and references made agents."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, overload

from superalign_env.admission import failure
from superalign_env.asking import Anyone
from superalign_env.canonical import from_json, to_json
from superalign_env.errors import InvalidOption, ProtocolError, hint, nearest
from superalign_env.lookup import referenced_agent
from superalign_env.protocols import Agent, AsyncAgent, Scenario, one_for_each
from superalign_env.types import AgentSpec, Reply, Seat, View

Answer = Reply | str
"""What a callable may return: a reply, or only its text."""


class CallableAgent:
    """A function in a seat. It is called once for each view, in order.

    Args:
        answer: takes the view, or only its text.
        name: id in the record.
        wants_view: whether `answer` takes the view.
    """

    def __init__(
        self, answer: Callable[[Any], Answer], *, name: str, wants_view: bool = False
    ) -> None:
        self._answer = answer
        self._wants_view = wants_view
        self._spec = AgentSpec(name)

    @property
    def spec(self) -> AgentSpec:
        """The name; a function cannot be made again from its record."""
        return self._spec

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return the function's reply to every view."""
        return [
            _as_reply(self._answer(view if self._wants_view else view.text), self._spec.id)
            for view in views
        ]


class AsyncCallableAgent:
    """A coroutine function in a seat; arguments as `CallableAgent`."""

    def __init__(
        self,
        answer: Callable[[Any], Awaitable[Answer]],
        *,
        name: str,
        wants_view: bool = False,
    ) -> None:
        self._answer = answer
        self._wants_view = wants_view
        self._spec = AgentSpec(name)

    @property
    def spec(self) -> AgentSpec:
        """The name; a function cannot be made again from its record."""
        return self._spec

    async def reply(self, view: View) -> Reply:
        """Return the coroutine function's reply."""
        return _as_reply(
            await self._answer(view if self._wants_view else view.text), self._spec.id
        )


class NamedAgent:
    """An object with ``act`` and no ``spec``, given a name."""

    def __init__(self, agent: Any, *, name: str) -> None:
        self._agent = agent
        self._spec = AgentSpec(name)

    @property
    def spec(self) -> AgentSpec:
        """The name."""
        return self._spec

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return the object's replies; texts become replies."""
        name = self._spec.id
        answers = one_for_each(views, self._agent.act(views), name)
        return [_as_reply(answer, name) for answer in answers]


@overload
def as_agent(thing: AsyncAgent, *, name: str = "") -> AsyncAgent: ...
@overload
def as_agent(thing: str | Mapping[str, Any], *, name: str = "") -> Agent | AsyncAgent: ...
@overload
def as_agent(thing: Agent, *, name: str = "") -> Agent: ...
@overload
def as_agent(
    thing: Callable[[str], Awaitable[Answer]], *, name: str = ""
) -> AsyncAgent: ...
@overload
def as_agent(
    thing: Callable[[View], Awaitable[Answer]], *, name: str = ""
) -> AsyncAgent: ...
@overload
def as_agent(thing: Callable[[str], Answer], *, name: str = "") -> Agent: ...
@overload
def as_agent(thing: Callable[[View], Answer], *, name: str = "") -> Agent: ...
def as_agent(thing: Any, *, name: str = "") -> Agent | AsyncAgent:
    """Return an agent that sits in for the given thing.

    A function gets the view when its first parameter is annotated `View` or named
    ``view``; otherwise it gets the view's text. Coroutine functions become async agents.
    Objects that are agents already are returned as they are. A text or a mapping is a
    reference: ``search``, ``micro/3``, ``{"id": "fixed", "text": "no"}``.

    Args:
        thing: a callable, an object with ``act(views)`` or ``async reply(view)``, or a
            reference.
        name: id in the record; the callable's own name when empty.

    Raises:
        InvalidOption: the thing is a class, or nothing that can answer.
        UnknownId: a reference that names nobody.
    """
    if isinstance(thing, (str, Mapping)):
        return referenced_agent(thing)
    if inspect.isclass(thing):
        raise InvalidOption(
            f"{thing.__name__} is a class; pass an instance, {thing.__name__}(…)"
        )
    name = name or str(getattr(thing, "__name__", type(thing).__name__)).strip("<>")
    if isinstance(_spec_of(thing), AgentSpec):
        if isinstance(thing, (Agent, AsyncAgent)):
            return thing
    elif callable(getattr(thing, "act", None)):
        if callable(getattr(thing, "improve", None)):
            raise InvalidOption(
                f"{name} improves itself and has no spec; give it one, so that the record can "
                f'name it: spec = AgentSpec("{name.lower()}")'
            )
        return NamedAgent(thing, name=name)
    elif inspect.iscoroutinefunction(getattr(thing, "reply", None)):
        return AsyncCallableAgent(thing.reply, name=name, wants_view=True)
    if not callable(thing):
        raise InvalidOption(
            f"{type(thing).__name__} cannot answer; pass a function of the view's text, an "
            "object with act(views) or async reply(view), or the id of an agent"
        )
    _require_one_argument(thing, name)
    wants_view = _wants_view(thing)
    if inspect.iscoroutinefunction(thing) or inspect.iscoroutinefunction(
        type(thing).__call__
    ):
        return AsyncCallableAgent(thing, name=name, wants_view=wants_view)
    return CallableAgent(thing, name=name, wants_view=wants_view)


def _spec_of(thing: object) -> object:
    """Return the spec of a thing, None where it has none.

    Raises:
        InvalidOption: it cannot be read.
    """
    try:
        return getattr(thing, "spec", None)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a plug-in's property raises
        raise InvalidOption(
            f"the spec of {type(thing).__name__} cannot be read: {failure(error).error}"
        ) from error


def _require_one_argument(answer: Callable[..., Any], name: str) -> None:
    """Raise where a function cannot be called with a view, or its text, alone.

    Raises:
        InvalidOption: it takes none, or needs more.
    """
    try:
        inspect.signature(answer).bind("")
    except ValueError:  # some builtins have no signature
        return
    except TypeError as error:
        raise InvalidOption(
            f"{name}{inspect.signature(answer)} cannot answer ({error}); a function in a seat "
            "takes the view's text, or the view: def answer(text) or def answer(view: View)"
        ) from error


def _wants_view(answer: Callable[..., Any]) -> bool:
    """Whether the first parameter is a view rather than a text."""
    try:
        first = next(iter(inspect.signature(answer).parameters.values()), None)
    except ValueError:  # some builtins have no signature
        return False
    if first is None:
        return False
    kind = first.annotation
    kind_name = kind.rpartition(".")[2] if isinstance(kind, str) else kind
    return kind_name is View or kind_name == "View" or first.name == "view"


def _as_reply(answer: object, name: str) -> Reply:
    if isinstance(answer, Reply):
        return answer
    if isinstance(answer, str):
        return Reply(answer)
    raise ProtocolError(
        f"{name} returned a {type(answer).__name__}; return a str or a Reply"
    )


AgentLike = Anyone | Callable[..., Any] | str | Mapping[str, Any]
"""An agent, or what `as_agent` makes one of: a function, or a reference."""


def seated(scenario: Scenario[Any], agents: Mapping[Seat, AgentLike]) -> dict[Seat, Anyone]:
    """Return an agent for every seat, in the scenario's order.

    One object in several seats stays one agent, so that it is asked once for all; so do
    equal references.

    Raises:
        InvalidOption: an empty seat, or an agent for a seat that does not exist.
    """
    seats = scenario.seats
    unknown = [seat for seat in agents if seat not in seats]
    if unknown:
        raise InvalidOption(
            f"{scenario.id} has no seat {unknown[0]!r}; "
            f"{hint(nearest(unknown[0], seats), seats, listed='its seats')}"
        )
    empty = [seat for seat in seats if seat not in agents]
    if empty:
        raise InvalidOption(
            f"nobody sits in {', '.join(empty)}; pass agents={{{empty[0]!r}: agent, …}}"
        )
    made: dict[int | bytes, Anyone] = {}
    lineup = {}
    for seat in seats:
        identity = _identity(agents[seat])
        if identity not in made:
            made[identity] = as_agent(agents[seat])
        lineup[seat] = made[identity]
    return lineup


def _identity(agent: AgentLike) -> int | bytes:
    """Return what is the same for agents that are one."""
    if isinstance(agent, (str, Mapping)):
        try:
            return to_json(agent)
        except (TypeError, ValueError):  # a reference that holds objects of Python
            pass
    return id(agent)


def recordable_specs(agents: Mapping[Seat, Anyone]) -> dict[Seat, AgentSpec]:
    """Return the specs of all seats, once it is known that the record can hold them.

    Raises:
        InvalidOption: names the seat whose agent has none, or one that has no JSON form.
    """
    specs = {}
    for seat, agent in agents.items():
        try:
            specs[seat] = spec = agent.spec
            from_json(to_json(spec), AgentSpec)
        except Exception as error:  # whatever a plug-in's property raises
            raise InvalidOption(
                f"{seat}: the spec of {type(agent).__name__} cannot be recorded "
                f"({type(error).__name__}: {error}); give AgentSpec an id and options of "
                "plain JSON values"
            ) from error
    return specs
