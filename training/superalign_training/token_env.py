"""A seat as a token-level environment: prompts as observations, `Discrete` tokens as actions.

So that Stable-Baselines3's PPO and ours meet on equal terms: a step of this environment is
one sampled token, and `superalign_training.algorithms.sb3.baseline_training` puts the same network
behind it.
"""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption, ProtocolError
from superalign_env.game import OnInvalid
from superalign_env.one_seat import OneSeatEnv
from superalign_env.protocols import Scenario
from superalign_env.types import Seat

Ids = NDArray[np.int64]

NOTHING = -1
"""Stands to the left of the first token."""


class TokenEnv(gymnasium.Env[Ids, np.int64]):
    """A one-seat environment with one token per action.

    The observation holds the ids of the prompt and of what was said of this turn so far,
    right-aligned; the oldest fall out on the left. An utterance ends with a stop token, or
    after the view's `max_new_tokens`; only then does the environment move, and pay. One
    leading space is no part of an utterance, as everywhere in word models.

    Args:
        env: the seat to play.
        agent: whose prompts, tokenizer and stop tokens are used; it is never asked.
        context: longest observation, in tokens; the agent's own when absent.

    Raises:
        InvalidOption: a context below two tokens, or a tokenizer without a stop token.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium's declaration

    def __init__(
        self, env: OneSeatEnv, agent: TransformerAgent, *, context: int | None = None
    ) -> None:
        self.context = agent.max_context if context is None else context
        self.stops = _stop_ids(agent)
        if self.context < 2 or not self.stops:
            raise InvalidOption(
                f"{agent.reference} needs a context of at least 2 tokens (it is "
                f"{self.context}) and a stop token (tokenizer.eos_token)"
            )
        self.seat_env = env
        self.agent = agent
        model: Any = agent.model  # transformers leaves the next method untyped
        tokens = int(model.get_output_embeddings().weight.shape[0])
        self.observation_space = spaces.Box(
            NOTHING, tokens - 1, (self.context,), dtype=np.int64
        )
        self.action_space = spaces.Discrete(tokens)
        self._prompt: list[int] = []
        self._said: list[int] = []
        self._limit = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Ids, dict[str, Any]]:
        """Begin the next case; arguments as `OneSeatEnv.reset`.

        Raises:
            ProtocolError: a view that leaves nothing to read or no room to speak.
        """
        super().reset(seed=seed)
        _, info = self.seat_env.reset(seed=seed, options=options)
        self._listen(info)
        return self._observe(), self._info(info)

    def step(self, action: np.int64) -> tuple[Ids, float, bool, bool, dict[str, Any]]:
        """Append one token; the reward comes with the end of an utterance.

        Raises:
            ProtocolError: a view that leaves nothing to read or no room to speak.
        """
        self._said.append(int(action))
        if self._said[-1] not in self.stops and len(self._said) < self._limit:
            return self._observe(), 0.0, False, False, {"asked": 1, "parts": {}}
        text = str(self.agent.tokenizer.decode(self._said, skip_special_tokens=True))
        _, reward, terminated, truncated, info = self.seat_env.step(text.removeprefix(" "))
        self._listen(info)
        return self._observe(), reward, terminated, truncated, self._info(info)

    def _listen(self, info: Mapping[str, Any]) -> None:
        """Read the next view, if there is one."""
        self._said = []
        view = info.get("view")
        if view is None:
            self._prompt = []
            return
        self._prompt = self.agent.prompt_ids(view)
        self._limit = view.max_new_tokens
        if not self._prompt:
            raise ProtocolError(
                f"{view.seat} reads nothing at turn {view.turn}, or {self._limit} new tokens "
                f"do not fit into {self.agent.max_context}; lower max_new_tokens"
            )

    def _observe(self) -> Ids:
        ids = np.full(self.context, NOTHING, np.int64)
        window = (self._prompt + self._said)[-self.context :]
        ids[self.context - len(window) :] = window
        return ids

    def _info(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """Return the info without views: vector environments copy every info deeply."""
        return {"asked": info["asked"], "parts": info["parts"]}


def token_env(
    scenario: Scenario[Any],
    seat: Seat,
    *,
    agent: TransformerAgent,
    others: Mapping[Seat, Any] | None = None,
    context: int | None = None,
    seed: int = 0,
    on_invalid: OnInvalid = "penalise",
) -> TokenEnv:
    """Return one seat of a scenario as a token-level Gymnasium environment.

    Args:
        scenario: the rules.
        seat: who learns.
        agent: whose prompts, tokenizer and stop tokens are used.
        others: agents of all other seats.
        context: longest observation, in tokens.
        seed: the run's seed until `reset` names another.
        on_invalid: see `superalign_env.aec.RawAECEnv`.
    """
    env = OneSeatEnv(scenario, seat=seat, others=others, seed=seed, on_invalid=on_invalid)
    return TokenEnv(env, agent, context=context)


def _stop_ids(agent: TransformerAgent) -> frozenset[int]:
    """Return the end-of-sequence tokens of tokenizer and model, the agent's stop tokens."""
    declared = getattr(agent.model.generation_config, "eos_token_id", None)
    ids = [
        *(declared if isinstance(declared, list) else [declared]),
        agent.tokenizer.eos_token_id,
    ]
    return frozenset(int(i) for i in ids if i is not None)
