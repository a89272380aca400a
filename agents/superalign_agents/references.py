"""Agent references: one way to write down an agent, everywhere.

======================= =================================================
``search``              an id of the registry
``micro/3``             rung 3 of the ladder, seed 0; ``micro/3@2`` is seed 2
``smollm2``             a published model that ``superalign ladder fetch`` brings here
``qwen2.5/7B-Instruct`` a preset for a published model (hub, or ``$SUPERALIGN_MODELS``)
``path/to/folder``      a Hugging Face model folder; of a classifier, a critic
``hf:org/name``         a model of the hub
``endpoint:model``      a model behind an OpenAI-compatible server
``module:attribute``    a class or a function of yours
``{"id": …, key: …}``   any of the above with constructor arguments
======================= =================================================
"""

import inspect
import json
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from superalign_agents.ladders import (
    RungReference,
    fetched_models,
    find_rungs,
    known_presets,
    preset_of,
    rung_folder,
)
from superalign_env import registry
from superalign_env.capabilities import facts_of
from superalign_env.errors import InvalidOption, SuperalignError, UnknownId
from superalign_env.lookup import named_object
from superalign_env.protocols import Agent, AsyncAgent, Scenario
from superalign_env.registry import check_options
from superalign_env.seating import as_agent
from superalign_env.types import Seat, role_of

if TYPE_CHECKING:  # torch takes seconds to import
    from superalign_agents.transformer import TransformerAgent

_FACT_AGENTS = {"queries": "search", "judged": "keyword"}
"""Fact of a scenario → default agent of the role that makes it."""

_RENDERER_AGENTS = {"micro": "micro/3"}
"""Renderer → default agent of the other seats; `random-menu` for every other renderer."""

_REFERENCE_HELP = (
    "an agent is an id (search, keyword, fixed … : superalign ls --kind agent), a rung "
    "(micro/3), a folder with a model, hf:org/name, endpoint:MODEL, or module:attribute of "
    "a class or a function of yours"
)


def make_agent(
    reference: "str | Path | Mapping[str, Any] | Agent | AsyncAgent",
) -> Agent | AsyncAgent:
    """Return the agent that a reference names; an agent is returned as it is.

    Raises:
        UnknownId: nothing is called so; the message names the nearest ids.
        InvalidOption: a mapping without an id, or an option the agent does not take.
    """
    if isinstance(reference, Mapping):
        options = dict(reference)
        name = options.pop("id", None)
        if not isinstance(name, str):
            raise InvalidOption(f"an agent's mapping needs an id; got {dict(reference)!r}")
        return _make(name, options)
    if isinstance(reference, (str, Path)):
        return _make(str(reference), {})
    return reference


def _make(name: str, options: dict[str, Any]) -> Agent | AsyncAgent:
    """Resolve a name, in the order of the table above."""
    kind, _, rest = name.partition(":")
    if kind == "hf" and rest:
        return _transformer(rest, name, options)
    if kind == "endpoint" and rest:
        name, options = "endpoint", {"model": rest, **options}
    if name in registry.entries("agent"):
        return _registered(name, options)
    if rest and all(part.isidentifier() for part in kind.split(".")):
        return _user_agent(name, options)
    folder = name if _holds_model(name) else fetched_models().get(name)
    if folder is not None:
        return _of_folder(str(folder), name, options)
    rung = RungReference.parse(name)
    if rung is not None and any(r.family == rung.family for r in find_rungs()):
        return _transformer(str(rung_folder(rung)), name, options)
    preset = preset_of(name)
    if preset is not None:
        device = str(options.get("device", "cpu"))
        return _transformer(preset.location, name, {**preset.options(device), **options})
    raise _unknown(name)


def require_known(reference: str | Mapping[str, Any]) -> None:
    """Raise where a reference names no agent; nothing is loaded, and no hub is asked.

    Raises:
        UnknownId: with the nearest ids, or how a rung that is not here is built.
        InvalidOption: a mapping without an id.
    """
    name = reference if isinstance(reference, str) else reference.get("id")
    if not isinstance(name, str):
        raise InvalidOption(
            f"{reference} names no agent; add its id, as in {{id: micro/3}}"
        )
    if ":" in name or name in registry.entries("agent") or _holds_model(name):
        return
    if name in fetched_models():
        return
    rung = RungReference.parse(name)
    if rung is not None and any(known.family == rung.family for known in find_rungs()):
        rung_folder(rung)
        return
    preset = preset_of(name)
    if preset is None:
        raise _unknown(name)
    _ = preset.location  # raises where it has to be fetched first


def _holds_model(name: str) -> bool:
    try:
        return (Path(name) / "config.json").is_file()
    except OSError:  # too long for a path, or nothing that may be looked at
        return False


def _of_folder(folder: str, name: str, options: dict[str, Any]) -> Agent | AsyncAgent:
    if is_classifier(folder):
        return _registered("classifier", {"model": folder, **options})
    return _transformer(folder, name, options)


