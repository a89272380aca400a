"""A causal LM as an attacker, trained by REINFORCE on its own tokens.

Its reward is the success of a query plus ``ent_coef`` times −log p. Advantages over the
mean of the wave are divided by their standard deviation; there is no KL penalty.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache

from superalign_agents.batching import left_padded, positions
from superalign_agents.decoding import sample_tokens
from superalign_env.seeding import label, mix, uniforms
from superalign_env.types import View
from superalign_training.attackers.red_teaming import QueryOutcome
from superalign_training.policy import Policy

_STREAM = label("attackers.speaker")  # seeds of claimed results depend on the text
_FORBIDDEN = float("-inf")

INVALID_PENALTY = 1.0
"""Cost of an invalid query, in units of success."""

EXPLOIT_TEMPERATURE = 0.5
"""Of sampling once the attacker no longer explores."""


class Trie:
    """Prefix tree of token sequences, for decoding constrained to a set of texts.

    Args:
        sequences: permitted ones, end-of-sequence token included.
    """

    def __init__(self, sequences: Iterable[Sequence[int]]) -> None:
        self._next: list[dict[int, int]] = [{}]
        for sequence in sequences:
            node = 0
            for token in sequence:
                children = self._next[node]
                if token not in children:
                    children[token] = len(self._next)
                    self._next.append({})
                node = children[token]

    root = 0

    def step(self, node: int, token: int) -> int:
        """Return the node after a permitted token."""
        return self._next[node][token]

    def permitted(
        self, nodes: Sequence[int], vocabulary: int, *, device: torch.device | str = "cpu"
    ) -> torch.Tensor:
        """Return which tokens may follow: shape [len(nodes), vocabulary], boolean."""
        mask = torch.zeros((len(nodes), vocabulary), dtype=torch.bool, device=device)
        # One small copy to the device instead of a mask of the whole vocabulary.
        pairs = [
            (row, token) for row, node in enumerate(nodes) for token in self._next[node]
        ]
        if pairs:
            rows, tokens = torch.tensor(pairs, device=device).unbind(1)
            mask[rows, tokens] = True
        return mask


class _Queries(NamedTuple):
    """One batch of sampled queries. N queries, P the longest prompt, T the longest query."""

    ids: torch.Tensor
    """[N, P + T] prompt (padded on the left) and query (padded on the right)."""
    attention_mask: torch.Tensor
    """[N, P + T] 1 where there is a token."""
    permitted: torch.Tensor
    """[N, T, V] True where the token was permitted; everywhere, without a trie."""
    loss_mask: torch.Tensor
    """[N, T] 1 where the token is the attacker's own."""


