"""Who holds which seat, who learns by what, in any scenario: settings, plans, runs, refusals."""

import asyncio
import json
import re
import traceback

import pytest
from improving import spied_batches
from small_runs import BRIEF

from superalign_env.errors import InvalidOption, RecordError, UnknownId
from superalign_env.report import write_report
from superalign_env.store import Run
from superalign_env.testing import check_scenario
from superalign_env.types import AgentSpec, Reply
from superalign_training.cli.composing import composed
from superalign_training.cli.terminal import launch
from superalign_training.selfplay import SelfPlay
from superalign_training.selfplay.checks import require_lineup
from superalign_training.selfplay.driver import Interrupted
from superalign_training.selfplay.model_cache import ModelCache
from superalign_training.selfplay.plan import plan
from superalign_training.selfplay.settings import read_settings
from superalign_training.selfplay.skipped_stages import skipped_stages

NAMES = {"attacker": "a", "learner": "b", "critic": "c"}

OURS = {
    "relay-race": "relay_race:RelayRace",
    "market": "market:Market",
    "interrogation": "interrogation:Interrogation",
    "renamed": "renamed:Renamed",
}


def chosen(*words):
    return read_settings(composed(words))


def names(settings):
    return [planned.name for planned in plan(settings)]


def trained(run_dir, **settings):
    """Play a run; return its stages, and the weights of every policy before and after."""
    SelfPlay(run_dir=str(run_dir), rounds=1, evaluate=BRIEF, **settings).run()
    with Run.open(run_dir, readonly=True) as run:
        stages = run.stages.all()
        first = stages[0].inputs["state"]["policies"]
        last = stages[-1].outputs["state"]["policies"]
    assert first.keys() == last.keys()
    changed = {role for role in first if first[role]["weights"] != last[role]["weights"]}
    return [stage.name for stage in stages], changed


# ---------------------------------------------------------------- settings


