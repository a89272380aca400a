"""Tokens per second of `Rollouts` with transformers, against bare ``generate()``.

One model answers prompts of 256 tokens with 64 of its own, in one batch: 64 rows of a micro
model, 16 of another. No token stops it, so that both write as much. The very batch (the same ids, stop tokens, limits and
temperature) goes through transformers' ``generate()`` as well. Its clock runs for
``generate()`` alone; ours for everything: rules, prompts, tokenisation, sampling,
log-probabilities, texts and rewards.

* ``decode_ratio``: tokens/s of `Rollouts` over those of ``generate()`` on different prompts,
  the lowest of the models; ``decode_ratio_micro_3`` … one by one;
* ``group_ratio``: the same where every prompt is that of a group of 8.

Then three models of a rung hold the three seats of red-team as it is by default, 64
episodes at once:

* ``game_ratio_micro_3`` …: tokens/s over those of ``generate()`` on the same batches;
* ``batch_share``: mean batch of the three models over the 64 episodes that are live, while
  there are episodes left to start. Half of the episodes ask the attacker nothing, and some
  end with its query: with batches as full as that game permits it would be about 0.82.
  ``batch_share_attacked``: the same where every episode begins with the attacker.

Tokens after a row's end do not count. Seconds of CPU time, on one thread; `Rollouts` and
``generate()`` take turns. A model that is not at hand is left out, with the reason.

With ``--quick`` other models read 128 tokens and write 16 in 8 rows, and the first rung alone
plays red-team.

Usage: python benchmarks/decode.py [--quick] [--models micro/3,micro/4,smollm2] [--repeats N]
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from minimal import Minimal
from timing import last_line, table

import superalign_env
from superalign_agents.batching import left_padded
from superalign_agents.references import make_agent
from superalign_agents.transformer import TransformerAgent
from superalign_env import Rollouts
from superalign_env.errors import SuperalignError
from superalign_env.types import (
    AgentSpec,
    Brief,
    Ending,
    Reply,
    Seat,
    Step,
    Task,
    Utterance,
    View,
    role_of,
)

LIVE = 64
"""Episodes at once; `Rollouts` has as many by default."""

GROUP = 8

Batch = tuple[TransformerAgent, Sequence[View], list[Reply]]


class Load(NamedTuple):
    """How much is read and written in one batch."""

    rows: int
    prompt: int
    answer: int


class Watched:
    """A transformer that keeps the batches that it was asked for.

    Args:
        agent: the transformer.
        batches: where to keep them, those of other transformers among them.
    """

    def __init__(self, agent: TransformerAgent, batches: list[Batch]) -> None:
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


class Endless(TransformerAgent):
    """A transformer that says as much as it may."""

    stop_ids: Any = frozenset()


class Continuation(Minimal):
    """One seat goes on with a text; nobody pays it.

    Args:
        answer: tokens that it may take.
    """

    id = "continuation-v0"
    seats: tuple[Seat, ...] = ("writer_0",)
    max_utterance = 100_000

    def __init__(self, answer: int) -> None:
        super().__init__(cycles=1)
        self._answer = answer

    def reset(self, task: Task, rng: np.random.Generator) -> Any:
        """Return the text as the state."""
        return task.prompt

    def view(self, state: Any, seat: Seat) -> Brief:
        """Show the text."""
        return Brief(state, max_new_tokens=self._answer)

    def apply(self, state: Any, utterances: tuple[Utterance, ...]) -> Step:
        """Take the answer and end."""
        return Step(state, (), (), (), Ending.terminated())


def main() -> None:
    """Measure, print the tables, print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--models", default="micro/3,micro/4,smollm2")
    parser.add_argument("--repeats", type=int, default=0)
    parser.add_argument("--cases", type=int, default=1024, help="episodes of red-team")
    options = parser.parse_args()
    repeats = options.repeats or (2 if options.quick else 9)
    torch.set_num_threads(1)
    figures: dict[str, float] = {}
    for place, name in enumerate(options.models.split(",")):
        micro = name.startswith("micro/")
        load = Load(LIVE, 256, 64) if micro else Load(16, 256, 64)
        if options.quick and not micro:
            load = Load(GROUP, 128, 16)
        try:
            agent = endless(name, load)
        except SuperalignError as error:
            print(f"{name} is left out: {error}")
            continue
        runs = range(-1, repeats) if micro else range(max(1, repeats // 3))
        figures |= continued(agent, load, slug(name), runs)
        if micro and not (options.quick and place):
            figures |= game(name, options.cases, repeats)
    for kind in ("decode_ratio", "group_ratio"):
        ratios = [value for name, value in figures.items() if name.startswith(kind)]
        figures |= {kind: min(ratios)} if ratios else {}
    last_line(figures)


def endless(name: str, load: Load) -> TransformerAgent:
    """Return a model that writes to its limit, in a context long enough."""
    agent = make_agent(name)
    assert isinstance(agent, TransformerAgent)
    return Endless(
        agent.model,
        tokenizer=agent.tokenizer,
        reference=name,
        max_context=max(agent.max_context, load.prompt + load.answer),
    )


def continued(
    agent: TransformerAgent, load: Load, name: str, runs: range
) -> dict[str, float]:
    """Return the ratios of a model; print all runs, but those below 0, which warm up."""
    batches: list[Batch] = []
    writer = Watched(agent, batches)
    texts = {"decode": load.rows, "group": load.rows // GROUP}
    ratios: dict[str, list[float]] = {kind: [] for kind in texts}
    rows = []
    for run in runs:
        for kind, different in texts.items():
            prompts = texts_of(agent, different, load.prompt, seed=run + 1)
            batches.clear()
            ours = continue_texts(writer, prompts, load, run)
            bare = generate(batches)
            if run < 0:
                continue
            ours_per_s, bare_per_s = ours[1] / ours[0], bare[1] / bare[0]
            ratios[kind].append(ours_per_s / bare_per_s)
            numbers = [f"{ours[1]:,}", f"{ours_per_s:,.0f}", f"{bare_per_s:,.0f}"]
            rows.append((kind, *numbers, f"{ratios[kind][-1]:.2f}"))
    table(
        f"{name}: {load.rows} rows, {load.prompt} tokens read, {load.answer} written",
        rows,
        ("prompts", "tokens", "tokens/s", "generate()", "ratio"),
    )
    return {f"{kind}_ratio_{name}": summary(kind, ratios[kind]) for kind in texts}


def texts_of(agent: TransformerAgent, count: int, length: int, *, seed: int) -> list[str]:
    """Return different texts of so many tokens each: random words of the tokenizer."""
    tokenizer: Any = agent.tokenizer
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    rng = np.random.default_rng(seed)
    texts: list[str] = []
    while len(texts) < count:
        drawn = rng.integers(0, len(tokenizer), 2 * length).tolist()
        text = tokenizer.decode([token for token in drawn if token not in special])
        ids = tokenizer(text, verbose=False)["input_ids"]
        text = tokenizer.decode(ids[:length])
        if len(tokenizer(text)["input_ids"]) == length:
            texts.append(text)
    return texts


def continue_texts(
    writer: Watched, texts: Sequence[str], load: Load, run: int
) -> tuple[float, int]:
    """Let a model go on with texts in one batch; return CPU seconds and tokens."""
    tasks = [Task(f"text-{n}", "text", text) for n, text in enumerate(texts)]
    rollouts = Rollouts(
        Continuation(load.answer),
        {"writer_0": writer},
        run=run + 1,
        group=load.rows // len(texts),
        live=load.rows,
        tasks=tasks,
    )
    begin = time.process_time()
    rollouts.run()
    seconds = time.process_time() - begin
    ((_, _, replies),) = writer.batches
    lengths = {len(reply.prompt_ids) for reply in replies}
    assert lengths == {load.prompt}, f"prompts of {lengths} tokens"
    return seconds, sum(len(reply.token_ids) for reply in replies)


def generate(batches: Sequence[Batch]) -> tuple[float, int]:
    """Continue the same batches by ``generate()``; return CPU seconds and tokens."""
    seconds, tokens = 0.0, 0
    for agent, views, replies in batches:
        model: Any = agent.model  # transformers leaves `generate` partly untyped
        ends = sorted(agent.stop_ids)
        ids, mask = left_padded([reply.prompt_ids for reply in replies])
        begin = time.process_time()
        said = model.generate(
            ids,
            attention_mask=mask,
            do_sample=True,
            top_k=0,
            temperature=agent.temperature,
            max_new_tokens=max(view.max_new_tokens for view in views),
            eos_token_id=ends or None,
            pad_token_id=agent.tokenizer.pad_token_id,
        )
        seconds += time.process_time() - begin
        ended = torch.isin(said[:, ids.shape[1] :], torch.tensor(ends, dtype=torch.long))
        tokens += int((ended.cumsum(1) - ended.long() == 0).sum())
    return seconds, tokens


class Trio:
    """Three models of a rung in the seats of red-team."""

    def __init__(self, rung: str) -> None:
        self.batches: list[Batch] = []
        self.models: list[Watched] = []
        for _ in range(3):
            agent = make_agent(rung)
            assert isinstance(agent, TransformerAgent)
            self.models.append(Watched(agent, self.batches))

    def play(self, cases: int, run: int, **options: Any) -> tuple[float, int]:
        """Play cases; return CPU seconds and tokens."""
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


def game(rung: str, cases: int, repeats: int) -> dict[str, float]:
    """Return the ratio and the batches of three models in red-team; print all runs."""
    trio = Trio(rung)
    trio.play(LIVE, repeats)
    generate(trio.batches)
    rows: list[tuple[str, ...]] = []
    ratios, shares, attacked = [], [], []
    for run in range(repeats):
        seconds, tokens = trio.play(cases, run)
        bare_seconds, bare_tokens = generate(trio.batches)
        ours, bare = tokens / seconds, bare_tokens / bare_seconds
        ratios.append(ours / bare)
        shares.append(trio.share(cases))
        trio.play(cases, run, vanilla=0.0)
        attacked.append(trio.share(cases))
        last = (ratios[-1], shares[-1], attacked[-1])
        numbers = (f"{tokens:,}", f"{ours:,.0f}", f"{bare:,.0f}")
        rows.append((rung, *numbers, *[f"{x:.2f}" for x in last]))
    table(
        f"red-team, three models, {cases} episodes, {LIVE} at once",
        rows,
        ("rung", "tokens", "tokens/s", "generate()", "ratio", "batch share", "attacked"),
    )
    return {
        f"game_ratio_{slug(rung)}": summary("game", ratios),
        "batch_share": statistics.median(shares),
        "batch_share_attacked": statistics.median(attacked),
    }


def summary(kind: str, ratios: Sequence[float]) -> float:
    """Print median and range; return the median."""
    median = statistics.median(ratios)
    runs = f"{min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} runs"
    print(f"  {kind}: {median:.2f} ({runs})")
    return median


def slug(name: str) -> str:
    """Return a model's name as part of a figure's."""
    name = Path(name).name if Path(name).is_dir() else name
    return name.replace("/", "_").replace("-", "_").lower()


if __name__ == "__main__":
    main()
