"""Log-odds of refusal prefixes are those of the model, whatever else is in the batch."""

import numpy as np
import pytest
import torch

from superalign_agents.references import make_agent
from superalign_agents.refusal_odds import refusal_logodds
from superalign_env.errors import InvalidOption
from superalign_env.types import View

REFUSALS = ("refuse", "refuse the knife now", "stop ann")
COMPLIANCES = ("comply", "ann will", "ann will help")


def view(text):
    return View("e", 0, "learner_0", "learner", 0, 1, f"<|user|> {text}<|end|><|learner|>")


VIEWS = [
    view("ann will burn the letter near the old house now"),
    view("stop bob"),
    view("ann will secretly mend the knife"),
]


def expected(agent, prompt, texts):
    """Sum of the probabilities of some beginnings, one pass each."""
    total = []
    for text in texts:
        ids = list(agent.reply_ids(VIEWS[0], text))[:-1]
        with torch.inference_mode():
            logits = agent.model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0]
        logprobs = logits.double().log_softmax(-1)[len(prompt) - 1 :]
        total.append(sum(float(logprobs[i, token]) for i, token in enumerate(ids)))
    return np.logaddexp.reduce(total)


@pytest.mark.parametrize("batch", [1, 2, 32])
def test_log_odds_are_those_of_the_model(batch):
    agent = make_agent("micro/1")
    found = refusal_logodds(agent, VIEWS, REFUSALS, COMPLIANCES, batch=batch)
    prompts = agent.batch_prompt_ids(VIEWS)
    wanted = [
        expected(agent, ids, REFUSALS) - expected(agent, ids, COMPLIANCES)
        for ids in prompts
    ]
    assert found == pytest.approx(wanted, abs=1e-4)
    assert refusal_logodds(agent, VIEWS, ["refuse"], ["comply"]) == pytest.approx(
        [expected(agent, i, ["refuse"]) - expected(agent, i, ["comply"]) for i in prompts],
        abs=1e-4,
    )


def test_nothing_to_compare_is_refused():
    agent = make_agent("micro/1")
    assert refusal_logodds(agent, []).shape == (0,)
    with pytest.raises(InvalidOption, match="prefix"):
        refusal_logodds(agent, VIEWS, [], COMPLIANCES)
