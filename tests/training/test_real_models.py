"""Real models that were fetched: `superalign ladder fetch smollm2` and a GGUF file of one's own."""

import math

import pytest
import torch

from superalign_agents.decoding import sample
from superalign_agents.ladders import fetched_models, preset_of
from superalign_env.seeding import mix
from superalign_training.algorithms.grpo import Grpo
from superalign_training.algorithms.logprobs import RowBatch, padded, token_logprobs
from superalign_training.algorithms.sft import Sft
from superalign_training.data import Example, Live
from superalign_training.policy import Lora, Policy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

NATS = 1e-4
ADAPTER = {"rank": 8}


@pytest.fixture
def fetched():
    """Reference → itself where the model is here; the test is skipped where it is not."""

    def require(reference, command):
        preset = preset_of(reference)
        if not (preset and preset.folder) and reference not in fetched_models():
            pytest.skip(f"{reference} is not here: superalign ladder fetch {command}")
        return reference

    return require


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize(
    ("name", "command"),
    [("smollm2", "smollm2"), ("gemma3", "--gguf FILE --as gemma3")],
)
@pytest.mark.parametrize("adapter", [None, Lora(**ADAPTER)], ids=["whole", "lora"])
def test_recomputed_log_probs_are_the_recorded_ones(
    fetched, name, command, adapter, temperature
):
    policy = Policy.from_reference(fetched(name, command), adapter=adapter)
    prompts = [policy.tokenizer("One two three four five six.")["input_ids"]]
    prompts += [prompts[0][: 2 + place] for place in range(3)]
    replies = sample(
        policy.model,
        prompts,
        [mix(1, place) for place in range(4)],
        max_new_tokens=[16 - place for place in range(4)],
        stop_ids=[],
        temperature=temperature,
    )
    completions = [(p, r.token_ids) for p, r in zip(prompts, replies, strict=True)]
    ids, mask, width = padded(completions)
    batch = RowBatch(ids, mask, mask[:, -width:].float())
    with torch.no_grad():
        recomputed = token_logprobs(policy.model, batch, temperature).logprobs
    recorded = batch.spread([reply.logprobs for reply in replies])
    assert (recomputed - recorded).abs().max() < NATS


def test_smollm2_says_what_the_capital_of_france_is(fetched):
    policy = Policy.from_reference(fetched("smollm2", "smollm2"))
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    text = policy.tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, tokenize=False
    )
    (reply,) = sample(
        policy.model,
        [policy.tokenizer(text, add_special_tokens=False)["input_ids"]],
        [1],
        max_new_tokens=[20],
        stop_ids=sorted(policy.agent.stop_ids),
        temperature=0.0,
    )
    assert "Paris" in policy.tokenizer.decode(reply.token_ids)


def test_an_adapter_on_smollm2_is_trained_by_sft_and_grpo(fetched, toys):
    policy = Policy.from_reference(fetched("smollm2", "smollm2"), adapter=Lora(**ADAPTER))
    prompt = tuple(policy.tokenizer("May I?")["input_ids"])
    refusal = tuple(policy.tokenizer(" No.")["input_ids"])
    numbers = Sft(steps=2, batch_size=2).improve(
        policy, [Example(prompt, refusal)] * 2, seed=1
    )
    assert math.isfinite(numbers["loss"])
    after_sft = policy.hash

    def play(first, count):
        rows = []
        for case in range(first, first + count):
            replies = sample(
                policy.model,
                [prompt] * 2,
                [mix(case, member) for member in range(2)],
                max_new_tokens=[6, 6],
                stop_ids=[],
            )
            for member, reply in enumerate(replies):
                row = toys.row(case, member, said=[reply], pay=[float(member)])
                rows.append(row._replace(prompt_ids=prompt))
        return rows

    course = Grpo(steps=1, batch_size=2, num_generations=2, learning_rate=1e-3)
    assert course.improve(policy, Live(play), seed=1)["reward"] == 0.5
    assert policy.hash != after_sft
    assert policy.parameters_trained < 5_000_000, "the base is not trained"
