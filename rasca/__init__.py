"""Rasca in a notebook: presets, plan, golden model and Verilog.

    >>> import rasca
    >>> plan = rasca.plan("vww_105x120", "8,1,2")
    >>> plan.cycles_per_frame, rasca.on_chip_bytes(plan)["total"]
    (640859, 37926)
    >>> answer = rasca.classify("vww_105x120", rasca.photograph())  # numpy, uint8 (h, w, 3)
    >>> answer.label in ("person", "no_person"), answer.logits.shape
    (True, (21, 2))
    >>> rasca.verilog("vww_105x120", "8,1,2").splitlines()[1]
    '// network       vww_105x120, digest ...'

Each function imports what it needs when it is called: `import rasca` takes no time, and planning
needs neither PyTorch nor Amaranth. `rasca --help` is the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from golden.config import ModelConfig
    from golden.weights import Weights
    from hw.plan import Plan

    Network = str | Path | ModelConfig

__all__ = [
    "Answer",
    "classify",
    "on_chip_bytes",
    "photograph",
    "plan",
    "preset",
    "presets",
    "verilog",
]


class Answer(NamedTuple):
    """What the integer model, and so the hardware, says of a picture.

    label : str, the name of the class.
    logits : float64 array [row groups, classes], in real units, after each row group.
    rows_used : int, row groups worked on.
    trained : bool, False where no trained weights come with the network: then it means nothing.
    """

    label: str
    logits: np.ndarray
    rows_used: int
    trained: bool


def presets() -> tuple[str, ...]:
    """The names of the networks that come with Rasca."""
    from golden.config import PRESETS

    return tuple(PRESETS)


def preset(network: Network) -> ModelConfig:
    """A network by its name or from a file (.toml, .yaml, .json), see `golden.config.preset`."""
    from golden import config

    return network if isinstance(network, config.ModelConfig) else config.preset(network)


def plan(network: Network, shape: str | None = None) -> Plan:
    """The row program of a network on an array, with everything that follows from it.

    Parameters
    ----------
    network : str, path or ModelConfig
    shape : str or None
        ``pixels,channels,lanes`` of the array; None takes the network's usual one.

    Raises
    ------
    ValueError
        The array does not suit the network, or no such network; the text says what would.
    """
    from hw.plan import EngineConfig, compile_program, default_shape

    model = preset(network)
    return compile_program(
        model, default_shape(model) if shape is None else EngineConfig.parse(shape)
    )


def on_chip_bytes(plan: Plan) -> dict[str, int]:
    """Bytes of every memory on the chip by category, and their ``total``."""
    from hw.plan.cost import on_chip_bytes

    return on_chip_bytes(plan.memories)


def photograph() -> np.ndarray:
    """A photograph of a person, uint8 (h, w, 3): scikit-image's astronaut."""
    import numpy as np
    import skimage
    from PIL import Image

    from golden.images import DEFAULT_PHOTOGRAPHS

    with Image.open(f"{skimage.__path__[0]}/data/{DEFAULT_PHOTOGRAPHS[0]}") as found:
        return np.asarray(found.convert("RGB"))


def classify(
    network: Network,
    picture: np.ndarray,
    *,
    weights: Weights | str | Path | None = None,
    tau: float | None = None,
    skip: float | None = None,
) -> Answer:
    """A picture through the integer model, which the hardware equals in every bit.

    Parameters
    ----------
    network : str, path or ModelConfig
    picture : uint8 array (h, w, 3) or (h, w)
        Of any size; it is stretched to the network's as every command does.
    weights : Weights, path or None
        None takes those that come with the network.
    tau, skip : float or None
        Probabilities of early termination.

    Raises
    ------
    ValueError
        Another type or shape of picture, or weights of another network.
    """
    import numpy as np
    import torch
    from PIL import Image

    from golden.classifier import threshold
    from golden.images import stretch
    from golden.model import IntegerModel

    model = preset(network)
    picture = np.asarray(picture)
    if (
        picture.dtype != np.uint8
        or picture.ndim not in (2, 3)
        or picture.shape[2:] not in ((), (3,))
    ):
        raise ValueError(
            f"picture must be uint8 (h, w, 3) or (h, w), not {picture.dtype} {tuple(picture.shape)}"
        )
    pixels = stretch(Image.fromarray(picture), model)
    numbers, trained = _weights(model, weights)
    scale = numbers.scales["logit"]
    result = IntegerModel(model, numbers).run(
        torch.stack([pixels]),
        stop_threshold=None if tau is None else threshold(tau, scale, up=True),
        skip_threshold=None if skip is None else threshold(skip, scale, up=False),
    )
    return Answer(
        label=model.classes[int(result.decision[0])],
        logits=result.logits[0].double().numpy() * scale,
        rows_used=int(result.rows_used[0]),
        trained=trained,
    )


def verilog(
    network: Network, shape: str | None = None, *, weights: Weights | str | Path | None = None
) -> str:
    """Plain Verilog of an engine with its weights, the same text every time.

    Parameters
    ----------
    network, shape : as `plan`
    weights : as `classify`
    """
    from hw.generate import to_verilog
    from hw.plan import EngineConfig, default_shape
    from hw.top import Rasca

    model = preset(network)
    engine = default_shape(model) if shape is None else EngineConfig.parse(shape)
    return to_verilog(Rasca(model, engine, _weights(model, weights)[0]))


def _weights(model: ModelConfig, weights: Weights | str | Path | None) -> tuple[Weights, bool]:
    """Weights, and whether anyone trained them."""
    from golden.quantise import default_weights, trained_weights
    from golden.weights import Weights

    if weights is None:
        found = trained_weights(model)
        return (default_weights(model), False) if found is None else (found, True)
    return (weights if isinstance(weights, Weights) else Weights.load(weights, model)), True
