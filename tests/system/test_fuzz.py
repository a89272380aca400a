"""Odd inputs of every kind: what was found once is tried ever after, and some new ones.

The inputs are those of benchmarks/fuzz.py. What it finds (``--keep tests/system/corpus``) is
kept here.
"""

import importlib
import json
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

CORPUS = Path(__file__).parent / "corpus"
NAMES = ["reply", "call", "action", "verdict", "endpoint", "rows", "override"]


@pytest.fixture(scope="module")
def benchmarks(root):
    sys.path.insert(0, str(root / "benchmarks"))
    yield
    sys.path.remove(str(root / "benchmarks"))


@pytest.fixture(scope="module")
def kinds(benchmarks):
    return importlib.import_module("odd_inputs").KINDS


def test_every_kind_has_a_corpus(kinds):
    assert sorted(kinds) == sorted(NAMES) == sorted(path.stem for path in CORPUS.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_what_was_found_once_breaks_nothing(kinds, name):
    broken = []
    for value in json.loads((CORPUS / f"{name}.json").read_text()):
        try:
            kinds[name].attempt(value)
        except Exception as error:  # all of them are told
            broken.append((value, error))
    assert broken == []


@pytest.mark.parametrize("name", NAMES)
def test_new_inputs_break_nothing(kinds, name):
    kind = kinds[name]

    @settings(
        max_examples=max(3, 60 // kind.cost),
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(kind.inputs)
    def check_attempts(value):
        kind.attempt(value)

    check_attempts()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_many_inputs_break_nothing_and_take_bounded_time_and_memory(
    benchmarks, kinds, name
):
    fuzz = importlib.import_module("fuzz")
    outcome = fuzz.run(name, 10_000 // kinds[name].cost, 1)
    assert (outcome.crashes, outcome.hangs) == ([], []) and outcome.inputs > 100
    assert outcome.peak_mib < 2048


@pytest.mark.slow
def test_the_benchmark_prints_a_table_and_its_names(benchmarks, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["fuzz.py", "--quick", "--inputs", "40"])
    importlib.import_module("fuzz").main()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {*figures} == {"inputs", "crashes", "hangs", "peak_memory_mb"}
    assert {*figures["inputs"]} >= {*NAMES} and figures["crashes"] == figures["hangs"] == 0
