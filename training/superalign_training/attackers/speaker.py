"""An attacker that is a causal LM, learned by REINFORCE on its own tokens.

It rewrites the seed that its view shows. The pay of a query is its success plus ``bonus``
times its surprise −log p; an invalid query costs ``price``. Leads over the wave's mean pay
are divided by their spread, and the divergence from where it began is not paid for: the
bonus alone keeps it from saying one thing only.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache

from superalign_agents.decoding import left_padded, positions, sample_tokens
from superalign_env.seeding import label, mix, uniforms
from superalign_env.types import View
from superalign_training.attackers.field import Outcome
from superalign_training.attackers.trie import Trie
from superalign_training.policy import Policy

_STREAM = label("attackers.speaker")
_FORBIDDEN = float("-inf")


class _Said(NamedTuple):
    """One batch of queries. N queries, P the longest prompt, T the longest query."""

    ids: torch.Tensor
    """[N, P + T] prompt (padded on the left) and query (padded on the right)."""
    mask: torch.Tensor
    """[N, P + T] 1 where there is a token."""
    permitted: torch.Tensor
    """[N, T, V] what might have been said there; everything, without a trie."""
    spoken: torch.Tensor
    """[N, T] 1 where the attacker spoke."""


class Speaker:
    """A policy that speaks in the attacker's seat.

    Args:
        policy: changed in place.
        trie: queries that it may say, as the policy's tokens; None permits any text.
        rate: of its optimiser.
        bonus: weight of the surprise, in units of success for one nat.
        price: what an invalid query costs, in units of success: the validity floor.
        passes: gradient steps on each wave.
        sharpness: by how much logits are multiplied to succeed instead of to explore.
    """

    id = "transformer"

    def __init__(
        self,
        policy: Policy,
        *,
        trie: Trie | None = None,
        rate: float = 2e-3,
        bonus: float = 0.02,
        price: float = 1.0,
        passes: int = 1,
        sharpness: float = 2.0,
    ) -> None:
        self.policy = policy
        self._trie = trie
        self._rate = rate
        self._bonus = bonus
        self._price = price
        self._passes = passes
        self._sharpness = sharpness
        self._said: _Said | None = None

    def explore(self, views: Sequence[View]) -> list[str]:
        """Sample queries."""
        self._said = self._speak(views, 1.0)
        return self._texts(self._said)

    def exploit(self, views: Sequence[View]) -> list[str]:
        """Sample from the sharpened policy."""
        return self._texts(self._speak(views, self._sharpness))

    def learn(
        self, views: Sequence[View], queries: Sequence[str], outcomes: Sequence[Outcome]
    ) -> None:
        """Take steps of REINFORCE on the wave that was explored last."""
        said = self._said
        if said is None or len(said.ids) != len(queries):
            raise ValueError("learn from the queries that were explored last, all of them")
        paid = torch.tensor(
            [o.success if o.valid else -self._price for o in outcomes],
            device=said.ids.device,
        )
        optimizer = self.policy.optimizer(self._rate)
        model: Any = self.policy.model
        for _ in range(self._passes):
            logprob = _logprobs(model, said)
            pay = paid - self._bonus * logprob.detach()
            lead = (pay - pay.mean()) / (pay.std() + 1e-4)
            optimizer.zero_grad()
            (-(lead * logprob).mean()).backward()  # type: ignore[no-untyped-call] # torch's
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        optimizer.zero_grad()
        self.policy.agent.refresh()
        self._said = None

    @torch.no_grad()
    def _speak(self, views: Sequence[View], sharpness: float) -> _Said:
        model: Any = self.policy.model
        longest = max(view.max_new_tokens for view in views)
        device = self.policy.model.device
        prompts = self.policy.agent.batch_prompt_ids(views)
        ids, mask = left_padded(prompts, device=device)
        seeds = [mix(view.seed, _STREAM) for view in views]
        draws = torch.as_tensor(uniforms(seeds, longest), device=device)
        end = int(self.policy.tokenizer.eos_token_id)
        nodes = [Trie.root] * len(views)
        cache, fresh, position = DynamicCache(), ids, positions(mask)
        permitted, spoken = [], []
        alive = torch.ones(len(views), dtype=torch.bool, device=device)
        for step in range(longest):
            output = model(
                input_ids=fresh,
                attention_mask=mask,
                position_ids=position,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            logits = output.logits[:, -1]
            allowed = self._allowed(nodes, alive, end, logits.shape[1])
            tokens, _ = sample_tokens(
                logits.masked_fill(~allowed, _FORBIDDEN), draws[:, step], 1 / sharpness
            )
            permitted.append(allowed)
            spoken.append(alive.long())
            ids = torch.cat([ids, tokens[:, None]], 1)
            mask = torch.cat([mask, alive.long()[:, None]], 1)
            nodes = self._walked(nodes, tokens.tolist(), alive.tolist())
            alive = alive & (tokens != end)
            if not alive.any():
                break
            fresh, position = tokens[:, None], position[:, -1:] + 1
        return _Said(ids, mask, torch.stack(permitted, 1), torch.stack(spoken, 1))

    def _allowed(
        self, nodes: Sequence[int], alive: torch.Tensor, end: int, vocabulary: int
    ) -> torch.Tensor:
        """Return what may follow, [N, V]; those that have ended say the end again."""
        if self._trie is None:
            allowed = torch.ones_like(alive)[:, None].repeat(1, vocabulary)
        else:
            allowed = self._trie.permitted(nodes, vocabulary).to(alive.device)
        allowed[~alive] = False
        allowed[~alive, end] = True
        return allowed

    def _walked(
        self, nodes: list[int], tokens: Sequence[int], alive: Sequence[bool]
    ) -> list[int]:
        if self._trie is None:
            return nodes
        return [
            self._trie.step(node, token) if live else node
            for node, token, live in zip(nodes, tokens, alive, strict=True)
        ]

    def _texts(self, said: _Said) -> list[str]:
        width = said.spoken.shape[1]
        rows = zip(said.ids[:, -width:].tolist(), said.spoken.tolist(), strict=True)
        return [
            str(
                self.policy.tokenizer.decode(
                    [token for token, own in zip(*row, strict=True) if own],
                    skip_special_tokens=True,
                )
            ).removeprefix(" ")
            for row in rows
        ]


def _logprobs(model: Any, said: _Said) -> torch.Tensor:
    """Return the log-probability of each query, [N]."""
    width = said.spoken.shape[1]
    output = model(
        input_ids=said.ids,
        attention_mask=said.mask,
        position_ids=positions(said.mask),
        logits_to_keep=width + 1,
    )
    logits = output.logits[:, :-1].float().masked_fill(~said.permitted, _FORBIDDEN)
    tokens = said.ids[:, -width:, None]
    logprobs = logits.log_softmax(-1).gather(-1, tokens)[..., 0]
    total: torch.Tensor = (logprobs * said.spoken).sum(1)
    return total
