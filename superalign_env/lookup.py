"""What an id means: a scenario by its name, an agent as people write it down."""

import inspect
from collections.abc import Mapping
from typing import Any

from superalign_env import registry
from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.protocols import Agent, AsyncAgent, Scenario


def scenario_id(name: str) -> str:
    """Return the versioned id that a name in any spelling means.

    ``red-team`` means its latest version; ``red-team-v0``, ``red_team_v0`` and
    ``superalign/RedTeam-v0`` are one.

    Raises:
        UnknownId: with the nearest ids.
    """
    known = registry.entries("scenario")
    if name in known:
        return name
    matches = []
    for versioned in known:
        plain, _, module, gym_id = registry.spell(versioned)
        if name in (module, gym_id):
            return versioned
        if name == plain:
            matches.append(versioned)
    if matches:
        return max(matches, key=lambda v: int(v.rpartition("-v")[2]))
    raise UnknownId("scenario", name, {registry.spell(v).plain for v in known})


def make_scenario(scenario: str | Scenario[Any], **options: Any) -> Scenario[Any]:
    """Return a scenario by id and options; one that is made already is returned as is.

    Raises:
        UnknownId: with the nearest ids.
        InvalidOption: an option that the scenario does not know, or what is no scenario.
    """
    if not isinstance(scenario, str):
        if inspect.isclass(scenario):
            name = scenario.__name__
            raise InvalidOption(f"{name} is a class; pass an instance, {name}(…)")
        if not hasattr(scenario, "id"):
            raise InvalidOption(
                f"{scenario!r} is no scenario; pass an id, or an object like those that "
                "docs/scenarios.md describes"
            )
        if options:
            raise InvalidOption(
                f"{scenario.id} is made already; options {sorted(options)} come late"
            )
        return scenario
    versioned = scenario_id(scenario)
    try:
        made: Scenario[Any] = registry.make("scenario", versioned, **options)
    except TypeError as error:  # a value of the wrong kind
        raise InvalidOption(f"{versioned}: {error}") from error
    return made


def referenced_agent(reference: str | Mapping[str, Any]) -> Agent | AsyncAgent:
    """Return the agent that a reference names: ``search``, ``{"id": "fixed", "text": "no"}``.

    How references are read is registered (kind ``reader``), since this package knows no
    agents.

    Raises:
        UnknownId: with the nearest ids.
        InvalidOption: an option that the agent does not know, or nobody reads references.
    """
    if "agent" not in registry.entries("reader"):
        raise InvalidOption(
            f"{reference!r} names an agent, but no package here knows agents by name; "
            "pass a function or an object with act(views)"
        )
    agent: Agent | AsyncAgent = registry.load("reader", "agent")(reference)
    return agent
