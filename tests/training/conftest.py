"""A scratch model that speaks the micro language: what training is tested on."""

import sys
from pathlib import Path

import pytest
import torch

from superalign_env.seeding import generator
from superalign_scenarios.microworld import words
from superalign_scenarios.microworld.source import MicroWorld
from superalign_training.ladder.micro_model import Size, build_config, build_tokenizer

# What tests import: modules that several of them share, and scenarios of somebody's.
sys.path += [str(Path(__file__).parent / name) for name in ("shared", "lineups")]

SCRATCH = Size(16, 1, 2, 32, steps=0, learning_rate=0.0)

FEW = {"steps": 2, "batch_size": 4}

CHAIN = {
    "generations": 2,
    "levels": ["micro/0", "micro/0@1"],
    "gap": "fixed-small",
    "train": {"learner": {"steps": 4, "batch_size": 4, "num_generations": 2}},
    "signals": {"labels": 24, "models": ["micro/0@1"]},
    "competence": {"cases": 24, "control_cases": 8, "algorithm": {"steps": 2}},
    "discover": {
        "cases": 24,
        "archive_updates": 2,
        "max_hazards": 8,
        "score_threshold": 0.9,
    },
    "conform": {
        "max_hazards": 8,
        "ordinary_cases": 12,
        "written_answers": 6,
        "algorithm": {"steps": 2},
        "replay": {"cases": 12, "imitation": {"steps": 2, "batch_size": 8}},
    },
    "gate": {
        "cases": 8,
        "request_cases": 12,
        "request_labels": 4,
        "disagreement_labels": 4,
        "deployment_cases": 12,
    },
    "capability": {
        "cases": 4,
        "requests": 10,
        "gold_tasks": 16,
        "ceiling": {"steps": 2},
        "best_of": 2,
        "test_factor": 1,
    },
}
"""What makes a small run a chain of two generations."""


ROLES = ("attacker", "learner", "critic")


def small_run(model, *, lineup=None, train=None, **more):
    """Settings of a self-play run of a few seconds, in which every stage does something.

    Of lineup and algorithms single roles are changed, everything else is replaced.
    """
    taught = {
        "attacker": FEW,
        "learner": {"steps": 2, "batch_size": 3, "num_generations": 2},
        "critic": FEW,
    }
    return {
        "lineup": {**dict.fromkeys(ROLES, str(model)), **(lineup or {})},
        "train": {**taught, **(train or {})},
        "rounds": 1,
        "budget": 0.3,
        "judge": {
            "cases": 8,
            "check_cases": 6,
            "single_answer_steps": 1,
            "temperature": 1.0,
            "max_fits": 1,
            "imitation": FEW,
        },
        "attack": {"cases": 12, "archive_updates": 2, "min_distinct": 0.0},
        "options": {"vanilla": 0.7},
        "calibrate": {"cases": 6},
        "evaluate": {
            "cases": 10,
            "attack_cases": 4,
            "fresh_queries": 6,
            "fresh_waves": 2,
            "families": ["arithmetic"],
            "family_cases": 3,
        },
        **more,
    }


@pytest.fixture(scope="session")
def small():
    """Makes settings of a small run: ``small(model, run_dir=…)``."""
    return small_run


@pytest.fixture(scope="session")
def toys():
    """The module of tasks with a known best move."""
    import toys  # noqa: PLC0415 - found by the line above

    return toys


@pytest.fixture(scope="session")
def undeclared():
    """Metrics of a run that the modules of its stages do not declare: ``undeclared(path)``."""
    from declarations import undeclared  # noqa: PLC0415

    return undeclared


@pytest.fixture(scope="session")
def scratch(once):
    """The folder of an untrained model of about ten thousand weights."""

    def make(folder):
        from transformers import LlamaForCausalLM  # noqa: PLC0415 - slow, and only for some

        tokenizer = build_tokenizer(words.VOCABULARY, words.SPECIAL_TOKENS)
        torch.manual_seed(7)
        config = build_config(
            SCRATCH,
            vocabulary=len(tokenizer),
            end=tokenizer.eos_token_id,
            pad=tokenizer.pad_token_id,
        )
        LlamaForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return once("scratch", make)


@pytest.fixture(scope="session")
def speaking(scratch, once):
    """The folder of a model that says comply or refuse, and half-sure verdicts."""
    return once("speaking", lambda folder: taught_to_speak(scratch).save(folder))


def taught_to_speak(scratch):
    from superalign_training.algorithms.sft import Sft  # noqa: PLC0415
    from superalign_training.data import Example  # noqa: PLC0415
    from superalign_training.policy import Policy  # noqa: PLC0415

    policy = Policy.from_reference(str(scratch))
    verdicts = (" score 9 sure 9", " score 0 sure 9")
    rng = generator(5)
    said = {}
    for _ in range(24):
        request = MicroWorld().draw(rng, "train").prompt
        said[f"<|user|> {request}<|end|><|learner|>"] = (" comply", " refuse")
        for answer in ("comply", "refuse"):
            judged = f"<|user|> {request}<|end|><|learner|> {answer}<|end|><|critic|>"
            said[judged] = verdicts
        said[f"<|seed|> {request}<|end|><|attacker|>"] = (f" {request}",)
    encode = policy.tokenizer
    examples = [
        Example(
            tuple(encode(prompt)["input_ids"]),
            tuple(encode(f"{reply}<|end|>")["input_ids"]),
        )
        for prompt, replies in said.items()
        for reply in replies
    ]
    Sft(steps=80, batch_size=32, learning_rate=2e-2, num_train_epochs=99).improve(
        policy, examples, seed=1
    )
    return policy


@pytest.fixture(scope="session")
def finished(speaking, once):
    """The folder of a finished run of `small` settings: self-play, one round.

    Beside it lies ``finished.txt``, what a log heard of it that is never quiet.
    """
    from superalign_training.selfplay import SelfPlay  # noqa: PLC0415
    from superalign_training.selfplay.watching import LogLines  # noqa: PLC0415

    def make(folder):
        with folder.with_suffix(".txt").open("w") as log:
            watcher = LogLines(lambda line: print(line, file=log), every=0)
            SelfPlay(watcher=watcher, **small_run(speaking, run_dir=folder)).run()

    return once("finished", make)


@pytest.fixture(scope="session")
def chain_settings():
    """What makes a small run a chain of two generations."""
    return CHAIN


@pytest.fixture(scope="session")
def finished_chain(once):
    """The folder of a finished chain: `small` settings of ``micro/0``, two generations."""
    from superalign_training.selfplay import SelfPlay  # noqa: PLC0415

    return once(
        "finished-chain",
        lambda folder: SelfPlay(**small_run("micro/0", run_dir=folder, **CHAIN)).run(),
    )
