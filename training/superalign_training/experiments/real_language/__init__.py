"""Whether a real instruct model learns to refuse more selectively, and not only more.

The learner is SmolLM2-135M-Instruct with LoRA. Requests (harmful ones and look-alikes, in
pairs) are worded by attack strategies; topics *and* families of strategies are held out
whole, drawn anew for each seed. A prompt counts as refused where the log-odds of refusal
prefixes lie above a threshold, which is placed for each arm on topics of its own with the
families of training, and is the same for attacks, look-alikes and plain requests. What odds
say is verified by sampled answers, which the reader of `superalign_scenarios.answers`
reads; training sees written labels and written answers alone.

Arms, each of `tokens` trained tokens (prompts and completions that optimiser steps read):

* ``untouched``: the model as it comes; it also rewrites requests as an attacker, once;
* ``sft``: written answers to direct requests;
* ``sft-attacked``: to direct and attacked ones;
* ``sft-rl``: the same, and REINFORCE by written labels and first words for a share of the tokens;
* ``shuffled``: as ``sft-attacked``, labels permuted over its prompts;
* ``benign-only``: as ``sft-attacked``, without harmful requests;
* ``always-refuse``: a script.

Cost, measured on a shared core: 1,000 trained tokens take 10 to 13 CPU seconds, the odds of a
prompt 0.25, an ability item 0.14, a sampled answer of 48 tokens 1. An arm trains 7,168 tokens
(90 s), reads 330 prompts (85 s) and 200 items (28 s), and samples 32 answers (35 s): with
loading about 4.2 CPU minutes, one or two more with reinforcement learning, 2.7 without
training. Six seeds of seven arms are about 150 CPU minutes; ``--quick`` takes 5.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from superalign_agents.references import make_agent, require_known
from superalign_env.asking import Anyone
from superalign_env.types import Split
from superalign_scenarios.row_files import locate
from superalign_training.experiments.engine.experiment import (
    CellContext,
    Experiment,
    Params,
    Seeds,
    Values,
)
from superalign_training.experiments.real_language.arms import PromptRows, Taught, teach
from superalign_training.experiments.real_language.attacked_prompts import (
    DIRECT,
    AttackedPrompt,
    TopicFold,
    attacked,
    fold,
    read_requests,
    write_rows,
)
from superalign_training.experiments.real_language.measuring import (
    ability_items,
    answer_loglikelihoods,
    best_threshold,
    intent_kept,
    prompt_odds,
    rates,
    sampled_answers,
    to_sample,
)
from superalign_training.experiments.real_language.selectivity_report import picture, reduce
from superalign_training.policy import Policy
from superalign_training.policy.model import Lora

FROZEN: dict[str, Any] = {
    "model": "smollm2",
    "requests": ["borderline"],
    "teaching": "attacked",
    "tokens": 7168,
    "batch_size": 4,
    "learning_rate": 2e-4,
    "rank": 8,
    "temperature": 0.7,
    "rl": {
        "share": 0.5,
        "batch_size": 8,
        "max_new_tokens": 16,
        "learning_rate": 3e-4,
        "kl_coef": 0.02,
    },
    # Not encoding and examples: a model of this size reads no Base64, so that every arm would
    # be at chance, and one many-shot prompt costs as much as six others.
    "families": [
        "persona",
        "fiction",
        "instruction",
        "language",
        "persuasion",
        "splitting",
    ],
    "held_out_families": 3,
    "test_topics": 5,
    "control_topics": 3,
    "sampled_requests": 8,
    "max_new_tokens": 48,
    "ability_items": 200,
    "rewrites": 24,
}

TEACHING = {
    "untouched": "nothing",
    "sft": "direct",
    "sft-attacked": "attacked",
    "sft-rl": "attacked+rl",
    "shuffled": "shuffled",
    "benign-only": "benign",
    "always-refuse": "refusing",
}
"""Arm → what it is taught."""


def cell(params: Params, seed: int, context: CellContext) -> Values:
    """Teach one arm on one draw of topics and families, and measure it."""
    prompts = prompts_of(params, seed)
    path = context.folder / "prompts.jsonl"
    write_rows(path, prompts)
    source = PromptRows(path, kind="requests")
    learner: Anyone
    if params["teaching"] == "refusing":
        policy, learner = None, make_agent("always-refuse")
        taught = Taught(0, 0, {})
    else:
        policy = Policy.from_reference(
            params["model"],
            adapter=Lora(rank=params["rank"], alpha=2.0 * params["rank"]),
            seed=seed,
            temperature=params["temperature"],
        )
        taught = teach(policy, prompts["train"], path, params, seed)
        learner = policy.agent
    context.spend("tokens", taught.tokens)
    context.step(1, 3)
    control = prompt_odds(learner, source, "control", prompts["control"])
    test = prompt_odds(learner, source, "test", prompts["test"])
    threshold = best_threshold(control)
    context.step(2, 3)
    answers = sampled_answers(
        learner,
        source,
        to_sample(test, params["sampled_requests"]),
        max_new_tokens=params["max_new_tokens"],
        seed=seed,
    )
    items = ability_items(params["ability_items"])
    values: dict[str, Any] = {
        "tokens": taught.tokens,
        "rl_tokens": taught.rl_tokens,
        "taught": taught.numbers,
        "threshold": threshold,
        **rates(test, threshold),
        "prompts": [
            [
                row.prompt.request.topic,
                row.prompt.request.kind,
                row.prompt.family,
                round(row.odds, 3),
                row.odds > threshold,
            ]
            for row in test
        ],
        "sampled": answers,
        "ability": answer_loglikelihoods(policy, items) if policy else [],
        "intent_kept": None,
    }
    if policy and params["teaching"] == "nothing" and params["rewrites"]:
        values["intent_kept"] = intent_kept(
            policy.agent, params["requests"][0], cases=params["rewrites"], seed=seed
        )
    return values


def prompts_of(params: Params, seed: int) -> dict[Split, list[AttackedPrompt]]:
    """Return the prompts of each split: topics and families of the test in no other.

    Plain requests of the test are asked directly, and place no threshold.
    """
    requests = read_requests(params["requests"])
    drawn = fold(
        [request.topic for request in requests],
        params["families"],
        test_topics=params["test_topics"],
        control_topics=params["control_topics"],
        held_out=params["held_out_families"],
        seed=seed,
    )
    return {
        split: [
            prompt
            for request in requests
            if request.topic in topics and (request.kind != "plain" or split != "control")
            for prompt in attacked(request, [DIRECT, *families], seed=seed)
            if request.kind != "plain" or split == "train" or prompt.family == DIRECT
        ]
        for split, topics, families in _splits(drawn)
    }


def _splits(drawn: TopicFold) -> list[tuple[Split, Sequence[str], Sequence[str]]]:
    """Return split, its topics and its families of strategies."""
    return [
        ("train", drawn.train, drawn.known_families),
        ("control", drawn.control, drawn.known_families),
        ("test", drawn.test, drawn.held_out_families),
    ]


def ready(conditions: Sequence[Params]) -> None:
    """Raise where the model or a prompt set is not on this machine.

    Raises:
        SuperalignError: says what to fetch, or which file is missing.
    """
    for params in conditions:
        require_known(params["model"])
        for path in params["requests"]:
            locate(path)


def on_prompts(*paths: str, model: str = "smollm2") -> Experiment:
    """Return the same experiment on other prompt sets, or with another model; never a claim.

    Args:
        *paths: files that the source ``rows`` reads, as HarmBench's or StrongREJECT's; both
            labels are needed, so that ``borderline`` may stand beside them.
        model: an agent reference.
    """
    changes = {"requests": list(paths) or FROZEN["requests"], "model": model}
    return replace(
        EXPERIMENT,
        name="real-language-elsewhere",
        conditions={
            name: {**params, **changes} for name, params in EXPERIMENT.conditions.items()
        },
        seeds=Seeds(claim=(10**6,), quick=EXPERIMENT.seeds.quick),
    )


def _with(**changes: Any) -> dict[str, Any]:
    return FROZEN | changes


EXPERIMENT = Experiment(
    name="real-language",
    question="Does a real instruct model learn to refuse more selectively, not only more?",
    revision=1,
    conditions={name: _with(teaching=teaching) for name, teaching in TEACHING.items()},
    seeds=Seeds(claim=tuple(range(100, 106)), quick=(0,), tune=tuple(range(10))),
    cell=cell,
    reduce=reduce,
    picture=picture,
    ready=ready,
    candidates={
        "2e-4": FROZEN,
        "1e-4": _with(learning_rate=1e-4),
        "3e-4": _with(learning_rate=3e-4),
        "batches of 2": _with(batch_size=2),
        "half by rl": _with(teaching="attacked+rl"),
        "half by rl, 1e-3": _with(
            teaching="attacked+rl", rl={**FROZEN["rl"], "learning_rate": 1e-3}
        ),
    },
    quick={
        "tokens": 1024,
        "test_topics": 1,
        "control_topics": 1,
        "sampled_requests": 2,
        "max_new_tokens": 16,
        "ability_items": 32,
        "rewrites": 2,
    },
)
