"""Likelihood of the first words of an answer under a causal LM, without sampling."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from superalign_agents.batching import left_padded, positions
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption
from superalign_env.protocols import Agent
from superalign_env.types import View

Numbers = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Likelihoods(NamedTuple):
    """Likelihoods of W first words of the answers to N views."""

    probability: Numbers
    """[N, W] that sampling at temperature 1 begins with the word."""
    greedy: Mask
    """[N, W] whether decoding at temperature 0 begins with it."""


def answer_likelihoods(
    agent: Agent, views: Sequence[View], words: Sequence[str], *, batch: int = 512
) -> Likelihoods:
    """Return the likelihoods of first words of any agent's answers.

    A causal LM is read; any other agent is asked once and taken at its word, with
    probability 0 or 1. Arguments and errors as `first_word_likelihoods`.
    """
    if isinstance(agent, TransformerAgent):
        return first_word_likelihoods(agent, views, words, batch=batch)
    texts = [reply.text.split() for reply in agent.act(views)]
    matches = np.array(
        [[text[: len(word.split())] == word.split() for word in words] for text in texts],
        np.bool_,
    ).reshape(len(texts), len(words))
    return Likelihoods(matches.astype(np.float64), matches)


def first_word_likelihoods(
    agent: TransformerAgent,
    views: Sequence[View],
    words: Sequence[str],
    *,
    batch: int = 512,
) -> Likelihoods:
    """Return the likelihoods of first words: one forward pass for all single tokens.

    Args:
        agent: whose weights answer; its own temperature does not matter.
        views: what it is shown.
        words: beginnings of answers, none the beginning of another.
        batch: views in one pass.

    Raises:
        InvalidOption: a view that leaves nothing to read, or a word without tokens.
    """
    prompts = agent.batch_prompt_ids(views)
    if not all(prompts):
        raise InvalidOption(
            f"{agent.reference} reads nothing of a view; raise max_context so that the "
            "reply leaves room for a prompt"
        )
    # Without the end-of-sequence token, which closes what an agent would have said.
    tokens = [agent.reply_ids(views[0], word)[:-1] for word in words] if views else []
    if not all(tokens):
        raise InvalidOption(
            f"a word of {list(words)!r} has no tokens for {agent.reference}"
        )
    likely = Likelihoods(
        np.zeros((len(views), len(words))), np.zeros((len(views), len(words)), np.bool_)
    )
    # Passes over prompts of one length need no padding.
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    was_training = agent.model.training
    agent.model.train(False)
    try:
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            for column, ids in _scored(agent, [prompts[row] for row in rows], tokens):
                likely.probability[rows, column] = ids.probability[:, 0]
                likely.greedy[rows, column] = ids.greedy[:, 0]
    finally:
        agent.model.train(was_training)
    return likely


def _scored(
    agent: TransformerAgent, prompts: Sequence[list[int]], words: Sequence[tuple[int, ...]]
) -> list[tuple[int, Likelihoods]]:
    """Return (index of the word, likelihoods [B, 1]); words with one stem share a pass."""
    scored = []
    stems: dict[tuple[int, ...], list[int]] = {}
    for column, word in enumerate(words):
        stems.setdefault(word[:-1], []).append(column)
    for stem, columns in stems.items():
        logits = _logits(agent, [[*prompt, *stem] for prompt in prompts], len(stem) + 1)
        logprobs = torch.log_softmax(logits.double(), dim=-1)
        likeliest = logits.argmax(dim=-1)
        for column in columns:
            tokens = torch.as_tensor(words[column], device=logits.device)
            token_logprobs = logprobs.gather(
                -1, tokens.expand(len(prompts), -1)[..., None]
            )[..., 0]
            probability = token_logprobs.sum(dim=1, keepdim=True).exp().cpu().numpy()
            greedy = likeliest.eq(tokens).all(dim=1, keepdim=True).cpu().numpy()
            scored.append((column, Likelihoods(probability, greedy)))
    return scored


@torch.inference_mode()
def _logits(agent: TransformerAgent, rows: Sequence[list[int]], keep: int) -> torch.Tensor:
    """Return the logits [B, keep, V] after the last tokens of each row."""
    ids, mask = left_padded(rows, device=agent.model.device)
    output: Any = agent.model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions(mask),
        logits_to_keep=keep,
    )
    logits: torch.Tensor = output.logits
    return logits
