"""Tokens per second of `Rollouts` with transformers, against bare ``generate()``.

Three models of one rung hold the three seats of red-team as it is by default, 64 episodes
at once. The very batches that they were asked for (the same prompts, in the same order and
padding, the same stop tokens, limits and temperature) go through transformers'
``generate()`` as well. Its clock runs for ``generate()`` alone; ours for everything: rules,
prompts, tokenisation, sampling, log-probabilities, texts and rewards.

* ``batch_share``: mean batch of the three models over the 64 episodes that are live, while
  there are episodes left to start. Half of the episodes ask the attacker nothing, and some
  end with its query: with batches as full as that game permits it would be about 0.82.
  ``batch_share_attacked``: the same where every episode begins with the attacker;
* ``decode_ratio``: tokens/s of `Rollouts` over those of ``generate()``, the lowest of the
  rungs; ``decode_ratio_micro_3`` … one by one. Tokens after a row's end do not count.

Seconds of CPU time, on one thread; rollouts and ``generate()`` take turns.

Usage: python benchmarks/decode.py [--quick] [--cases N] [--repeats N] [--rungs micro/3,micro/4]
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from timing import last_line, table

import superalign_env
from superalign_agents.batching import left_padded
from superalign_agents.references import make_agent
from superalign_agents.transformer import TransformerAgent
from superalign_env import Rollouts
from superalign_env.types import AgentSpec, Reply, View, role_of

LIVE = 64
"""Episodes at once; `Rollouts` has as many by default."""


Batch = tuple[TransformerAgent, Sequence[View], list[Reply]]


class Watched:
    """A transformer that keeps the batches that it was asked for.

    Args:
        rung: of the ladder.
        batches: where to keep them, those of other transformers among them.
    """

    def __init__(self, rung: str, batches: list[Batch]) -> None:
        agent = make_agent(rung)
        assert isinstance(agent, TransformerAgent)
        self.agent = agent
        self.batches = batches

    @property
    def spec(self) -> AgentSpec:
        """That of the transformer."""
        return self.agent.spec

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Answer as the transformer does."""
        replies = self.agent.act(views)
        self.batches.append((self.agent, views, replies))
        return replies


class Trio:
    """Three models of a rung in the seats of red-team."""

    def __init__(self, rung: str) -> None:
        self.batches: list[Batch] = []
        self.models = [Watched(rung, self.batches) for _ in range(3)]

    def play(self, cases: int, run: int, **options: Any) -> tuple[float, int]:
        """Play cases; return seconds of CPU time and the tokens sampled."""
        self.batches.clear()
        scenario = superalign_env.make_scenario("red-team", **options)
        roles = list(dict.fromkeys(map(role_of, scenario.seats)))
        agents = {seat: self.models[roles.index(role_of(seat))] for seat in scenario.seats}
        rollouts = Rollouts(scenario, agents, run=run, live=LIVE)
        begin = time.process_time()
        rollouts.run(cases)
        seconds = time.process_time() - begin
        replies = [reply for _, _, batch in self.batches for reply in batch]
        return seconds, sum(len(reply.token_ids) for reply in replies)

    def share(self, cases: int) -> float:
        """Return the mean batch over `LIVE` until the last of the cases was begun."""
        sizes = []
        for _, views, _ in self.batches:
            if any(view.case == cases - 1 for view in views):
                break
            sizes.append(len(views))
        return sum(sizes) / len(sizes) / LIVE

    def generate(self) -> tuple[float, int]:
        """Continue the same batches by ``generate()``; return CPU seconds and tokens."""
        seconds, tokens = 0.0, 0
        for agent, views, replies in self.batches:
            model: Any = agent.model  # transformers leaves `generate` partly untyped
            end = int(agent.tokenizer.eos_token_id or 0)
            ids, mask = left_padded([reply.prompt_ids for reply in replies])
            begin = time.process_time()
            said = model.generate(
                ids,
                attention_mask=mask,
                do_sample=True,
                top_k=0,
                temperature=agent.temperature,
                max_new_tokens=max(view.max_new_tokens for view in views),
                eos_token_id=end,
                pad_token_id=agent.tokenizer.pad_token_id,
            )
            seconds += time.process_time() - begin
            ends = said[:, ids.shape[1] :] == end
            tokens += int((ends.cumsum(1) - ends.long() == 0).sum())
        return seconds, tokens


def main() -> None:
    """Measure, print the table, print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--cases", type=int, default=0, help="episodes of one repeat")
    parser.add_argument("--repeats", type=int, default=0)
    parser.add_argument("--rungs", default="micro/3,micro/4")
    options = parser.parse_args()
    cases = options.cases or 1024
    repeats = options.repeats or (3 if options.quick else 15)
    torch.set_num_threads(1)
    rows: list[tuple[str, ...]] = []
    shares: list[float] = []
    attacked: list[float] = []
    figures: dict[str, float] = {}
    for rung in options.rungs.split(","):
        trio = Trio(rung)
        trio.play(LIVE, repeats)
        trio.generate()
        ratios = []
        for run in range(repeats):
            seconds, tokens = trio.play(cases, run)
            bare_seconds, bare_tokens = trio.generate()
            ours, bare = tokens / seconds, bare_tokens / bare_seconds
            ratios.append(ours / bare)
            shares.append(trio.share(cases))
            trio.play(cases, run, vanilla=0.0)
            attacked.append(trio.share(cases))
            numbers = (f"{tokens:,}", f"{ours:,.0f}", f"{bare:,.0f}")
            ratio_and_shares = (ratios[-1], shares[-1], attacked[-1])
            rows.append((rung, *numbers, *[f"{x:.2f}" for x in ratio_and_shares]))
        figures[f"decode_ratio_{rung.replace('/', '_')}"] = statistics.median(ratios)
    table(
        f"red-team, three models, {cases} episodes, {LIVE} at once",
        rows,
        ("rung", "tokens", "tokens/s", "generate()", "ratio", "batch share", "attacked"),
    )
    last_line(
        {
            "batch_share": statistics.median(shares),
            "batch_share_attacked": statistics.median(attacked),
            "decode_ratio": min(figures.values()),
            **figures,
        }
    )


if __name__ == "__main__":
    main()
