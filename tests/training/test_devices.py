"""Tensors are made where the model lives, checked without a second device.

`Elsewhere` runs everything on the CPU, but treats the weights and whatever is made from
them, or made for their device, as lying on a GPU, and refuses what a GPU would: to compute
with a tensor of the host.
"""

from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from superalign_agents.decoding import sample
from superalign_agents.references import make_agent
from superalign_env.envs import make_scenario
from superalign_training.attackers import PolicyAttacker, QueryOutcome, Trie, opening_views
from superalign_training.policy import Policy

GPU = torch.device("cuda", 0)
MOVES = {"to", "as_tensor", "cpu", "copy_", "load_state_dict"}
"""What may take a tensor of one device and give one of another, or copies between them."""
LOOKS_UP = {"__getitem__", "__setitem__"}
"""Whose indices a GPU takes from the host."""


class Elsewhere(TorchFunctionMode):
    """Pretends that the weights of a module lie on a GPU."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        for tensor in [*module.parameters(), *module.buffers()]:
            tensor.there = True

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run on the CPU; say where the result would be."""
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        there = any(map(_is_there, tensors))
        if function == torch.Tensor.device.__get__:
            return GPU if there else function(*args)
        device = kwargs.get("device", next((a for a in args if _is_device(a)), None))
        if _is_device(device):
            kwargs.pop("device", None)
            args = tuple(torch.device("cpu") if _is_device(a) else a for a in args)
        looked_up = args[1] if name in LOOKS_UP else None
        indices = {id(x) for x in tree_leaves(looked_up)}
        here = [x for x in tensors if x.dim() and not _is_there(x) and id(x) not in indices]
        if there and here and name not in MOVES:
            raise AssertionError(f"{name} of tensors on two devices")
        result = function(*args, **kwargs)
        goes = device.type == "cuda" if _is_device(device) else there
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                tensor.there = goes
        return result


def _is_there(tensor: torch.Tensor) -> bool:
    return getattr(tensor, "there", False)


def _is_device(value: Any) -> bool:
    return isinstance(value, torch.device)


def test_a_tensor_of_the_host_is_noticed() -> None:
    layer = torch.nn.Linear(2, 2)
    with Elsewhere(layer):
        assert layer.weight.device == GPU
        layer(torch.ones(1, 2, device=layer.weight.device))
        with pytest.raises(AssertionError, match="two devices"):
            layer(torch.ones(1, 2))
        with pytest.raises(AssertionError, match="two devices"):
            torch.zeros(2, device=GPU)[:] = torch.ones(2)


def test_prompts_are_read_and_continued_where_the_model_is() -> None:
    model: Any = make_agent("micro/0").model
    long = list(range(5, 105))
    prompts = [long, [*long, 5, 6], [7, 8], long]
    expected = sample(model, prompts, range(4), max_new_tokens=[12] * 4, stop_ids={1})
    with Elsewhere(model):
        said = sample(
            model,
            prompts,
            range(4),
            max_new_tokens=[12] * 4,
            stop_ids={1},
            constrain=lambda rows, tokens, logits: logits - torch.zeros_like(logits),
        )
    assert [one.token_ids for one in said] == [one.token_ids for one in expected]


@pytest.mark.parametrize("constrained", [False, True])
def test_an_attacker_speaks_and_learns_where_its_model_is(constrained: bool) -> None:
    policy = Policy.from_reference("micro/0")
    scenario = make_scenario("red-team", split="train", vanilla=0.0, plant=0.0)
    views = opening_views(scenario, 4, run=3)
    menu = views[0].menu[:8]
    trie = Trie(policy.reply_ids(views[0], text) for text in menu) if constrained else None
    attacker = PolicyAttacker(policy, trie=trie)
    before = policy.agent.policy
    with Elsewhere(policy.model):
        queries = attacker.explore(views)
        outcomes = [QueryOutcome(True, float(row % 2)) for row in range(4)]
        attacker.learn(views, queries, outcomes)
    assert not constrained or set(queries) <= set(menu)
    assert policy.agent.policy != before
