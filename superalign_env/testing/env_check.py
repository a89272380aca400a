"""Check of an environment by PettingZoo's and Gymnasium's tests and ours."""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
from gymnasium.utils.env_checker import check_env as check_gymnasium_env
from pettingzoo import AECEnv, ParallelEnv

from superalign_env.envs import env as make_env
from superalign_env.envs import parallel_env
from superalign_env.errors import NotReproducible, ProtocolError
from superalign_env.lookup import make_scenario
from superalign_env.protocols import Scenario
from superalign_env.seeding import mix
from superalign_env.testing.scenario_check import check_scenario

AnyEnv = AECEnv[Any, Any, Any] | ParallelEnv[Any, Any, Any] | gymnasium.Env[Any, Any]

_MOST_STEPS = 2_000
_OF_RULES = ("to_move", "apply", "view")
"""Whoever has one of these is on the way to a scenario."""


def check_env(
    env: str | Scenario[Any] | AnyEnv,
    *,
    episodes: int = 5,
    blind: bool = True,
    **options: Any,
) -> None:
    """Check an environment: PettingZoo's or Gymnasium's own tests, then whole episodes twice.

    PettingZoo's `seed_test` looks at one step of a parallel environment; here whole
    episodes are played twice from one seed, and must agree in everything.

    Args:
        env: a scenario or its id (then the scenario, its AEC and its Parallel environment are
            checked), or an environment of any of the three kinds.
        episodes: how many are played twice.
        blind: whether a scenario must hide the truth, see `check_scenario`.
        **options: of the scenario, with an id.

    Raises:
        ProtocolError: what a checker says.
        NotReproducible: the same seed gave another episode.
    """
    if not isinstance(env, (AECEnv, ParallelEnv, gymnasium.Env)):
        _check_rules(env, episodes, blind, options)
        return
    if options:
        raise ProtocolError(f"the environment is made already; {sorted(options)} come late")
    trace: Callable[[Any, list[Any]], Iterator[Any]]
    if isinstance(env, AECEnv):
        # Their package takes half a second to import, and only checks need it.
        from pettingzoo.test.api_test import api_test  # noqa: PLC0415

        _quietly(api_test, env, num_cycles=200)
        trace = _aec_trace
    elif isinstance(env, ParallelEnv):
        from pettingzoo.test.parallel_test import parallel_api_test  # noqa: PLC0415 - see above

        _quietly(parallel_api_test, env, num_cycles=200)
        trace = _parallel_trace
    else:
        _quietly(check_gymnasium_env, env.unwrapped, skip_render_check=True)
        trace = _gymnasium_trace
    for seed in range(episodes):
        _compare(_played(env, trace, seed), _played(env, trace, seed))


def _check_rules(
    rules: str | Scenario[Any], episodes: int, blind: bool, options: dict[str, Any]
) -> None:
    """Check a scenario, or one that an id names, and the two environments made of it."""
    if not isinstance(rules, str) and not any(hasattr(rules, name) for name in _OF_RULES):
        raise ProtocolError(
            "check_env takes the id of a scenario, a scenario, or an environment (an AECEnv, a "
            f"ParallelEnv, a gymnasium.Env), not {rules!r}"
        )
    scenario = make_scenario(rules, **options)
    check_scenario(scenario, blind=blind)
    check_env(make_env(scenario), episodes=episodes)
    check_env(parallel_env(scenario), episodes=episodes)


def _quietly(check: Callable[..., Any], env: Any, **options: Any) -> None:
    """Run a foreign checker; what it prints is dropped, what it finds becomes an error."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(env, **options)
    except Exception as error:  # their checkers assert, and raise whatever comes
        raise ProtocolError(f"{check.__name__}: {type(error).__name__}: {error}") from error


def _compare(first: list[Any], second: list[Any]) -> None:
    for step, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            raise NotReproducible(
                f"the same seed and actions gave another step {step}: {one!r} became {other!r}"
            )
    if len(first) != len(second):
        raise NotReproducible(
            f"the same seed and actions gave {len(first)} steps, then {len(second)}"
        )


def _played(
    env: Any, trace: Callable[[Any, list[Any]], Iterator[Any]], seed: int
) -> list[Any]:
    """Return everything that one seeded episode shows, and the next one without a seed."""
    steps: list[Any] = []
    actions: list[Any] = []
    try:
        for first in ({"seed": seed}, {}):
            steps.append(env.reset(**first))
            steps.extend(trace(env, actions))
    except Exception as error:  # environments raise whatever comes
        after = f" after the action {actions[-1]!r:.200}" if actions else ""
        raise ProtocolError(
            f"an episode of seed {seed} raised {type(error).__name__}: {error}{after} (action "
            f"{len(actions)}); an environment must bear everything in its action spaces"
        ) from error
    return steps


def _action(space: Any, seed: int, actions: list[Any]) -> Any:
    space.seed(seed & 0x7FFFFFFF)
    actions.append(space.sample())
    return actions[-1]


def _aec_trace(env: Any, actions: list[Any]) -> Iterator[Any]:
    for step, seat in enumerate(env.agent_iter(_MOST_STEPS)):
        observation, reward, terminated, truncated, info = env.last()
        yield seat, observation, reward, terminated, truncated, dict(info)
        over = terminated or truncated
        env.step(None if over else _action(env.action_space(seat), mix(1, step), actions))


def _parallel_trace(env: Any, actions: list[Any]) -> Iterator[Any]:
    for step in range(_MOST_STEPS):
        if not env.agents:
            return
        yield env.step(
            {
                seat: _action(env.action_space(seat), mix(1, step, place), actions)
                for place, seat in enumerate(env.agents)
            }
        )


def _gymnasium_trace(env: Any, actions: list[Any]) -> Iterator[Any]:
    for step in range(_MOST_STEPS):
        outcome = env.step(_action(env.action_space, mix(1, step), actions))
        yield outcome
        if outcome[2] or outcome[3]:
            return
