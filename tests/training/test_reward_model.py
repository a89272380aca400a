"""The reward model: scores the preferred higher, in a folder that names its content."""

import json
import math

import numpy as np
import pytest
import torch

from superalign_env.errors import InvalidOption, RecordDamaged
from superalign_training.algorithms.dpo import Dpo
from superalign_training.algorithms.reward_model import RewardModel, trainer
from superalign_training.algorithms.trained_reward_model import TrainedRewardModel
from superalign_training.data import Preference
from superalign_training.policy import Lora, Policy

PAIRS = [
    Preference((30 + i, 31, 32), (40 + i % 2, 1), (42 + i % 2, 1), ("ann",))
    for i in range(12)
]


def margins(scorer, pairs=PAIRS):
    chosen = scorer.scores([(p.prompt_ids, p.chosen_ids) for p in pairs])
    rejected = scorer.scores([(p.prompt_ids, p.rejected_ids) for p in pairs], batch=5)
    return np.subtract(chosen, rejected)


def test_what_is_preferred_scores_higher_and_the_policy_stays_as_it_is(scratch, tmp_path):
    policy = Policy.from_reference(str(scratch))
    before, steps = policy.hash, []
    settings = RewardModel(
        folder=tmp_path / "rm",
        steps=30,
        batch_size=12,
        learning_rate=5e-3,
        num_train_epochs=99,
    )
    numbers = settings.improve(
        policy, PAIRS, seed=3, on_step=lambda done, n: steps.append(done)
    )
    scorer = RewardModel.load(tmp_path / "rm")
    assert (margins(scorer) > 1.0).all()
    assert numbers["accuracy"] == 1.0
    assert numbers["loss"] < numbers["loss_first"]
    assert numbers["loss_first"] == pytest.approx(math.log(2), rel=0.3), (
        "it begins at score 0"
    )
    assert steps == list(range(1, 31))
    assert policy.hash == before
    state = json.loads((tmp_path / "rm" / "reward_model.json").read_text())
    assert state["weights"] == scorer.hash
    assert state["sources"] == ["ann"]
    assert not scorer.model.training


def test_one_answer_scores_as_in_a_batch(scratch):
    scorer = TrainedRewardModel.of(Policy.from_reference(str(scratch)))
    RewardModel(steps=10, batch_size=12, learning_rate=5e-3).teach(scorer, PAIRS, seed=0)
    uneven = [((5,), (6, 7, 8, 1)), ((5, 9, 9), (1,))]
    assert scorer.scores(uneven) == pytest.approx(
        [scorer.score(*one) for one in uneven], abs=1e-5
    )
    assert scorer.score(*uneven[0]) != scorer.score(*uneven[1])


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(scratch):
    def trained(seed):
        scorer = TrainedRewardModel.of(Policy.from_reference(str(scratch)))
        RewardModel(steps=5, batch_size=4).teach(scorer, PAIRS, seed=seed)
        return scorer.hash

    assert trained(11) == trained(11) != trained(12)


def test_the_optimiser_goes_on_where_it_stopped(scratch):
    scorer = TrainedRewardModel.of(Policy.from_reference(str(scratch)))
    for seed in (1, 2):
        RewardModel(steps=3, batch_size=4).teach(scorer, PAIRS, seed=seed)
    state = scorer.optimizer(1.0).state
    assert {int(moments["step"]) for moments in state.values()} == {6}


def test_the_loss_is_bradley_terry_with_centred_scores(scratch):
    scorer = TrainedRewardModel.of(
        Policy.from_reference({"id": str(scratch), "dtype": "float64"})
    )
    with torch.no_grad():
        scorer.model.score.weight.normal_(generator=torch.Generator().manual_seed(2))
    pairs = PAIRS[:5]
    made = trainer(RewardModel(center_rewards_coefficient=0.2), scorer, pairs)
    rows = [made.train_dataset[place] for place in range(len(pairs))]
    with torch.no_grad():
        found = float(made.compute_loss(scorer.model, made.data_collator(rows)))
    chosen = np.array(scorer.scores([p[:2] for p in pairs]))
    rejected = np.array(scorer.scores([(p[0], p[2]) for p in pairs]))
    expected = (
        np.logaddexp(0, rejected - chosen).mean() + 0.2 * ((chosen + rejected) ** 2).mean()
    )
    assert abs(chosen - rejected).max() > 0.1
    assert found == pytest.approx(expected, abs=1e-6)


