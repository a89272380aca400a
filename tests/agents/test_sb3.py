"""What Stable-Baselines3 trained, in a seat: same choices, no global randomness, no pickle."""

import base64
import io
import json
import pickle
import random
import zipfile

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO

from superalign_agents.sb3 import Sb3Agent, save_sb3
from superalign_agents.scripted import RandomMenu
from superalign_env.canonical import to_json
from superalign_env.envs import make_scenario
from superalign_env.errors import InvalidOption
from superalign_env.features import HashedText
from superalign_env.numeric import numeric_env
from superalign_env.rollout import Rollouts
from superalign_env.types import Brief, View
from superalign_scenarios.echo import Echo
from superalign_training.algorithms.sb3.baseline_training import train_baseline

WORDS = ("river", "stone", "lamp", "cloud", "bread", "door", "seed", "rope")
FEATURES = HashedText(words=32, placed=0)
LEARNING = {
    "ppo": {"n_steps": 64, "n_epochs": 5, "learning_rate": 3e-3, "gamma": 0.0},
    "a2c": {"learning_rate": 3e-3, "gamma": 0.0},
    "dqn": {
        "learning_rate": 3e-3,
        "gamma": 0.0,
        "learning_starts": 200,
        "exploration_fraction": 0.5,
        "train_freq": 4,
        "target_update_interval": 200,
    },
}


class MenuEcho(Echo):
    """Echo in which one can only choose words; paid for the word that was heard."""

    def view(self, state, seat):
        return Brief(super().view(state, seat).text, menu=WORDS)


def make_env(choices=8):
    others = {"speaker_1": RandomMenu()}
    scenario = MenuEcho(max_cycles=4)
    return numeric_env(
        scenario, "speaker_0", others=others, features=FEATURES, choices=choices
    )


def fresh(kind=PPO, choices=8, **options):
    return kind("MlpPolicy", make_env(choices), seed=1, device="cpu", **options)


def views(n=64):
    return [
        View(f"e{i}", i, "learner_0", "learner", 0, (i * 0x9E3779B97F4A7C15) >> 1 & (2**63 - 1),
             WORDS[i % 8], menu=WORDS[: 2 + i % 7])
        for i in range(n)
    ]  # fmt: skip


def pay(agent):
    """The mean pay of a cycle, over held-out cases; chance is 0.125."""
    agents = {"speaker_0": agent, "speaker_1": RandomMenu()}
    episodes = Rollouts(MenuEcho(max_cycles=4), agents, run=991).run(50)
    assert not any(e.ending.kind == "failed" for e in episodes)
    earned = [r.value for e in episodes for r in e.rewards if r.seat == "speaker_0"]
    return sum(earned) / len(earned)


@pytest.fixture(scope="module")
def trained():
    return {
        name: train_baseline(make_env, name, steps=2048, seed=0, options=options)
        for name, options in LEARNING.items()
    }


@pytest.mark.parametrize("algorithm", LEARNING)
def test_every_algorithm_learns_what_to_choose_and_plays_it(trained, algorithm):
    learned = Sb3Agent(trained[algorithm].model, features=FEATURES)
    assert pay(RandomMenu()) < 0.2
    assert pay(learned) > 0.9
    curve = trained[algorithm].returns
    assert trained[algorithm].last() > 2 * sum(curve[:50]) / 50


@pytest.mark.parametrize("algorithm", LEARNING)
def test_a_saved_policy_plays_as_the_live_one_from_the_path_alone(
    trained, algorithm, tmp_path
):
    model = trained[algorithm].model
    path = save_sb3(model, tmp_path / "policy", features=FEATURES)
    live, loaded = Sb3Agent(model, features=FEATURES), Sb3Agent(path)
    assert path.name == "policy.zip"
    assert loaded.act(views()) == live.act(views())
    assert loaded.policy == live.policy and len(live.policy) == 32
    assert pay(loaded) > 0.9


def test_sb3_itself_still_loads_what_is_saved(trained, tmp_path):
    path = save_sb3(trained["ppo"].model, tmp_path / "x.zip", features=FEATURES)
    assert PPO.load(path, device="cpu").num_timesteps == 2048


