"""Toys with a known best move: even tokens are good, and the first of two turns decides."""

import numpy as np
import torch

from superalign_agents.decoding import sample
from superalign_agents.transformer import TransformerAgent
from superalign_scenarios.microworld import words
from superalign_training.data import Row
from superalign_training.ladder.micro_model import Size, build_config, build_tokenizer
from superalign_training.policy import Policy

PROMPT = (5, 6)
HEARD = 7


def small_policy(seed=7, layers=1):
    """A policy of about ten thousand random weights."""
    from transformers import LlamaForCausalLM  # noqa: PLC0415 - slow, and only for some

    tokenizer = build_tokenizer(words.VOCABULARY, words.SPECIAL_TOKENS)
    torch.manual_seed(seed)
    config = build_config(
        Size(16, layers, 2, 32, steps=0, learning_rate=0.0),
        vocabulary=len(tokenizer),
        end=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config).train(False)
    return Policy(TransformerAgent(model, tokenizer=tokenizer))


def kl_weight(algorithm, weight):
    """Return a change of an algorithm's weight of the KL, under the name that it has there."""
    return {"beta" if hasattr(algorithm, "beta") else "kl_coef": weight}


def good(token):
    """Half of all tokens are good."""
    return float(token % 2 == 0)


class Bandit:
    """One turn of one token; a good one is paid 1."""

    def __init__(self, policy, *, members=1, seed=0):
        self.policy, self.members = policy, members
        self.rng = np.random.default_rng(seed)

    def say(self, prompts):
        return sample(
            self.policy.model,
            prompts,
            self.rng.integers(1 << 62, size=len(prompts)).tolist(),
            max_new_tokens=[1] * len(prompts),
            stop_ids=[],
        )

    def __call__(self, first, count):
        places = [
            (case, m) for case in range(first, first + count) for m in range(self.members)
        ]
        said = self.say([PROMPT] * len(places))
        return [
            row(case, member, said=[one], pay=[good(one.token_ids[0])])
            for (case, member), one in zip(places, said, strict=True)
        ]


class Delayed(Bandit):
    """Two turns; only afterwards, and only if both were good, is there any pay.

    With `split` a template drops what was thought before: every turn is a row of its own.
    """

    def __init__(self, policy, *, members=1, seed=0, split=False):
        super().__init__(policy, members=members, seed=seed)
        self.split = split

    def __call__(self, first, count):
        places = [
            (case, m) for case in range(first, first + count) for m in range(self.members)
        ]
        one = self.say([PROMPT] * len(places))
        drops = () if self.split else PROMPT
        two = self.say([(*drops, *a.token_ids, HEARD) for a in one])
        rows = []
        for (case, member), a, b in zip(places, one, two, strict=True):
            pay = [0.0, good(a.token_ids[0]) * good(b.token_ids[0])]
            if self.split:
                rows += split_rows(case, member, said=[a, b], pay=pay)
            else:
                rows.append(row(case, member, said=[a, b], pay=pay))
        return rows


def row(case, member, *, said, pay):
    """One row of an episode, a masked token between its turns."""
    ids, mask, spans, logprobs = (), (), (), ()
    for one in said:
        if ids:
            ids, mask, logprobs = (*ids, HEARD), (*mask, 0), (*logprobs, 0.0)
        spans += ((len(ids), len(ids) + len(one.token_ids)),)
        ids += one.token_ids
        mask += (1,) * len(one.token_ids)
        logprobs += one.logprobs
    return Row(
        episode=f"c{case}-m{member}",
        case=case,
        member=member,
        seat="learner_0",
        turns=tuple(range(len(said))),
        prompt_ids=PROMPT,
        completion_ids=ids,
        env_mask=mask,
        spans=spans,
        logprobs=logprobs,
        turn_rewards=tuple(pay),
        to_go=sum(pay),
        policy="",
    )


def split_rows(case, member, *, said, pay):
    """One row for every turn; what was said before is read without the first prompt."""
    rows = []
    for turn, one in enumerate(said):
        alone = row(case, member, said=[one], pay=[pay[turn]])
        prompt = PROMPT if turn == 0 else (*said[turn - 1].token_ids, HEARD)
        rows.append(alone._replace(turns=(turn,), prompt_ids=prompt, to_go=sum(pay[turn:])))
    return rows
