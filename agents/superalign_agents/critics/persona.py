"""A chat model that speaks as somebody: the same model, another point of view."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from superalign_agents.references import make_agent
from superalign_env.asking import Anyone, ask
from superalign_env.errors import InvalidOption
from superalign_env.types import AgentSpec, Message, Reply, View


class PersonaCritic:
    """Wraps a chat agent and puts a persona before everything that it reads.

    In any seat: a critic judges, a supervisor answers as the persona would. It knows what
    the model knows, and stands for nobody in particular.

    Args:
        agent: who speaks: an agent reference, or an agent. Best a chat model; other models
            read the persona as the first lines of their text.
        persona: who it is, in words: "You are a nurse who …".
        name: what it is called in records, beside the model.

    Raises:
        InvalidOption: an empty persona.
    """

    def __init__(
        self,
        agent: str | Mapping[str, Any] | Anyone,
        *,
        persona: str,
        name: str = "",
    ) -> None:
        if not persona.strip():
            raise InvalidOption("a persona needs words: persona='You are …'")
        self._agent = make_agent(agent)
        self._persona = persona.strip()
        self._name = name

    @property
    def spec(self) -> AgentSpec:
        """The agent, and who it speaks as."""
        own = self._agent.spec
        options = {"agent": {"id": own.id, **own.options}, "persona": self._persona}
        if self._name:
            options["name"] = self._name
        return AgentSpec("persona", options, own.policy)

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return what the agent says as the persona."""
        return ask(self._agent, [self._before(view) for view in views])

    def _before(self, view: View) -> View:
        """Return a view that begins with the persona; a system message joins it."""
        messages = view.messages
        if messages:
            system = self._persona
            if messages[0].role == "system":
                system, messages = f"{system}\n\n{messages[0].content}", messages[1:]
            messages = (Message("system", system), *messages)
        text = f"{self._persona}\n\n{view.text}"
        return msgspec.structs.replace(view, text=text, messages=messages)