@pytest.mark.parametrize("kind", [PPO, A2C, DQN])
def test_choices_are_those_of_sb3(kind):
    """Entries of short menus are counted round, as the environment does."""
    model = fresh(kind, choices=11)
    said = [reply.text for reply in Sb3Agent(model, features=FEATURES).act(views())]
    for view, text in zip(views(), said, strict=True):
        action, _ = model.predict(FEATURES(view), deterministic=True)
        assert text == view.menu[int(action) % len(view.menu)]


def test_samples_follow_the_policys_distribution():
    model = fresh()
    model.policy.action_net.weight.data.mul_(300)
    agent = Sb3Agent(model, features=FEATURES, deterministic=False)
    many = [
        View(f"e{i}", i, "a_0", "a", 0, i * 7919, "lamp", menu=WORDS) for i in range(4000)
    ]
    said = [reply.text for reply in agent.act(many)]
    seen = np.array([said.count(word) for word in WORDS]) / len(said)
    rows = torch.as_tensor(FEATURES(many[0]))[None]
    wanted = model.policy.get_distribution(rows).distribution.probs[0].detach().numpy()
    assert wanted.max() > 0.35
    assert np.abs(seen - wanted).max() < 4 * 0.5 / 4000**0.5


@pytest.mark.parametrize("deterministic", [True, False])
def test_replies_depend_on_the_view_alone(deterministic):
    agent = Sb3Agent(fresh(), features=FEATURES, deterministic=deterministic)
    together = agent.act(views())
    assert agent.act(views()) == together
    assert agent.act(views()[::-1])[::-1] == together
    assert [agent.act([view])[0] for view in views()] == together
    assert agent.act([]) == []


def test_acting_neither_reads_nor_changes_global_randomness():
    agent = Sb3Agent(fresh(), features=FEATURES, deterministic=False)
    first = agent.act(views())
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    states = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state()
    assert agent.act(views()) == first
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tobytes() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])


def test_training_is_the_same_for_the_same_seed():
    def weights(seed):
        options = {"n_steps": 32, "batch_size": 32}
        model = train_baseline(make_env, steps=256, seed=seed, options=options).model
        return Sb3Agent(model, features=FEATURES).policy

    assert weights(3) == weights(3) != weights(4)


def test_the_record_makes_the_agent_again(tmp_path):
    path = save_sb3(fresh(), tmp_path / "a.zip", features=FEATURES)
    agent = Sb3Agent(path, deterministic=False)
    again = Sb3Agent(**json.loads(to_json(agent.spec.options)))
    assert again.spec == agent.spec and agent.spec.id == "sb3"
    assert again.act(views()) == agent.act(views())


def test_training_shows_in_the_hash_after_a_refresh():
    model = fresh()
    agent = Sb3Agent(model, features=FEATURES)
    before = agent.policy
    model.policy.action_net.bias.data.add_(1)
    assert agent.policy == before
    agent.refresh()
    assert agent.policy != before


def test_it_plays_red_team_and_a_view_without_a_menu_fails_alone():
    scenario = make_scenario("red-team")
    features = HashedText(words=8, placed=0)
    others = {seat: RandomMenu() for seat in scenario.seats}
    env = numeric_env(scenario, "learner_0", others=others, features=features)
    agent = Sb3Agent(PPO("MlpPolicy", env, device="cpu", seed=0), features=features)
    episodes = Rollouts(scenario, {**others, "learner_0": agent}).run(6)
    said = {u.text for e in episodes for u in e.utterances if u.seat == "learner_0"}
    assert said <= {"comply", "refuse"}
    assert {
        u.reply.policy for e in episodes for u in e.utterances if u.seat == "learner_0"
    } == {agent.policy}
    bare = View("e", 0, "learner_0", "learner", 3, 1, "hello")
    mute, able = Sb3Agent(fresh(), features=FEATURES).act([bare, views()[0]])
    assert "has none at turn 3" in mute.error and mute.finish == "error"
    assert able.text in WORDS and not able.error


NETWORKS = [
    {"activation_fn": torch.nn.ReLU, "net_arch": [8, 4]},
    {"net_arch": {"pi": [8], "vf": [16, 4]}},
    {"net_arch": []},
    {"ortho_init": False},
]


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_networks_of_any_width_are_rebuilt(network, tmp_path):
    model = fresh(policy_kwargs=network)
    model.policy.action_net.weight.data.mul_(100)
    path = save_sb3(model, tmp_path / "n.zip", features=FEATURES)
    loaded, live = Sb3Agent(path), Sb3Agent(model, features=FEATURES)
    assert loaded.act(views()) == live.act(views())
    rows = torch.as_tensor(np.stack([FEATURES(view) for view in views()]))
    wanted = model.policy.get_distribution(rows).distribution.probs
    found = loaded.policy_net.get_distribution(rows).distribution.probs
    assert torch.equal(wanted, found)


