"""From words of the command line to runs: groups, sweeps, forks, prices, exit codes."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from superalign_env import registry
from superalign_env.cli import build
from superalign_env.errors import InvalidOption, RecordError, UnknownId
from superalign_env.store import Run
from superalign_env.types import Event
from superalign_training.algorithms.algorithm import make_algorithm
from superalign_training.cli.composing import (
    changed,
    combinations,
    composed,
    swept,
)
from superalign_training.cli.spelling import groups, with_run_dir
from superalign_training.cli.sweeping import Sweep, results_table
from superalign_training.cli.terminal import alarm_sentences, launch_sweep
from superalign_training.selfplay.settings import Settings, read_settings
from superalign_training.selfplay.stopping import CTRL_C, REQUEUE, Terminated, exit_code

QUICK = [
    "lineup.learner=micro/0", "lineup.attacker=micro/0", "lineup.critic=micro/0",
    "train.attacker.steps=2", "train.learner.steps=2", "train.learner.batch_size=2",
    "train.learner.num_generations=2", "train.critic.steps=2", "rounds=1", "budget=0.3",
    "judge.cases=8", "judge.check_cases=6", "judge.max_fits=1", "judge.single_answer_steps=1",
    "judge.imitation.steps=2", "attack.cases=8", "attack.archive_updates=2", "attack.min_distinct=0",
    "calibrate.cases=6",
    "evaluate.cases=10", "evaluate.attack_cases=4", "evaluate.fresh_queries=6",
    "evaluate.fresh_waves=2", "evaluate.family_cases=2",
]  # fmt: skip

PAID = ["train.attacker=ppo", "train.learner=ppo", "train.critic=ppo"]
ALL_FROZEN = ["train.attacker=null", "train.learner=null", "train.critic=null"]


def cli(*words):
    return CliRunner().invoke(build(), list(words))


# --- words


def test_every_kind_that_can_be_chosen_is_a_group():
    assert set(groups()) == {"gap"}
    assert set(groups()["gap"]) == set(registry.entries("gap"))


@pytest.mark.parametrize("name", sorted(registry.entries("gap")))
def test_every_controller_can_be_chosen_by_its_id(name):
    assert composed([f"gap={name}", "generations=0"])["gap"]["id"] == name


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (["gap={id: fixed-large, steps: 3}"], 3),
        (["gap.id=fixed-large", "gap.steps=4"], 4),
        (["gap={id: fixed-large}"], 2),
    ],
)
def test_a_choice_may_be_written_as_a_mapping(words, steps):
    gap = read_settings(composed(words)).gap
    assert (gap.id, gap.steps) == ("fixed-large", steps)
    forked = read_settings(changed(composed([]), words)).gap
    assert (forked.id, forked.steps) == ("fixed-large", steps)


def test_a_choice_has_settings_of_its_own():
    plain = composed(
        [
            "gap=fixed-large",
            "gap.steps=3",
            "train.learner=ppo",
            "train.learner.clip_range=0.1",
        ]
    )
    settings = read_settings(plain)
    assert (settings.gap.id, settings.gap.steps) == ("fixed-large", 3)
    (learning,) = settings.train["learner"]
    assert (learning.id, learning.clip_range) == ("ppo", 0.1)
    assert (
        read_settings(composed([])).model_copy(update={"run_dir": Settings().run_dir})
        == Settings()
    ), "without a word everything is as the settings say"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("rouns=2", "rouns; did you mean rounds"),
        ("scenaro=red-team", "scenaro; did you mean scenario"),
        ("attack.min_distint=0.5", "did you mean attack.min_distinct"),
        ("plain_share=0.5", "did you mean discover.plain_share"),
        ("calibrat.cases=3", "did you mean calibrate.cases"),
        ("gap=adaptiv", "did you mean adaptive"),
        ("gap.nothing=1", "nothing; known: gap.id"),
        ("zzz=1", "docs/training.md"),
        ("seed=0,1", "--multirun"),
        ("budget=0,2", r"has a point \(budget=0\.2\)"),
        ("lineup.learner=micro/0,micro/1", r"'lineup\.learner=\[micro/0,micro/1\]'"),
        ("run_dir=", "runs/mine"),
        ("run_dir='${nothing}/run'", "oc.env"),
        ("gap=null", "known: adaptive"),
        ("gap.id=null", "known: adaptive"),
        ("gap=[direct]", "did you mean direct"),
        ("gap={id: adaptiv}", "did you mean adaptive"),
        ("options=[a]", r"write its keys one by one, as in options\.KEY=VALUE"),
        ("alarms=[a]", r"write its keys one by one, as in alarms\.KEY=VALUE"),
        ("levels={a: 1}", r"write a list, as in 'levels=\[a, b\]'"),
        ("~options.refine", "is not set; leave this word out"),
        ("preset=null", "known: chain"),
        ("=3", "write KEY=VALUE"),
        ("rounds = 3", "without spaces"),
        ("scenario@here=3", "write KEY=VALUE"),
        ("~train", "train.learner=ppo"),
        ("options={id: ü}", "a text within needs quotation marks"),
        ("rounds", "rounds"),
        ("preset=none-such", "none-such"),
    ],
)
def test_words_that_mean_nothing_are_named(word, said):
    with pytest.raises(InvalidOption, match=said):
        composed([word])


@pytest.mark.parametrize(
    "text",
    ["a=b", "a#b", "~/b", "lehrer/ü", "a(b", "module:f(x)", "it's", 'say "so"', "a&b"],
)
def test_a_text_that_needs_quotation_marks_is_written_out_with_them(text):
    with pytest.raises(InvalidOption, match="needs quotation marks") as error:
        composed([f"lineup.critic={text}"])
    (word,) = shlex.split(str(error.value).partition("; write ")[2])
    assert composed([word])["lineup"]["critic"] == text


@pytest.mark.parametrize(
    "folder",
    ["sw/seed=0,gap=direct", "a#b", "lehrer/ü", "a(b", "it's", 'say "so"', "a\\", "7"],
)
def test_a_run_folder_is_read_as_it_is_printed(folder):
    assert composed([f"run_dir={folder}"])["run_dir"] == folder
    (word,) = with_run_dir(["run_dir=other"], Path(folder))
    assert composed([word])["run_dir"] == folder
    found = combinations([f"run_dir={folder}", "seed=0,1"])
    assert [composed(words)["run_dir"] for words in found] == [folder] * 2


def test_a_home_folder_is_found_where_the_shell_leaves_it():
    assert composed(["run_dir=~/run"])["run_dir"] == str(Path.home() / "run")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rounds", "2"], "has no option --rounds; .*without dashes: rounds=2"),
        (["--batch-size=8"], "without dashes: batch_size=8"),
        (["-x", "seed=1"], "has no option -x; .*x=VALUE"),
        (["--dry"], "did you mean --dry-run"),
    ],
)
@pytest.mark.parametrize("verb", [["train"], ["fork", "runs/mine"]], ids=["train", "fork"])
def test_a_setting_that_is_written_as_an_option_is_written_out(verb, words, said):
    refused = cli(*verb, *words).exception
    assert isinstance(refused, InvalidOption) and re.search(said, str(refused))


@pytest.mark.parametrize(
    "words",
    [
        ["options.critics=2", "options.refine=1"],
        ["options={critics: 2, refine: 1}"],
        ["options={critics: 2}", "options.refine=1"],
        ["+options.critics=2", "++options.refine=1"],
    ],
)
def test_options_of_the_scenario_are_set_like_any_other(words):
    assert read_settings(composed(words)).options == {"critics": 2, "refine": 1}
    swept_over = combinations([*words, "options.source=microworld,rows"])
    assert [composed(w)["options"]["source"] for w in swept_over] == ["microworld", "rows"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["options.critcs=2"], "has no option 'critcs'; did you mean critics"),
        (["options={critcs: 2}"], "has no option 'critcs'; did you mean critics"),
        (["options.critics=two"], "critics='two'"),
        (
            ["scenario=errand", *PAID],
            "lineup.attacker: errand-v0 has no attacker; .*learner",
        ),
        (["scenario=weak-to-strong", *PAID], "lineup.attacker: .* has no attacker"),
        (
            ["train.leaner=ppo"],
            "train.leaner: nobody holds a role leaner; did you mean learner",
        ),
        (["lineup.leaner=micro/0"], "lineup.leaner: red-team-v0 has no leaner.*learner"),
        (
            ["train.learner=sft"],
            "learner=sft learns from examples.* only rewards; .*supervise=",
        ),
        (["lineup.critic=keyword", "train.critic=ppo"], "critic=keyword has no weights"),
        (["lineup.learner=micro/0", *ALL_FROZEN], "nobody learns"),
        (["scenario=red-tem"], "did you mean red-team"),
        (["device=cuda:77"], "device=cuda:77 cannot be used here .*; choose cpu"),
        (["device=gpu"], r"device=gpu .*cpu, cuda, cuda:1 .* and mps\); choose cpu"),
        (["budget=20%"], "budget='20%': write a share as a number: 0.2"),
        (["rounds=two"], "rounds='two': write a whole number, as in 3"),
        (["budget=2"], "budget=2: must be at most 1"),
        (["levels=[]"], "levels=.*: write at least 1"),
        (["levels=micro/1"], "write a list"),
        (["signals.ancestors=maybe"], "write true or false"),
        (["people.mode=real"], "choose 'simulated'"),
        (["train.learner.learning_rate=fast"], "learning_rate='fast': write a number"),
        (["lineup.learner=null"], "write lineup.learner=micro/3"),
        (["options=3"], "options=3: write a mapping"),
        (["log_to=5"], "log_to=5: write the id of a logger .tensorboard"),
        (["log_to=[{a: 1}]"], "log_to=.*: write the id of a logger .tensorboard"),
        (["league=yes"], "league='yes': write its keys .* league.KEY=VALUE"),
        (["rounds=1e99"], "rounds=1e.99: write a whole number"),
        (["lineup.critic={ref: micro/3}"], "names no agent; add its id"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_what_cannot_be_trained_is_said_before_anything_is_done(
    tmp_path, words, said, more
):
    found = cli("train", *QUICK, f"run_dir={tmp_path / 'run'}", *words, *more)
    assert isinstance(found.exception, (InvalidOption, UnknownId))
    assert re.search(said, str(found.exception)), found.exception
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_taken_is_refused_before_anything_is_measured(tmp_path):
    path = tmp_path / "run"
    Run.create(path, kind="train", config={}, seed=0).close()
    found = cli("train", *QUICK, f"run_dir={path}")
    assert isinstance(found.exception, RecordError)
    assert f"superalign train run_dir={path} --resume" in str(found.exception)
    assert found.output == ""


def test_a_path_that_cannot_be_is_one_line(superalign, tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "run"
    said = superalign("train", *QUICK, f"run_dir={path}", code=2)
    last = said.splitlines()[-1]
    assert last.startswith(f"superalign: cannot make {path}: Not a directory; choose")


@pytest.mark.parametrize("left", ["nothing", "a folder", "settings", "an empty record"])
def test_resume_begins_what_was_never_begun(superalign, tmp_path, left):
    path = tmp_path / "run"
    if left != "nothing":
        path.mkdir()
    if left == "an empty record":
        (path / "run.db").touch()
    if left == "settings":
        with Run.create(tmp_path / "other", kind="train", config={}, seed=0):
            shutil.copy(tmp_path / "other" / "run.lock", path)
        settings = read_settings(composed([*QUICK, "seed=5"])).model_dump(mode="json")
        (path / "config.yaml").write_text(json.dumps(settings))
    words = [f"run_dir={path}"] if left == "settings" else [*QUICK, f"run_dir={path}"]
    # Stopped before a model learns: how it goes on is tested elsewhere.
    said = superalign("train", "--resume", *words, "--dry-run")
    assert "it begins now" in said and "judge" in said
    if left == "settings":
        with pytest.raises(AssertionError, match="made with seed=5"):
            superalign("train", "--resume", *words, "seed=6", "--dry-run")


def test_resume_says_which_run_may_have_been_meant(superalign, tmp_path):
    Run.create(tmp_path / "mine", kind="train", config={}, seed=0).close()
    said = superalign(
        "train", "--resume", *QUICK, f"run_dir={tmp_path / 'mien'}", "--dry-run"
    )
    assert f"did you mean {tmp_path / 'mine'}?" in said


def test_a_fork_that_was_not_finished_is_not_begun_as_another_run(superalign, tmp_path):
    (tmp_path / "run.db.partial").touch()
    said = superalign("train", "--resume", *QUICK, f"run_dir={tmp_path}", code=2)
    assert "a fork into" in said and "superalign fork command again" in said


def test_a_sweep_is_every_combination():
    words = ["seed=0,1,2", "rounds=1", "gap=direct,adaptive"]
    found = combinations(words)
    assert len(found) == 6
    assert found[0] == ["seed=0", "rounds=1", "gap=direct"]
    assert swept(words) == ["seed", "gap"]
    assert len(combinations(["seed=range(0,5)"])) == 5
    with pytest.raises(InvalidOption, match="several values"):
        combinations(["seed=1"])


def test_settings_of_a_record_are_changed_key_by_key_and_choices_as_a_whole():
    recorded = Settings(rounds=2).model_dump(mode="json")
    found = changed(recorded, ["gap=direct", "train.learner.steps=3", "train.learner=ppo"])
    assert found["gap"] == {"id": "direct"}
    (learning,) = read_settings(found).train["learner"]
    assert learning == make_algorithm("ppo")
    found = changed(
        recorded, ["judge={cases: 9}", "lineup.learner=micro/1", "preset=quick"]
    )
    assert found["judge"]["check_cases"] == 32 and found["lineup"]["learner"] == "micro/1"
    frozen = read_settings(changed(recorded, ["train.attacker=null"]))
    assert frozen.train["attacker"] is None and "attacker" not in frozen.learning
    for wrong, said in (
        ("gap=direkt", "direct"),
        ("seed=0,1", "one value"),
        ("preset=x", "quick"),
    ):
        with pytest.raises(InvalidOption, match=said):
            changed(recorded, [wrong])


# --- prices


def test_a_dry_run_says_what_it_would_cost_and_makes_nothing(tmp_path):
    path = tmp_path / "run"
    found = cli("train", *QUICK, f"run_dir={path}", "--dry-run")
    assert found.exit_code == 0, found.output
    assert "an estimate" in found.output and "labels by people" in found.output
    for stage in ("judge", "improve-learner", "calibrate", "test"):
        assert f"\n{stage} " in found.output
    assert not path.exists()


# --- forks


def test_a_run_is_forked_from_the_command_line(finished, tmp_path):
    second = tmp_path / "second"
    words = [
        "fork",
        str(finished),
        f"run_dir={second}",
        "--at",
        "0",
        "train.learner.steps=1",
    ]
    missing = cli(*(word for word in words if not word.startswith("run_dir")))
    assert isinstance(missing.exception, InvalidOption)
    made = cli(*words, "--only")
    assert made.exit_code == 0 and f"--resume run_dir={second}" in made.output
    again = cli(*words)
    assert isinstance(again.exception, RecordError), "it holds a run already"
    done = cli("train", "--resume", f"run_dir={second}")
    assert done.exit_code == 0, done.output
    with Run.open(second, readonly=True) as run:
        assert run.info.status == "done"
        (learning,) = run.info.config["train"]["learner"]
        assert (learning["steps"], learning["batch_size"]) == (1, 3)
        assert run.info.versions["torch"]
        assert run.info.revision
    refused = cli("train", "--resume", f"run_dir={second}", "gap=direct")
    assert isinstance(refused.exception, InvalidOption)
    assert "superalign fork" in str(refused.exception)


# --- sweeps

FAKE = """
import os, sys, time
folder = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
place = folder["run_dir"].strip("'")
os.makedirs(place, exist_ok=True)
open(place + "/words", "w").write(" ".join(sys.argv[1:]))
print("said by", folder["seed"], flush=True)
if folder["seed"] == "1":
    sys.exit("it broke")