class PolicyAttacker:
    """A causal LM as attacker, constrained to valid queries.

    Args:
        policy: changed in place.
        trie: queries that it may say, as the policy's tokens; None permits any text.
        learning_rate: of its optimiser.
        ent_coef: reward of one nat of −log p, in units of success.
    """

    id = "transformer"

    def __init__(
        self,
        policy: Policy,
        *,
        trie: Trie | None = None,
        learning_rate: float = 2e-3,
        ent_coef: float = 0.02,
    ) -> None:
        self.policy = policy
        self._trie = trie
        self._learning_rate = learning_rate
        self._ent_coef = ent_coef
        self._explored: _Queries | None = None

    def explore(self, views: Sequence[View]) -> list[str]:
        """Sample queries."""
        self._explored = self._sample(views, 1.0)
        return self._texts(self._explored)

    def exploit(self, views: Sequence[View]) -> list[str]:
        """Sample queries at a low temperature."""
        return self._texts(self._sample(views, EXPLOIT_TEMPERATURE))

    def learn(
        self,
        views: Sequence[View],
        queries: Sequence[str],
        outcomes: Sequence[QueryOutcome],
    ) -> None:
        """Take a step of REINFORCE on the wave that was explored last."""
        sampled = self._explored
        if sampled is None or len(sampled.ids) != len(queries):
            raise ValueError("learn from the queries that were explored last, all of them")
        success = torch.tensor(
            [o.success if o.valid else -INVALID_PENALTY for o in outcomes],
            device=sampled.ids.device,
        )
        optimizer = self.policy.optimizer(self._learning_rate)
        model: Any = self.policy.model
        logprob = _logprobs(model, sampled)
        reward = success - self._ent_coef * logprob.detach()
        advantages = (reward - reward.mean()) / (reward.std() + 1e-4)
        optimizer.zero_grad()
        (-(advantages * logprob).mean()).backward()  # type: ignore[no-untyped-call] # torch's
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        self.policy.agent.refresh()
        self._explored = None

    @torch.no_grad()
    def _sample(self, views: Sequence[View], temperature: float) -> _Queries:
        model: Any = self.policy.model
        longest = max(view.max_new_tokens for view in views)
        device = self.policy.model.device
        prompts = self.policy.agent.batch_prompt_ids(views)
        ids, mask = left_padded(prompts, device=device)
        seeds = [mix(view.seed, _STREAM) for view in views]
        draws = torch.as_tensor(uniforms(seeds, longest), device=device)
        end = int(self.policy.tokenizer.eos_token_id)
        ends = torch.as_tensor(sorted(self.policy.agent.stop_ids), device=device)
        nodes = [Trie.root] * len(views)
        cache, new_ids, position = DynamicCache(), ids, positions(mask)
        permitted, alive_masks = [], []
        alive = torch.ones(len(views), dtype=torch.bool, device=device)
        for step in range(longest):
            output = model(
                input_ids=new_ids,
                attention_mask=mask,
                position_ids=position,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            logits = output.logits[:, -1]
            allowed = self._allowed(nodes, alive, end, logits.shape[1])
            tokens, _ = sample_tokens(
                logits.masked_fill(~allowed, _FORBIDDEN), draws[:, step], temperature
            )
            permitted.append(allowed)
            alive_masks.append(alive.long())
            ids = torch.cat([ids, tokens[:, None]], 1)
            mask = torch.cat([mask, alive.long()[:, None]], 1)
            nodes = self._walked(nodes, tokens.tolist(), alive.tolist())
            alive = alive & ~torch.isin(tokens, ends)
            if not alive.any():
                break
            new_ids, position = tokens[:, None], position[:, -1:] + 1
        return _Queries(ids, mask, torch.stack(permitted, 1), torch.stack(alive_masks, 1))

    def _allowed(
        self, nodes: Sequence[int], alive: torch.Tensor, end: int, vocabulary: int
    ) -> torch.Tensor:
        """Return the permitted next tokens, [N, V]; ended queries repeat the end token."""
        if self._trie is None:
            allowed = torch.ones_like(alive)[:, None].repeat(1, vocabulary)
        else:
            allowed = self._trie.permitted(nodes, vocabulary, device=alive.device)
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

    def _texts(self, sampled: _Queries) -> list[str]:
        width, ends = sampled.loss_mask.shape[1], self.policy.agent.stop_ids
        rows = zip(
            sampled.ids[:, -width:].tolist(), sampled.loss_mask.tolist(), strict=True
        )
        return [
            str(
                self.policy.tokenizer.decode(
                    [
                        token
                        for token, is_own in zip(*row, strict=True)
                        if is_own and token not in ends  # it may be no special token
                    ],
                    skip_special_tokens=True,
                )
            ).removeprefix(" ")
            for row in rows
        ]


def _logprobs(model: Any, sampled: _Queries) -> torch.Tensor:
    """Return the log-probability of each query, [N]."""
    width = sampled.loss_mask.shape[1]
    output = model(
        input_ids=sampled.ids,
        attention_mask=sampled.attention_mask,
        position_ids=positions(sampled.attention_mask),
        logits_to_keep=width + 1,
    )
    logits = output.logits[:, :-1].float().masked_fill(~sampled.permitted, _FORBIDDEN)
    tokens = sampled.ids[:, -width:, None]
    logprobs = logits.log_softmax(-1).gather(-1, tokens)[..., 0]
    total: torch.Tensor = (logprobs * sampled.loss_mask).sum(1)
    return total
