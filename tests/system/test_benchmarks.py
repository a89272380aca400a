"""Every benchmark runs, and ends with one line of JSON that has exactly the promised names.

No speed is checked here: a machine that runs tests is no place to measure.
"""

import importlib
import importlib.util
import json
import subprocess
import sys

import pytest

import superalign_env
from superalign_env.testing import check_env, check_scenario

NAMES = {
    "reader": (
        [],
        {
            "answers",
            "kappa",
            "accuracy",
            *(
                f"{kind}_{figure}"
                for kind in ("refusal", "compliance", "partial", "incoherent")
                for figure in ("recall", "precision")
            ),
        },
    ),
    "guards": (
        [],
        {
            f"{critic}_{figure}"
            for critic in ("keyword", "classifier")
            for figure in (
                "answers",
                "no_verdict",
                "kappa_labels",
                "kappa_reader",
                *(
                    f"recall_{asked}_{kind}"
                    for asked in ("harmful", "benign")
                    for kind in ("compliance", "refusal")
                ),
            )
        },
    ),
    "alterations": (
        [],
        {
            "alterations",
            "unnoticed",
            "tracebacks",
            "misnamed",
            "false_alarms",
            "harmful",
        },
    ),
    "env_speed": (
        ["--turns", "60", "--repeats", "1"],
        {
            "minimal_raw_over_rps_raw",
            "minimal_wrapped_over_rps_wrapped",
            "red_team_wrapped_over_rps_wrapped",
            "red_team_over_textarena_wrapped",
        },
    ),
    "decode": (
        ["--cases", "70", "--repeats", "1", "--models", "micro/0,no-such-model"],
        {
            "batch_share",
            "batch_share_attacked",
            "decode_ratio",
            "decode_ratio_micro_0",
            "game_ratio_micro_0",
            "group_ratio",
            "group_ratio_micro_0",
        },
    ),
    "engine_speed": (
        ["--episodes", "20", "--repeats", "1"],
        {
            "engine_turns_per_s",
            "engine_one_process_turns_per_s",
            "engine_over_textarena_wrapped",
        },
    ),
    "gpu": (
        ["--smoke"],
        {
            f"{name}_tiny"
            for name in (
                "rollout_tokens_per_s",
                "group_tokens_per_s",
                "generate_tokens_per_s",
                "rollout_over_generate",
                "group_over_generate",
                "rollout_share_of_bandwidth",
                "rollout_peak_gib",
                "vllm_tokens_per_s",
                "vllm_group_tokens_per_s",
                "compiled_tokens_per_s",
                "static_generate_tokens_per_s",
                "grpo_tokens_per_s",
                "grpo_share_of_matrix_limit",
                "ppo_tokens_per_s",
                "ppo_share_of_matrix_limit",
                "update_peak_gib",
                "three_whole_policies_peak_gib",
                "three_lora_policies_peak_gib",
            )
        },
    ),
    "growth": (
        ["--short", "5", "--long", "10", "--repeats", "1"],
        {"time_per_episode_ratio", "memory_ratio"},
    ),
    "logprobs": ([], {"architectures", "largest_nats", "largest_nats_bfloat16"}),
    "loop_overhead": (
        [
            "levels=[micro/0,micro/1]",
            "lineup.learner=micro/0",
            "lineup.attacker=micro/0",
            "lineup.critic=micro/0",
            "train.attacker.steps=2",
            "train.learner.steps=2",
            "train.learner.batch_size=2",
            "train.learner.num_generations=2",
            "train.critic.steps=2",
            "judge.cases=16",
            "judge.check_cases=8",
            "judge.max_fits=1",
            "judge.imitation.steps=2",
            "attack.cases=8",
            "calibrate.cases=8",
            "signals.labels=12",
            "competence.cases=24",
            "competence.control_cases=8",
            "competence.algorithm.steps=2",
            "discover.cases=12",
            "discover.max_hazards=4",
            "conform.max_hazards=4",
            "conform.ordinary_cases=4",
            "conform.written_answers=2",
            "conform.algorithm.steps=2",
            "conform.replay.cases=4",
            "conform.replay.imitation.steps=2",
            "gate.cases=6",
            "gate.request_cases=8",
            "gate.deployment_cases=8",
            "capability.cases=4",
            "capability.requests=10",
            "capability.gold_tasks=16",
            "capability.ceiling.steps=2",
            "capability.best_of=2",
            "capability.test_factor=1",
        ],
        {"overhead_share", "rules_share"},
    ),
    "record_cost": (
        ["--rounds", "1", "--slices", "1", "--episodes", "2"],
        {
            f"{part}_ratio{game}{where}"
            for game in ("", "_ids", "_echo")
            for part, where in (
                ("admission", ""),
                ("seals", ""),
                ("both", ""),
                ("admission", "_memory"),
            )
        },
    ),
    "update_overhead": (
        ["--steps", "2", "--repeats", "1", "--rung", "0", "--cases", "2"],
        {"trl_ratio", "rebuild_share"},
    ),
    "startup": ([], {"import_s", "help_s", "import_loads_torch"}),
}

PARTS = {
    "timing",
    "minimal",
    "large",
    "kuhn_poker",
    "stub",
    "finished_runs",
    "harmless",
    "killing",
    "odd_inputs",
    "tally",
    *(
        f"altered_{what}"
        for what in ("bytes", "files", "rows", "schemas", "sealed", "together", "values")
    ),
}
"""Modules beside them that benchmarks import."""

NEEDS = {"env_speed": ["pygame", "textarena"], "engine_speed": ["textarena"]}
"""Benchmark → what it needs beside [test]: the peers that it measures."""


ZERO = {"alterations": ("unnoticed", "tracebacks", "misnamed", "false_alarms", "harmful")}
"""Benchmark → figures that do not depend on the machine: nothing of the kind may happen."""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_prints_a_table_and_its_names(name, root):
    missing = [m for m in NEEDS.get(name, ()) if importlib.util.find_spec(m) is None]
    if missing:
        pytest.skip(f"needs [bench]: {', '.join(missing)}")
    arguments, promised = NAMES[name]
    done = subprocess.run(
        [sys.executable, str(root / "benchmarks" / f"{name}.py"), "--quick", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
    )
    assert done.returncode == 0, done.stderr
    *table, last = done.stdout.splitlines()
    figures = json.loads(last)
    assert set(figures) == promised
    for figure, value in figures.items():
        assert value >= (-1 if "kappa" in figure else 0), figure
    assert len(table) >= 3
    assert {figure: figures[figure] for figure in ZERO.get(name, ())} == dict.fromkeys(
        ZERO.get(name, ()), 0
    ), done.stdout


def test_every_benchmark_is_tested_here(root):
    scripts = {path.stem for path in (root / "benchmarks").glob("*.py")}
    assert scripts - PARTS == {*NAMES, "chaos", "fuzz"}


@pytest.mark.slow
def test_chaos_loses_nothing_and_every_run_comes_to_the_same(root):
    done = subprocess.run(
        [
            sys.executable,
            root / "benchmarks" / "chaos.py",
            "--kills",
            "60",
            "--mishaps",
            "2",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    refused = found.pop("refused")
    assert found == {"kills": 60, "lost": 0, "differing": 0, "broke": 0}, done.stdout
    for reason in ("RecordLocked", "RecordError", "OutOfMemory"):
        assert any(why.startswith(reason) for why in refused), refused


def test_the_minimal_scenario_is_a_proper_one(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    scenario = importlib.import_module("minimal").Minimal(4)
    check_scenario(scenario)
    check_env(superalign_env.env(scenario))
    check_env(superalign_env.parallel_env(scenario))