def test_an_altered_missing_or_pickled_scorer_is_refused(scratch, tmp_path):
    scorer = TrainedRewardModel.of(Policy.from_reference(str(scratch)))
    named = scorer.save(tmp_path / "rm")
    assert RewardModel.load(tmp_path / "rm", expected=named).hash == named
    with pytest.raises(RecordDamaged, match="not what was written"):
        RewardModel.load(tmp_path / "rm", expected="0" * 32)
    with pytest.raises(RecordDamaged, match="cannot be read"):
        RewardModel.load(tmp_path / "nowhere")
    with torch.no_grad():
        scorer.model.score.weight += 1.0
    scorer.model.save_pretrained(tmp_path / "rm")
    with pytest.raises(RecordDamaged, match="not what was written"):
        RewardModel.load(tmp_path / "rm")
    (tmp_path / "rm" / "extra.pkl").write_bytes(b"x")
    with pytest.raises(InvalidOption, match="pickled"):
        RewardModel.load(tmp_path / "rm")


def test_what_cannot_be_learned_from_is_refused(scratch):
    policy = Policy.from_reference(str(scratch))
    with pytest.raises(InvalidOption, match="folder"):
        RewardModel().improve(policy, PAIRS, seed=0)
    scorer = TrainedRewardModel.of(policy)
    with pytest.raises(InvalidOption, match="nothing to prefer"):
        RewardModel().teach(scorer, [], seed=0)
    with pytest.raises(InvalidOption, match="equals the rejected"):
        RewardModel().teach(scorer, [Preference((5,), (1,), (1,))], seed=0)
    with pytest.raises(InvalidOption, match="≥ 1 token"):
        scorer.score((5,), ())
    one = [Preference((5,), (1,), (7,))]
    assert math.isfinite(RewardModel(steps=2).teach(scorer, one, seed=0)["loss"])


def test_a_tokenizer_without_pad_token_will_do(scratch):
    policy = Policy.from_reference(str(scratch))
    policy.tokenizer.pad_token = None
    scorer = TrainedRewardModel.of(policy)
    uneven = [Preference((5, 6), (7, 8), (9,)), Preference((5,), (10,), (9, 9))]
    numbers = RewardModel(
        steps=20, batch_size=2, learning_rate=5e-3, num_train_epochs=99
    ).teach(scorer, uneven, seed=0)
    assert (margins(scorer, uneven) > 0).all()
    assert math.isfinite(numbers["loss"])


def test_the_body_of_an_adapter_is_that_of_its_base_with_the_adapter_added(scratch):
    policy = Policy.from_reference(str(scratch), adapter=Lora(rank=4, alpha=8), seed=3)
    plain = TrainedRewardModel.of(Policy.from_reference(str(scratch))).hash
    assert TrainedRewardModel.of(policy).hash == plain, "a fresh adapter adds nothing"
    Dpo(steps=20, batch_size=12, learning_rate=2e-2, num_train_epochs=99).improve(
        policy, PAIRS, seed=3
    )
    scorer = TrainedRewardModel.of(policy)
    assert scorer.hash != plain
    ids = torch.tensor([[30, 31, 32, 40, 1]])
    with torch.no_grad():
        ours = scorer.model.base_model(ids).last_hidden_state
        theirs = policy.model.base_model(ids).last_hidden_state
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_broken_weights_say_so(scratch):
    policy = Policy.from_reference(str(scratch))
    with torch.no_grad():
        next(policy.model.parameters()).fill_(math.nan)
    with pytest.raises(InvalidOption, match="broken weights"):
        RewardModel(steps=2).teach(TrainedRewardModel.of(policy), PAIRS, seed=0)
