"""A controller that PPO learned on the surrogate, read from a file of plain numbers."""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from superalign_env.errors import InvalidOption
from superalign_training.gap.chain_env import SHARES, SIZE, level_of, observe
from superalign_training.gap.history import check_ladder
from superalign_training.gap.sight import Sight
from superalign_training.sections import Section

SHIPPED = Path(__file__).with_name("learned.json")
"""Comes with the package; `superalign gap train` makes it again, byte for byte."""

FORMAT = "superalign-gap-1"

_Weights = NDArray[np.float64]


class Layer(NamedTuple):
    """One layer of the network."""

    weights: _Weights
    """[out, in]"""
    bias: _Weights
    """[out]"""


class Network(NamedTuple):
    """Layers with tanh between them; the last one scores actions."""

    layers: tuple[Layer, ...]

    def scores(self, seen: Sequence[float] | NDArray[Any]) -> _Weights:
        """Return the score of each action."""
        numbers = np.asarray(seen, dtype=np.float64)
        for number, layer in enumerate(self.layers):
            numbers = layer.weights @ numbers + layer.bias
            if number < len(self.layers) - 1:
                numbers = np.tanh(numbers)
        return numbers


class Learned(Section):
    """The likeliest action of a policy that Stable-Baselines3's PPO trained.

    The network is a few hundred numbers in a JSON file, and nothing in the file can run.
    What it has learned of chains it knows from a model of chains only.
    """

    id: Literal["learned"] = "learned"
    oracle: ClassVar[bool] = False
    policy: Annotated[str, Field()] = ""
    """File that ``superalign gap train --out`` wrote; empty takes the one that comes with
    the package."""

    def check(self, levels: int, generations: int) -> None:
        """Refuse a file that holds no such policy.

        Raises:
            InvalidOption: says what to change.
        """
        check_ladder(levels, generations)
        self.network()

    def choose(self, sights: Sequence[Sight], *, levels: int, generations: int) -> int:
        """Return the level to which the likeliest action leads."""
        seen = observe(sights, levels=levels, generations=generations)
        action = int(self.network().scores(seen).argmax())
        return level_of(action, sights, levels=levels)

    def network(self) -> Network:
        """Return the network in the file.

        Raises:
            InvalidOption: there is none, or it does not fit observations and actions.
        """
        return read_policy(Path(self.policy) if self.policy else SHIPPED)


@lru_cache(maxsize=8)
def read_policy(path: Path) -> Network:
    """Return the network in a file.

    Raises:
        InvalidOption: no such file, or nothing that fits observations and actions.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        layers = tuple(
            Layer(
                np.asarray(layer["weights"], dtype=np.float64),
                np.asarray(layer["bias"], dtype=np.float64),
            )
            for layer in content["layers"]
        )
        sizes = [SIZE, *(len(layer.bias) for layer in layers)]
        fits = content["format"] == FORMAT and sizes[-1] == SHARES and len(layers) > 0
        fits = fits and all(
            layer.weights.shape == (sizes[n + 1], sizes[n])
            and np.isfinite(layer.weights).all()
            and np.isfinite(layer.bias).all()
            for n, layer in enumerate(layers)
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidOption(
            f"{path} holds no learned gap controller ({error}); make one with "
            "superalign gap train --out FILE, or leave gap.policy out"
        ) from error
    if not fits:
        raise InvalidOption(
            f"{path} holds a policy for other observations or actions; train it again with "
            "superalign gap train --out FILE"
        )
    return Network(layers)


def write_policy(network: Network, facts: dict[str, Any], path: Path) -> None:
    """Write a network, rounded to six digits, and how it came about.

    Args:
        network: what `Learned` shall read.
        facts: plain values: seed, settings, results.
        path: a file, which appears whole.
    """
    lines = ",\n  ".join(
        json.dumps({"weights": _rounded(w), "bias": _rounded(b)}) for w, b in network.layers
    )
    head = json.dumps({"format": FORMAT, **facts}, indent=1)[:-2]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(f'{head},\n "layers": [\n  {lines}\n ]\n}}\n', encoding="utf-8")
    partial.replace(path)


def _rounded(values: _Weights) -> Any:
    return np.round(values, 6).tolist()
