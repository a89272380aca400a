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


@pytest.fixture(scope="session")
def small():
    """Makes settings of a small run: ``small(model, run_dir=…)``."""
    from small_runs import small_run  # noqa: PLC0415

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
def finished(speaking, small, once):
    """The folder of a finished run of `small` settings: self-play, one round.

    Beside it lies ``finished.txt``, what a log heard of it that is never quiet.
    """
    from superalign_training.selfplay import SelfPlay  # noqa: PLC0415
    from superalign_training.selfplay.watching import LogLines  # noqa: PLC0415

    def make(folder):
        with folder.with_suffix(".txt").open("w") as log:
            watcher = LogLines(lambda line: print(line, file=log), every=0)
            SelfPlay(watcher=watcher, **small(speaking, run_dir=folder)).run()

    return once("finished", make)


@pytest.fixture(scope="session")
def chain_settings():
    """What makes a small run a chain of two generations."""
    from small_runs import CHAIN  # noqa: PLC0415

    return CHAIN


@pytest.fixture(scope="session")
def finished_chain(small, chain_settings, once):
    """The folder of a finished chain: `small` settings of ``micro/0``, two generations."""
    from superalign_training.selfplay import SelfPlay  # noqa: PLC0415

    return once(
        "finished-chain",
        lambda folder: SelfPlay(**small("micro/0", run_dir=folder, **chain_settings)).run(),
    )


@pytest.fixture(scope="session")
def earned(speaking, once):
    """The folder of two rounds in which every role earns, with lessons and a league."""
    from small_runs import all_earn  # noqa: PLC0415

    from superalign_training.selfplay import SelfPlay  # noqa: PLC0415

    few = {"steps": 2, "batch_size": 4}
    lessons = {
        **{"cases": 8, "num_generations": 2, "min_score": 0.0, "balanced": False},
        "algorithm": {"id": "sft", **few},
        "replay": {"cases": 4, "num_generations": 2, "imitation": few},
    }
    more = {"league": {"share": 0.5, "cases": 4}, "supervise": lessons}
    return once("earned", lambda path: SelfPlay(**all_earn(speaking, path, **more)).run())