if folder["seed"] == "2":
    os.kill(os.getpid(), 9)
if folder["seed"] == "9":
    import signal
    signal.signal(signal.SIGTERM, lambda *_: (open(place + "/saved", "w"), sys.exit(75)))
    open(place + "/ready", "w")
    time.sleep(60)
"""


def sweep(tmp_path, *seeds, **options):
    runs = {
        f"seed={seed}": [f"seed={seed}", f"run_dir='{tmp_path}/seed={seed}'"]
        for seed in seeds
    }
    return Sweep(tmp_path, runs, command=[sys.executable, "-c", FAKE], **options)


@pytest.mark.parametrize("jobs", [1, 3])
def test_runs_that_fail_or_are_killed_leave_the_others(tmp_path, jobs):
    said = []
    found = sweep(tmp_path, 0, 1, 2, 3, jobs=jobs, say=said.append).run()
    assert [result.name for result in found] == [f"seed={n}" for n in range(4)]
    assert [result.code for result in found] == [0, 1, -9, 0]
    assert "said by 3" in found[3].log.read_text()
    assert any("seed=1 FAILED with code 1: it broke" in line for line in said)
    assert sum(" done in " in line for line in said) == 2
    table = results_table(found)
    assert table.row_count == 4


def test_a_sweep_that_is_stopped_tells_its_runs_and_waits_for_them(tmp_path):
    def stop():
        while not (tmp_path / "seed=9" / "ready").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Terminated):
        sweep(tmp_path, 9, 0, say=lambda text: None).run()
    thread.join()
    assert (tmp_path / "seed=9" / "saved").exists()
    assert not (tmp_path / "seed=0").exists(), "what was not begun is not begun"


def test_only_runs_that_were_begun_are_resumed(tmp_path):
    (tmp_path / "seed=0").mkdir()
    (tmp_path / "seed=0" / "run.db").touch()
    sweep(tmp_path, 0, 3, resume=True, say=lambda text: None).run()
    words = {n: (tmp_path / f"seed={n}" / "words").read_text() for n in (0, 3)}
    assert words[0].endswith("--resume") and "--resume" not in words[3]


@pytest.mark.slow
def test_a_real_sweep_ends_with_a_table_and_the_command_that_compares(tmp_path, capsys):
    words = [
        *QUICK,
        "seed=0,1",
        "train.learner.learning_rate=1e-3,-1",
        f"run_dir={tmp_path}/sweep",
    ]
    with pytest.raises(InvalidOption, match="rate"):
        launch_sweep(words)
    assert not (tmp_path / "sweep").exists(), "nonsense stops before the first run"
    del words[-2]
    words = ["train.learner=grpo,ppo", *(w for w in words if "num_generations" not in w)]
    found = launch_sweep(words, jobs=2)
    assert [result.code for result in found] == [0] * 4
    text = capsys.readouterr().out
    assert f"superalign report --compare {found[0].folder}" in text
    assert "train.learner=ppo,seed=1" in text and "misses" in text
    with Run.open(found[3].folder, readonly=True) as run:
        (learning,) = run.info.config["train"]["learner"]
        assert (run.info.seed, learning["id"]) == (1, "ppo")


# --- codes


def test_the_exit_code_says_whether_to_try_again():
    assert (exit_code(KeyboardInterrupt()), exit_code(Terminated())) == (CTRL_C, REQUEUE)
    try:
        try:
            raise Terminated
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt("stopped") from error
    except KeyboardInterrupt as stop:
        assert exit_code(stop) == 75


def test_sigterm_saves_and_ends_with_the_code_for_requeueing(tmp_path):
    path = tmp_path / "run"
    code = "from superalign_env.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code, "train", *QUICK, f"run_dir={path}"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert any("judge done" in line for line in process.stdout)
        process.terminate()
        _, told = process.communicate()
    assert process.returncode == 75
    assert f"superalign train run_dir={path} --resume" in told
    with Run.open(path, readonly=True) as run:
        assert run.info.status == "interrupted"
        assert run.stages.all()[0].status == "done"


def test_raised_alarms_are_named_at_the_end(tmp_path):
    with Run.create(tmp_path / "run", kind="train", config={}, seed=0) as run:
        assert alarm_sentences(run) == []
        for kind in (
            "alarm.collapse",
            "gate.rolled-back",
            "alarm.refusal-jump",
            "alarm.collapse",
        ):
            run.events.add(Event(kind))
        (sentence,) = alarm_sentences(run)
    assert sentence.startswith("alarms raised: collapse (2), refusal-jump (1);")
