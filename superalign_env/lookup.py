"""Resolution of ids and references: scenarios by name, agents as users write them."""

import inspect
import operator
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from superalign_env import registry
from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.protocols import Agent, AsyncAgent, Scenario
from superalign_env.registry import check_options


def scenario_id(name: str) -> str:
    """Return the versioned id that a name in any spelling means.

    ``red-team`` means its latest version; ``red-team-v0``, ``red_team_v0`` and
    ``superalign/RedTeam-v0`` are one.

    Raises:
        UnknownId: with the nearest ids.
    """
    entries = registry.entries("scenario")
    if name in entries:
        return name
    matches = []
    for versioned in entries:
        plain, _, module, gym_id = registry.spell(versioned)
        if name in (module, gym_id):
            return versioned
        if name == plain:
            matches.append(versioned)
    if matches:
        return max(matches, key=lambda v: int(v.rpartition("-v")[2]))
    ids = {registry.spell(v).plain for v in entries}
    known_ids = f"{', '.join(sorted(ids))}, or module:attribute of a class of yours"
    raise UnknownId("scenario", name, ids, else_try=f"known: {known_ids}")


def make_scenario(scenario: str | Scenario[Any], **options: Any) -> Scenario[Any]:
    """Return a scenario by id and options; one that is made already is returned as is.

    ``module:attribute`` names a class, or a function that makes one, which is not registered.

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
    if ":" not in scenario:
        scenario_name = scenario_id(scenario)
        return _made(
            scenario_name, partial(registry.make, "scenario", scenario_name), options
        )
    target = named_object(scenario, kind="scenario")
    if inspect.isclass(target):
        check_options(f"scenario {scenario!r}", target, options)
    return _made(scenario, target, options)


def _made(
    scenario_name: str, make: Callable[..., Any], options: Mapping[str, Any]
) -> Scenario[Any]:
    """Call the constructor of a scenario.

    Raises:
        InvalidOption: it raises, or makes none.
    """
    try:
        rules: Scenario[Any] = make(**options)
    except (InvalidOption, UnknownId):
        raise
    except TypeError as error:  # a value of the wrong kind
        raise InvalidOption(f"{scenario_name}: {error}") from error
    except Exception as error:  # whatever a plug-in raises when it is made
        why = f"{type(error).__name__}: {error}"
        raise InvalidOption(f"scenario {scenario_name!r} cannot be made: {why}") from error
    if not hasattr(rules, "seats"):
        raise InvalidOption(
            f"{scenario_name} is no scenario: it has no seats, draw, reset, to_move, view and apply; "
            "name a class like those that docs/scenarios.md describes"
        )
    return rules


def named_object(name: str, *, kind: str) -> Any:
    """Return the object that ``module:attribute`` names.

    Args:
        name: of a module that can be imported, and of something in it.
        kind: it is wanted for, in errors.

    Raises:
        InvalidOption: there is no such module, or nothing in it is called so.
    """
    module, _, attribute = name.partition(":")
    try:
        return operator.attrgetter(attribute)(import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidOption(
            f"{name!r} names no {kind}: {error}; give module:attribute of something that can "
            "be imported here"
        ) from error
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        raise InvalidOption(
            f"{name!r} names no {kind}: {module} cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error


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