def test_a_plain_zip_of_sb3_needs_its_features_named(tmp_path):
    model = fresh()
    model.save(tmp_path / "plain.zip")
    with pytest.raises(InvalidOption, match="does not say which features"):
        Sb3Agent(tmp_path / "plain.zip")
    loaded = Sb3Agent(tmp_path / "plain.zip", features=FEATURES.options)
    assert loaded.act(views()) == Sb3Agent(model, features=FEATURES).act(views())


class Bomb:
    """Explodes when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('a pickle was loaded')",)


def rewritten(source, target, **members):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, members.get(name.partition(".")[0], old.read(name)))
    return target


def test_pickles_in_a_zip_are_never_loaded(tmp_path):
    model = fresh(policy_kwargs={"activation_fn": torch.nn.Tanh})
    source = save_sb3(model, tmp_path / "a.zip", features=FEATURES)
    raw = io.BytesIO()
    torch.save({"action_net.weight": Bomb()}, raw)
    in_weights = rewritten(source, tmp_path / "b.zip", policy=raw.getvalue())
    with pytest.raises(InvalidOption, match="cannot be read safely"):
        Sb3Agent(in_weights)

    bomb = base64.b64encode(pickle.dumps(Bomb())).decode()
    with zipfile.ZipFile(source) as archive:
        data = json.loads(archive.read("data"))
    data["policy_kwargs"][":serialized:"] = data["lr_schedule"][":serialized:"] = bomb
    in_data = rewritten(source, tmp_path / "c.zip", data=json.dumps(data))
    assert Sb3Agent(in_data).act(views()) == Sb3Agent(source).act(views())
    with pytest.raises(SystemExit):
        PPO.load(in_data)  # the bomb is live


def test_what_cannot_be_rebuilt_is_refused_with_a_reason(tmp_path):
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(InvalidOption, match="no saved model of Stable-Baselines3"):
        Sb3Agent(tmp_path / "text.zip")
    with pytest.raises(InvalidOption, match="no saved model of Stable-Baselines3"):
        Sb3Agent(tmp_path / "missing.zip")
    odd = fresh(policy_kwargs={"activation_fn": torch.nn.Softplus})
    with pytest.raises(InvalidOption, match="cannot be rebuilt from plain options"):
        Sb3Agent(save_sb3(odd, tmp_path / "odd.zip", features=FEATURES))
    split = fresh(policy_kwargs={"share_features_extractor": False})
    with pytest.raises(InvalidOption, match="share_features_extractor"):
        Sb3Agent(save_sb3(split, tmp_path / "split.zip", features=FEATURES))
    tensor = io.BytesIO()
    torch.save({"a": {"b": 1}}, tensor)
    good = save_sb3(fresh(), tmp_path / "good.zip", features=FEATURES)
    with pytest.raises(InvalidOption, match="more than named tensors"):
        Sb3Agent(rewritten(good, tmp_path / "bad.zip", policy=tensor.getvalue()))


def test_other_features_and_sampling_from_q_values_are_refused():
    with pytest.raises(InvalidOption, match=r"shape \(36,\), these features have size 516"):
        Sb3Agent(fresh(), features=HashedText())
    with pytest.raises(InvalidOption, match="no distribution"):
        Sb3Agent(fresh(DQN), features=FEATURES, deterministic=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"algorithm": "sac"}, "'sac' is none of ppo, dqn, a2c"),
        ({"steps": 0}, "must be at least 1"),
        ({"options": {"learning_speed": 1}}, "learning_speed"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, words):
    with pytest.raises(InvalidOption, match=words):
        train_baseline(make_env, **{"algorithm": "ppo", "steps": 8, "seed": 0, **change})


def test_training_without_an_ended_episode_has_no_result():
    options = {"n_steps": 2, "batch_size": 2}
    short = train_baseline(make_env, steps=2, seed=0, copies=1, options=options)
    with pytest.raises(InvalidOption, match="no episode ended"):
        short.last()