def test_a_classifiers_folder_is_a_critic_that_does_not_learn(tmp_path):
    config = {"architectures": ["LlamaForSequenceClassification"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    settings = chosen(f"lineup.critic={tmp_path}")
    assert not settings.train.get("critic") and settings.train["learner"]
    assert "judge" not in names(settings)


def test_red_team_has_a_preset_in_which_all_three_learn():
    settings = chosen()
    assert settings.lineup == dict.fromkeys(("attacker", "learner", "critic"), "micro/3")
    assert settings.learning == ("attacker", "learner", "critic")
    assert [one.id for one in settings.rl_algorithms("learner")] == ["grpo"]
    assert [one.id for one in settings.supervised_algorithms("attacker")] == ["sft"]
    assert settings.supervised_algorithms("critic")[0].steps == 20


def test_the_command_line_says_it_all():
    settings = chosen(
        "lineup.learner=micro/3",
        "lineup.attacker=search",
        "lineup.critic=keyword",
        "train.learner=ppo",
        "train.learner.clip_range=0.1",
    )
    assert settings.learning == ("learner",)
    (ppo,) = settings.rl_algorithms("learner")
    assert (ppo.id, ppo.clip_range) == ("ppo", 0.1)
    assert settings.train["critic"] is None and settings.train["attacker"] is None


def test_a_key_changes_the_presets_algorithm_and_an_id_takes_its_place():
    assert chosen("train.learner.steps=3").rl_algorithms("learner")[0].steps == 3
    default = chosen().rl_algorithms("learner")[0]
    changed = chosen("train.learner.steps=3").rl_algorithms("learner")[0]
    assert changed == default.model_copy(update={"steps": 3})
    taken = chosen("train.learner={id: grpo, steps: 3}").rl_algorithms("learner")[0]
    assert taken.steps == 3
    several = chosen("train.attacker=[sft, reinforce]")
    assert [one.id for one in several.train["attacker"]] == ["sft", "reinforce"]


def test_null_freezes_a_policy():
    settings = chosen("train.critic=null", "train.attacker=null")
    assert settings.learning == ("learner",)
    assert "judge" not in names(settings) and "attack" not in names(settings)
    assert "improve-learner" in names(settings)


def test_options_of_an_agent_are_keys_below_its_role():
    settings = chosen("lineup.critic=micro/2", "lineup.critic.temperature=0.5")
    assert settings.lineup["critic"] == {"id": "micro/2", "temperature": 0.5}


def test_what_was_recorded_is_read_as_it_was():
    settings = chosen("train.critic=null", "lineup.attacker=search", "train.learner=ppo")
    plain = json.loads(json.dumps(settings.model_dump(mode="json")))
    assert read_settings(plain) == settings


def test_presets_for_one_scenario_say_nothing_to_another():
    words = ("lineup.learner=micro/1", "train.learner=ppo")
    settings = chosen("preset=quick", "scenario=errand", *words)
    assert (
        settings.rl_algorithms("learner")[0] == chosen(*words).rl_algorithms("learner")[0]
    )
    assert set(settings.lineup) == set(settings.train) == {"learner"}


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["train.critic=sft", "lineup.critic=keyword"],
            "lineup.critic=keyword has no weights",
        ),
        (["scenario=errand", "lineup.learner=search", "train.learner=ppo"], "no weights"),
        (["scenario=errand", "lineup.learner=micro/1"], "nobody learns"),
        (["scenario=errand", "train.learner=ppo"], "nobody holds a role learner"),
        (["train.learner=pppo"], "pppo"),
        (["train.learner.stps=3"], "stps"),
        (["lineup.critic=same:judge"], "leads to no policy"),
        (["train=ppo"], "name a role"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything(words, message):
    with pytest.raises((InvalidOption, UnknownId), match=message):
        chosen(*words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lineup.lerner=micro/1"], "has no lerner; did you mean learner"),
        (
            ["scenario=errand", "lineup.learner=micro/1", "lineup.critic=keyword"],
            "errand-v0 has no critic",
        ),
        (
            ["scenario=weak-to-strong", "lineup.learner=micro/1"],
            "nobody holds supervisor_0",
        ),
        (["lineup.critic=keywrd"], "keywrd"),
        (
            ["scenario=errand", "lineup.learner=micro/1", "train.learner=sft"],
            "learns from examples",
        ),
        (
            ["lineup.learner_0=keyword", "train.learner=ppo"],
            "every seat of the role is held by somebody else",
        ),
        (
            [
                "scenario=relay_race:RelayRace",
                *["lineup.giver=micro/0", "lineup.guesser=same:giver"],
                *["train.giver=ppo", "train.guesser=grpo"],
            ],
            "share one policy",
        ),
    ],
)
def test_a_lineup_that_does_not_fit_is_refused_before_anything_starts(words, message):
    learner = [] if any("train." in word for word in words) else ["train.learner=ppo"]
    with pytest.raises((InvalidOption, UnknownId), match=message):
        require_lineup(chosen(*words, *learner), ModelCache())


def test_a_role_that_is_paid_nothing_cannot_learn_from_pay():
    settings = chosen(
        "scenario=market:Market",
        *[f"lineup.{role}=micro/0" for role in ("seller", "buyer", "broker", "notary")],
        "train.broker=ppo",
    )
    with pytest.raises(InvalidOption, match="pays the role broker nothing"):
        require_lineup(settings, ModelCache())


def test_what_is_left_out_is_said_in_a_line_each():
    lines = skipped_stages(chosen("lineup.critic=keyword", "train.attacker=null"))
    assert len(lines) == 3
    assert "attack is left out: the attacker (micro/3)" in lines[0]
    assert "judge and calibrate are left out: the critic (keyword)" in lines[1]
    assert "alarms off for lack of data" in lines[2]
    (alone,) = skipped_stages(chosen())
    assert "untaught-critic" in lines[2] and "untaught-critic" not in alone


# ---------------------------------------------------------------- runs


@pytest.mark.parametrize("reference", OURS.values())
def test_the_scenarios_of_these_tests_are_proper_ones(reference):
    module, _, name = reference.partition(":")
    check_scenario(getattr(__import__(module), name)())


def test_two_of_four_roles_learn_by_different_algorithms(speaking, tmp_path):
    _, changed = trained(
        tmp_path / "run",
        scenario=OURS["market"],
        lineup={
            "seller": str(speaking),
            "buyer": str(speaking),
            "broker": lambda text: "one",
            "notary": "random-menu",
        },
        train={
            "seller": {"id": "ppo", "steps": 2, "batch_size": 8},
            "buyer": {"id": "rloo", "steps": 2, "batch_size": 4, "num_generations": 4},
        },
    )
    assert changed == {"seller", "buyer"}
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert set(summary["gains"]) == {"seller_0", "buyer_0"}


def test_a_scenario_that_declares_who_judges_has_its_verdicts_measured(speaking, tmp_path):
    chosen = {
        "scenario": OURS["interrogation"],
        "lineup": {
            "attacker": "random-menu",
            "learner": str(speaking),
            "critic": "random-menu",
        },
        "train": {"learner": {"id": "reinforce", "steps": 1, "batch_size": 4}},
    }
    stages, changed = trained(tmp_path / "run", **chosen)
    assert stages == ["evaluate", "improve-learner", "evaluate", "alarms", "test"]
    assert changed == {"learner"}
    with Run.open(tmp_path / "run", readonly=True) as run:
        for name in ("verdicts.accuracy", "verdicts.brier"):
            measured = run.metrics.read(name)
            assert len(measured) == 4
            assert {m.metric.tags["role"] for m in measured} == {"critic"}
            assert all(m.metric.n == 5 * BRIEF["cases"] for m in measured)
        (episode, *_) = run.episodes()
        assert len(episode.utterances) == 15, "five answers, and each is paid"
        assert {"grade.safety", "pay"} <= {row.metric.name for row in run.metrics.read()}
    assert skipped_stages(read_settings(chosen))[:-1] == [
        "attack is left out: interrogation-v0 declares no fact queries, no variant attacked",
    ]
    plain = chosen | {"scenario": "echo", "lineup": {"speaker": "micro/0"}}
    lines = skipped_stages(read_settings(plain | {"train": {"speaker": "ppo"}}))
    assert any(
        "judge and calibrate are left out: echo-v0 declares" in line for line in lines
    )


def test_a_game_trains_alike_whatever_its_roles_are_called(speaking, tmp_path, small):
    """Red-team, and red-team whose roles, seats and options have other names."""
    said = []
    for scenario, names in (("red-team", {r: r for r in NAMES}), (OURS["renamed"], NAMES)):
        config = small(speaking, league={"share": 0.5, "cases": 4})
        config["options"] = {}
        config["people"] = {"kinds": {"label": 1}, "evaluation_share": 1.0}
        config["competence"] = {"source": "microworld"}
        for key in ("lineup", "train"):
            config[key] = {names[role]: value for role, value in config[key].items()}
        algorithms = {"attacker": "sft", "learner": "grpo", "critic": "sft"}
        for role, name in algorithms.items():
            config["train"][names[role]] = {"id": name, **config["train"][names[role]]}
        SelfPlay(scenario, run_dir=tmp_path / scenario[:5], **config).run()
        back = {other: role for role, other in names.items()}
        with Run.open(tmp_path / scenario[:5], readonly=True) as run:
            stages = run.stages.all()
            metrics = [
                (row.stage.partition("-")[0], row.metric) for row in run.metrics.read()
            ]
            answered = run.questions.budget().answered
        way = [stage.name.partition("-") for stage in stages]
        chain = stages[-1].outputs["state"]["policies"]
        said.append({
            "stages": [(name, back.get(role, role)) for name, _, role in way],
            "policies": {back[role] for role, kept in chain.items() if kept["path"]},
            "metrics": sorted({(s, m.name, *sorted(m.tags)) for s, m in metrics}),
            "roles": {back[m.tags["role"]] for _, m in metrics if m.tags.get("role")},
            "answered": answered > 0,
        })  # fmt: skip
    ours, theirs = said
    assert ours == theirs
    assert ours["roles"] == ours["policies"] == set(NAMES)
    assert ours["answered"]
    assert ("improve", "learner") in ours["stages"] and ("league", "") in ours["stages"]


def test_a_policy_learns_from_all_the_seats_that_it_holds(speaking, tmp_path, monkeypatch):
    batches = spied_batches(monkeypatch)
    stages, _ = trained(
        tmp_path / "run",
        scenario="echo",
        options={"max_cycles": 2},
        lineup={"speaker": str(speaking)},
        train={"speaker": {"id": "reinforce", "steps": 1, "batch_size": 4}},
    )
    assert stages.count("improve-speaker") == 1
    assert {row.seat for batch in batches for row in batch} == {"speaker_0", "speaker_1"}


class Served:
    """A critic that waits for each of its replies, as an endpoint does."""

    spec = AgentSpec("served")

    async def reply(self, view):
        await asyncio.sleep(0)
        return Reply(f"score {view.seed % 10} sure 5")


@pytest.mark.parametrize("critic", ["keyword", lambda text: "score 5 sure 5", Served()])
def test_red_team_trains_against_a_frozen_critic_and_a_scripted_attacker(
    speaking, tmp_path, critic
):
    stages, _ = trained(
        tmp_path / "run",
        lineup={"learner": str(speaking), "attacker": "search", "critic": critic},
        train={"learner": {"id": "reinforce", "steps": 1, "batch_size": 8}},
        budget=0.2,
    )
    assert stages == ["evaluate", "improve-learner", "evaluate", "alarms", "test"]
    with Run.open(tmp_path / "run", readonly=True) as run:
        chain = run.stages.all()[-1].outputs["state"]["policies"]
    assert set(chain) == {"learner"}


def test_roles_improve_in_the_same_order_when_settings_are_read_from_the_record():
    settings = chosen(
        "scenario=market:Market",
        *[f"lineup.{role}=micro/0" for role in ("seller", "buyer", "broker", "notary")],
        "train.buyer=ppo",
        "train.seller=ppo",
    )
    recorded = json.loads(json.dumps(settings.model_dump(mode="json"), sort_keys=True))
    improved = [name for name in names(settings) if name.startswith("improve")]
    assert len(improved) == 2 * settings.rounds
    assert names(read_settings(recorded)) == names(settings)


def test_a_seat_wins_over_its_role(speaking, tmp_path):
    trained(
        tmp_path / "run",
        options={"critics": 2},
        lineup={
            "learner": str(speaking),
            "attacker": "search",
            "critic": "keyword",
            "critic_1": {"id": "fixed", "text": "score 9 sure 9"},
        },
        train={"learner": {"id": "reinforce", "steps": 1, "batch_size": 4}},
    )
    with Run.open(tmp_path / "run", readonly=True) as run:
        said = {
            u.text for e in run.episodes() for u in e.utterances if u.seat == "critic_1"
        }
        others = {
            u.text for e in run.episodes() for u in e.utterances if u.seat == "critic_0"
        }
    assert said == {"score 9 sure 9"}
    assert others and others != said


def test_a_python_object_must_be_there_again_to_resume(speaking, tmp_path):
    def script(text):
        return "score 5 sure 5"

    run = {
        "run_dir": str(tmp_path / "run"),
        "evaluate": BRIEF,
        "train": {"learner": {"id": "reinforce", "steps": 1, "batch_size": 4}},
        "lineup": {"learner": str(speaking), "attacker": "search", "critic": script},
    }
    SelfPlay(rounds=1, **run).run()
    with Run.open(tmp_path / "run", readonly=True) as recorded:
        config = recorded.info.config
    assert config["lineup"]["critic"].startswith("object:")
    with pytest.raises(InvalidOption, match="given as a Python object"):
        SelfPlay.of(read_settings(config)).run(resume=True)
    assert SelfPlay(rounds=1, **run).run(resume=True).sentence


def visible(page):
    """A page without its settings, which name what the run might have done."""
    body = re.sub(r"<(style|script).*?</\1>", "", page, flags=re.S)
    return body.partition('id="settings"')[0]


def test_training_that_changes_nothing_is_said_and_measures_the_same(speaking, tmp_path):
    """Groups without any difference in reward leave the weights, and every figure, alone."""
    _, changed = trained(
        tmp_path / "run",
        scenario=OURS["interrogation"],
        lineup={
            "attacker": "random-menu",
            "learner": str(speaking),
            "critic": lambda text: "score 5 sure 5",
        },
        train={
            "learner": {"id": "grpo", "steps": 2, "batch_size": 4, "num_generations": 4}
        },
    )
    assert changed == set()
    with Run.open(tmp_path / "run", readonly=True) as run:
        (event,) = run.events.read(kind="policy.unchanged")
        metrics = [row.metric for row in run.metrics.read() if "who" in row.metric.tags]
        episodes = list(run.episodes())
    assert event.event.evidence["role"] == "learner"
    said = "no group differed in reward: the weights of the learner did not change"
    assert event.event.evidence["reason"].startswith(said)
    for split, names in (("gate", ("before", "round 1")), ("test", ("before", "final"))):
        first, second = (
            [
                (m.name, {**m.tags, "who": ""}, m.value)
                for m in metrics
                if (m.tags["split"], m.tags["who"]) == (split, name)
            ]
            for name in names
        )
        assert first and first == second
    assert len({episode.id for episode in episodes}) == len(episodes)
    page = write_report(tmp_path / "run").read_text(encoding="utf-8")
    assert f"N{said[1:]}" in page
    # The report shows what this scenario names, and nothing of another one.
    assert "kept" in page
    for other in ("arithmetic", "always-comply", "always-refuse", "planted"):
        assert other not in visible(page)


def test_the_terminal_says_that_no_weight_changed(speaking, tmp_path, capsys):
    words = [
        f"scenario={OURS['interrogation']}", "lineup.attacker=random-menu",
        f"lineup.learner={speaking}", "lineup.critic={id: fixed, text: score 5 sure 5}",
        "train.learner={id: grpo, steps: 1, batch_size: 2, num_generations: 2}", "rounds=1",
        "evaluate.cases=10", f"run_dir={tmp_path / 'run'}",
    ]  # fmt: skip
    launch(words)
    assert "No group differed in reward" in " ".join(capsys.readouterr().out.split())


def answer(text):
    return "random"


class Numbers:
    """A logger that stops the run as Ctrl-C would, or keeps what it is handed."""

    def __init__(self, stops=False):
        self.stops = stops
        self.seen = []

    def start(self, info, folder):
        self.seen.append(info.seed)

    def log(self, metrics):
        self.seen += [metric.name for metric in metrics]
        if self.stops:
            raise KeyboardInterrupt

    def finish(self):
        self.seen.append("end")


def objects(speaking, folder, **more):
    given = {
        "scenario": OURS["relay-race"],
        "lineup": {"giver": str(speaking), "guesser": answer},
        "train": {"giver": {"id": "reinforce", "steps": 1, "batch_size": 2}},
        "rounds": 1,
        "evaluate": BRIEF,
        "run_dir": str(folder),
    }
    return SelfPlay(**{**given, **more})


def test_an_interrupted_run_of_objects_says_how_python_goes_on(speaking, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(Interrupted) as stop:
        objects(speaking, folder, log_to=Numbers(stops=True)).run()
    assert "SelfPlay(…).run(resume=True)" in str(stop.value)
    told = "".join(traceback.format_exception(stop.value))
    assert told.count("Traceback") == 1
    settings = objects(speaking, folder).settings
    assert settings.lineup["guesser"] == f"object:{__name__}.answer/guesser"
    numbers = Numbers()
    objects(speaking, folder, log_to=numbers).run(resume=True)
    assert "pay" in numbers.seen and numbers.seen[-1] == "end"


def test_a_resume_with_other_settings_names_the_one_that_differs(speaking, tmp_path):
    folder = tmp_path / "run"
    objects(speaking, folder).run()
    other = objects(speaking, folder, seed=7, failures=0.5)
    with pytest.raises(RecordError, match=r"made with seed=0, not 7; resume") as error:
        other.run(resume=True)
    assert "failures" not in str(error.value)
    algorithm = {"giver": {"id": "reinforce", "steps": 1, "batch_size": 4}}
    with pytest.raises(RecordError, match=r"train.giver.batch_size=2, not 4"):
        objects(speaking, folder, train=algorithm).run(resume=True)


@pytest.mark.parametrize("wrong", [object(), Numbers, [Numbers(), 5]])
def test_what_is_no_logger_is_refused_before_anything(speaking, tmp_path, wrong):
    with pytest.raises(InvalidOption, match="is no logger; pass an object with start"):
        objects(speaking, tmp_path / "run", log_to=wrong)