def is_classifier(folder: str) -> bool:
    """Whether the model in a folder is a sequence classifier: a guard or a reward model."""
    try:
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        names = config.get("architectures") or []
        return any(str(n).endswith("ForSequenceClassification") for n in names)
    except (OSError, ValueError, AttributeError, TypeError):
        return False  # whoever loads it says what is wrong


def _unknown(name: str) -> UnknownId:
    """Return the error about a reference that names nobody."""
    help_ = _REFERENCE_HELP
    if len(name) < 255 and name.startswith(("/", "./", "../", "~")):
        what = "a folder without config.json" if Path(name).is_dir() else "no such folder"
        help_ = f"here is {what}; {help_}"
    return UnknownId("agent", name, known_references(), else_try=help_)


def known_references() -> list[str]:
    """Return every registered id, rung that is here, fetched model and preset."""
    rungs = [str(rung) for rung in find_rungs()]
    return [*registry.entries("agent"), *rungs, *fetched_models(), *known_presets()]


def _registered(name: str, options: dict[str, Any]) -> Agent | AsyncAgent:
    try:
        agent: Agent | AsyncAgent = registry.make("agent", name, **options)
    except TypeError as error:
        raise InvalidOption(f"agent {name!r}: {error}") from error
    return agent


def _user_agent(name: str, options: dict[str, Any]) -> Agent | AsyncAgent:
    """Return the agent of ``module:attribute``: an instance of a class, or a function."""
    thing: Any = named_object(name, kind="agent")
    if inspect.isclass(thing):
        check_options(f"agent {name!r}", thing, options)
        try:
            thing = thing(**options)
        except SuperalignError:
            raise
        except TypeError as error:
            raise InvalidOption(f"agent {name!r}: {error}") from error
        except (Exception, SystemExit) as error:  # whatever its constructor raises
            why = f"{type(error).__name__}: {error}"
            raise InvalidOption(f"agent {name!r} cannot be made: {why}") from error
    elif options:
        raise InvalidOption(f"agent {name!r} is no class and takes no options: {options}")
    agent: Agent | AsyncAgent = as_agent(thing)
    return agent


def _transformer(source: str, name: str, options: dict[str, Any]) -> "TransformerAgent":
    module = import_module("superalign_agents.transformer")
    # What it was made from is settled by its name.
    settings = {**options, "model_or_path": source, "reference": name}
    check_options(f"agent {name!r}", module.TransformerAgent, settings)
    try:
        made: TransformerAgent = module.TransformerAgent(source, reference=name, **options)
    except TypeError as error:
        raise InvalidOption(f"agent {name!r}: {error}") from error
    return made


def seat_references(
    scenario: Scenario[Any],
    chosen: Mapping[str, Any],
    defaults: Mapping[Seat, Any] = MappingProxyType({}),
) -> dict[Seat, Any]:
    """Return the agent reference of every seat: chosen by seat, else by role, else a default.

    Args:
        scenario: whose seats.
        chosen: seat or role → reference.
        defaults: of seats for which nobody was chosen; by declared facts when absent.

    Raises:
        UnknownId: a chosen seat or role that the scenario does not have.
    """
    roles = {seat: role_of(seat) for seat in scenario.seats}
    names = list(dict.fromkeys([*roles, *roles.values()]))
    for name in chosen:
        if name not in names:
            raise UnknownId("seat", name, names)
    by_role = {
        role: _FACT_AGENTS[fact]
        for fact, role in facts_of(scenario).items()
        if fact in _FACT_AGENTS
    }
    other = _RENDERER_AGENTS.get(str(scenario.options.get("renderer")), "random-menu")
    usual = {seat: by_role.get(role, other) for seat, role in roles.items()}
    usual |= defaults
    return {
        seat: chosen.get(seat, chosen.get(role, usual[seat]))
        for seat, role in roles.items()
    }


def make_lineup(seats: Mapping[Seat, Any]) -> dict[Seat, Agent | AsyncAgent]:
    """Return an agent for every seat; equal references share one agent."""
    agents: dict[str, Agent | AsyncAgent] = {}
    lineup = {}
    for seat, reference in seats.items():
        key = json.dumps(reference, sort_keys=True)
        if key not in agents:
            agents[key] = make_agent(reference)
        lineup[seat] = agents[key]
    return lineup


def read_pairs(
    pairs: Iterable[str], *, what: str = "KEY=VALUE", example: str = "refine=1"
) -> dict[str, Any]:
    """Parse KEY=VALUE pairs; values are JSON where they can be, else text.

    Lists and mappings may leave out the quotes: ``{id: fixed, text: comply}``.

    Args:
        pairs: as they were written.
        what: name of a pair in messages.
        example: one, for messages.

    Raises:
        InvalidOption: no equals sign.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InvalidOption(f"{pair!r} is no {what}; write it as in {example}")
        try:
            values[key] = json.loads(value)
        except ValueError:
            values[key] = _yaml_value(value)
    return values


def _yaml_value(text: str) -> Any:
    """Return a list or a mapping that is written as YAML, else the text itself."""
    if not text.startswith(("{", "[")):
        return text
    try:
        return msgspec.yaml.decode(text)
    except ValueError:
        return text
