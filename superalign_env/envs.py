"""Constructors of environments by id, and their entries in Farama's registries."""

from typing import Any

import gymnasium

from superalign_env import registry
from superalign_env.aec import OrderedEnv, RawAECEnv
from superalign_env.asking import TIMEOUT
from superalign_env.game import OnInvalid
from superalign_env.lookup import make_scenario
from superalign_env.one_seat import OneSeatEnv
from superalign_env.parallel import SimultaneousEnv
from superalign_env.protocols import Scenario


def raw_env(
    scenario: str | Scenario[Any],
    *,
    seed: int = 0,
    on_invalid: OnInvalid = "raise",
    render_mode: str | None = None,
    **options: Any,
) -> RawAECEnv:
    """Return the AEC environment without order checks. See `env`."""
    return RawAECEnv(
        make_scenario(scenario, **options),
        seed=seed,
        on_invalid=on_invalid,
        render_mode=render_mode,
    )


def env(
    scenario: str | Scenario[Any],
    *,
    seed: int = 0,
    on_invalid: OnInvalid = "raise",
    render_mode: str | None = None,
    **options: Any,
) -> OrderedEnv:
    """Return the AEC environment of a scenario.

    Args:
        scenario: an id in any spelling, or a scenario.
        seed: the run's seed until ``reset(seed=…)``.
        on_invalid: ``raise``, or ``penalise``: repair, record and pay a penalty.
        render_mode: ``ansi`` or ``human``.
        **options: of the scenario.
    """
    return OrderedEnv(
        raw_env(
            scenario, seed=seed, on_invalid=on_invalid, render_mode=render_mode, **options
        )
    )


def parallel_env(
    scenario: str | Scenario[Any],
    *,
    seed: int = 0,
    on_invalid: OnInvalid = "raise",
    render_mode: str | None = None,
    **options: Any,
) -> SimultaneousEnv:
    """Return the Parallel environment of a scenario. See `env`."""
    return SimultaneousEnv(
        make_scenario(scenario, **options),
        seed=seed,
        on_invalid=on_invalid,
        render_mode=render_mode,
    )


def one_seat_env(
    scenario: str | Scenario[Any],
    *,
    seat: str,
    others: dict[str, Any] | None = None,
    seed: int = 0,
    on_invalid: OnInvalid = "raise",
    render_mode: str | None = None,
    timeout: float | None = TIMEOUT,
    **options: Any,
) -> OneSeatEnv:
    """Return the Gymnasium environment of one seat; agents play the others."""
    return OneSeatEnv(
        make_scenario(scenario, **options),
        seat=seat,
        others=others,
        seed=seed,
        on_invalid=on_invalid,
        render_mode=render_mode,
        timeout=timeout,
    )


def scenarios() -> dict[str, str]:
    """Return versioned id → one line, of every scenario."""
    register_everywhere()
    return {name: entry.line for name, entry in registry.entries("scenario").items()}


def agents() -> dict[str, str]:
    """Return id → one line, of every registered agent."""
    return {name: entry.line for name, entry in registry.entries("agent").items()}


class ScenarioModule:
    """Constructors of one scenario as attributes: ``red_team_v0.env()``, as in PettingZoo."""

    def __init__(self, versioned: str) -> None:
        self._id = versioned

    def env(self, **options: Any) -> OrderedEnv:
        """Return the AEC environment."""
        return env(self._id, **options)

    def raw_env(self, **options: Any) -> RawAECEnv:
        """Return the AEC environment without order checks."""
        return raw_env(self._id, **options)

    def parallel_env(self, **options: Any) -> SimultaneousEnv:
        """Return the Parallel environment."""
        return parallel_env(self._id, **options)

    def __repr__(self) -> str:
        return f"<{self._id}: env, raw_env, parallel_env>"


def register_everywhere() -> None:
    """Register every scenario with Gymnasium and, where it has a registry, PettingZoo."""
    for versioned in registry.entries("scenario"):
        gym_id = registry.spell(versioned).gymnasium
        if gym_id not in gymnasium.registry:
            gymnasium.register(
                gym_id,
                entry_point="superalign_env.envs:one_seat_env",
                kwargs={"scenario": versioned},
                disable_env_checker=True,
            )
        _register_with_pettingzoo(gym_id, versioned)


def _register_with_pettingzoo(gym_id: str, versioned: str) -> None:
    try:
        from pettingzoo.env_registry import registration  # noqa: PLC0415 - new in 1.27
    except ImportError:
        return
    options = {"scenario": versioned}
    if gym_id not in registration.aec_registry:
        registration.register("aec", gym_id, env, kwargs=options)
    if gym_id not in registration.parallel_registry:
        registration.register("parallel", gym_id, parallel_env, kwargs=options)
