"""One way to write down an agent, everywhere.

======================= =================================================
``search``              an id of the registry
``micro/3``             rung 3 of the ladder, seed 0; ``micro/3@2`` is seed 2
``qwen2.5/7B-Instruct`` a preset for a published model (hub, or ``$SUPERALIGN_MODELS``)
``path/to/folder``      a Hugging Face model folder
``hf:org/name``         a model of the hub
``endpoint:model``      a model behind an OpenAI-compatible server
``module:attribute``    a class or a function of yours
``{"id": …, key: …}``   any of the above with constructor arguments
======================= =================================================
"""

import inspect
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superalign_agents.ladders.families import known_presets, preset_of
from superalign_agents.ladders.rungs import RungReference, find_rungs, rung_folder
from superalign_env import registry
from superalign_env.callables import as_agent
from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.lookup import named_object
from superalign_env.options import check_options
from superalign_env.protocols import Agent, AsyncAgent

if TYPE_CHECKING:  # torch takes seconds to import
    from superalign_agents.transformer import TransformerAgent


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
        return _own(name, options)
    if (Path(name) / "config.json").is_file():
        return _transformer(name, name, options)
    rung = RungReference.parse(name)
    if rung is not None and any(known.family == rung.family for known in find_rungs()):
        return _transformer(str(rung_folder(rung)), name, options)
    preset = preset_of(name)
    if preset is not None:
        device = str(options.get("device", "cpu"))
        return _transformer(preset.location, name, {**preset.options(device), **options})
    raise UnknownId("agent", name, known_references(), else_try=_ELSE)


def require_known(reference: str | Mapping[str, Any]) -> None:
    """Raise where a reference names nobody; nothing is loaded, and no hub is asked.

    Raises:
        UnknownId: with the nearest ids.
    """
    name = reference if isinstance(reference, str) else str(reference.get("id"))
    if (
        ":" in name
        or name in registry.entries("agent")
        or (Path(name) / "config.json").is_file()
    ):
        return
    rung = RungReference.parse(name)
    if rung is not None and any(known.family == rung.family for known in find_rungs()):
        rung_folder(rung)  # says how one that is not here is built
    elif preset_of(name) is None:
        raise UnknownId("agent", name, known_references(), else_try=_ELSE)


_ELSE = (
    "an agent is an id (search, keyword, fixed … : superalign ls --kind agent), a rung "
    "(micro/3), a folder with a model, hf:org/name, endpoint:MODEL, or module:attribute of "
    "a class or a function of yours"
)


def known_references() -> list[str]:
    """Return every registered id, every rung that is here, and every preset."""
    rungs = [str(rung) for rung in find_rungs()]
    return [*registry.entries("agent"), *rungs, *known_presets()]


def _registered(name: str, options: dict[str, Any]) -> Agent | AsyncAgent:
    try:
        agent: Agent | AsyncAgent = registry.make("agent", name, **options)
    except TypeError as error:
        raise InvalidOption(f"agent {name!r}: {error}") from error
    return agent


def _own(name: str, options: dict[str, Any]) -> Agent | AsyncAgent:
    """Return the agent that a class makes, or that a function is."""
    thing: Any = named_object(name, what="agent")
    if inspect.isclass(thing):
        check_options(f"agent {name!r}", thing, options)
        try:
            thing = thing(**options)
        except TypeError as error:
            raise InvalidOption(f"agent {name!r}: {error}") from error
    elif options:
        raise InvalidOption(f"agent {name!r} is no class and takes no options: {options}")
    agent: Agent | AsyncAgent = as_agent(thing)
    return agent


def _transformer(source: str, name: str, options: dict[str, Any]) -> "TransformerAgent":
    module = import_module("superalign_agents.transformer")
    # What it was made from is settled by its name.
    known = {**options, "model_or_path": source, "reference": name}
    check_options(f"agent {name!r}", module.TransformerAgent, known)
    try:
        made: TransformerAgent = module.TransformerAgent(source, reference=name, **options)
    except TypeError as error:
        raise InvalidOption(f"agent {name!r}: {error}") from error
    return made
