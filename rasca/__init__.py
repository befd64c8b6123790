"""Rasca in a notebook: presets, plan, golden model, Verilog, report (docs/library.md).

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

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy as np
    from PIL import Image
    from torch import Tensor

    from golden.config import ModelConfig
    from golden.weights import Weights
    from hw.plan import Plan

    Network = str | Path | ModelConfig

__all__ = [
    "Answer",
    "Report",
    "Waveform",
    "activation_map",
    "classify",
    "draw",
    "on_chip_bytes",
    "photograph",
    "plan",
    "preset",
    "presets",
    "report",
    "sweep",
    "verilog",
    "waveforms",
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


class Report(NamedTuple):
    """What `make report` writes; a notebook shows the page.

    content : dict, report.json.
    html : str, report.html.
    """

    content: dict[str, Any]
    html: str

    def _repr_html_(self) -> str:
        from html import escape

        # a frame of its own: neither page's style reaches the other
        return (
            f'<iframe srcdoc="{escape(self.html)}" width="100%" height="800" '
            'style="border: 0"></iframe>'
        )


class Waveform(NamedTuple):
    """Ports over some cycles; a notebook shows the drawing.

    wavedrom : dict, for WaveDrom.
    svg : str, drawn.
    """

    wavedrom: dict[str, Any]
    svg: str

    def _repr_svg_(self) -> str:
        return self.svg


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
    import torch

    from golden.classifier import threshold
    from golden.model import IntegerModel

    model = preset(network)
    pixels = _pixels(model, picture)
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


def activation_map(
    network: Network, picture: np.ndarray, *, weights: Weights | str | Path | None = None
) -> np.ndarray:
    """What in the picture speaks for the class that is looked for, and what against it.

    The class activation map of the state after each row group (Fig. 6 of the paper).

    Parameters
    ----------
    network, picture, weights : as `classify`

    Returns
    -------
    float64 array [row groups, columns of the state]
        Above 0 what speaks for it.
    """
    from golden.visualise import class_activation_map, scan_image

    model = preset(network)
    numbers = _weights(model, weights)[0]
    scan = scan_image("", _pixels(model, picture), numbers, model)
    return class_activation_map(scan.states, numbers, model.stop_index)


def draw(
    network: Network,
    picture: np.ndarray,
    *,
    weights: Weights | str | Path | None = None,
    tau: float | None = None,
    skip: float | None = None,
) -> Image.Image:
    """The picture of `make visualise`: photograph, activation map, probability down the scan.

    Parameters
    ----------
    network, picture, weights, tau, skip : as `classify`
    """
    import tempfile
    from pathlib import Path

    from PIL import Image

    from golden import visualise

    model = preset(network)
    numbers = _weights(model, weights)[0]
    pixels = _pixels(model, picture)
    scan = visualise.scan_image("picture", pixels, numbers, model, tau=tau, skip=skip)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "scan.png")
        visualise.draw(path, [scan], numbers, stop=tau, skip=skip)
        with Image.open(path) as drawn:
            return drawn.convert("RGB")


def waveforms(network: Network, shape: str | None = None) -> dict[str, Waveform]:
    """Waveforms of an engine's ports by their names, as in the datasheet of `make verilog`.

    Parameters
    ----------
    network, shape : as `plan`
    """
    from hw.kit import waves

    found = plan(network, shape)
    drawn = waves.waves(found.model.in_channels, found.rules.pixel_spacing)
    return {name: Waveform(wave, waves.svg(wave)) for name, wave in drawn.items()}


def report(
    network: Network,
    shape: str | None = None,
    *,
    clock_mhz: float | None = None,
    tech: str = "ihp130",
    fps: float | None = None,
    weights: Weights | str | Path | None = None,
) -> Report:
    """Cycles, memories, timing, energy and peers of an engine on one page, as `make report`.

    Parameters
    ----------
    network, shape : as `plan`
    clock_mhz : float or None
        Of the engine; None takes the slowest that keeps up with the sensor.
    tech : str
        A process of sim/study/technology.toml.
    fps : float or None
        Frames/s of the sensor; None: 30, or the fastest there is.
    weights : as `classify`
        For what early termination saves.

    Raises
    ------
    ValueError
        As `plan`; no such process; a clock that is too slow.
    """
    from pathlib import Path

    from rich.console import Console

    from golden.files import BUILD
    from hw.plan import EngineConfig, default_shape
    from sim.study import report as page
    from sim.study.energy import technology
    from sim.study.savings import Pictures

    model = preset(network)
    engine = EngineConfig.parse(shape or str(default_shape(model)), "loaded", sleep=True)
    study = page.study_of(model, engine, technology(tech), clock_mhz, fps)
    found, missing = page.make(
        model,
        study,
        library=None,
        pictures=Pictures.of(None),
        weights=None if weights is None else _weights(model, weights)[0],
        asic_folder=Path(BUILD, "asic"),
        console=Console(quiet=True),
    )
    return Report(found, page.page(found, study, missing, "rasca.report"))


def sweep(
    network: Network,
    shapes: Iterable[str],
    *,
    clock_mhz: float = 100.0,
    tech: str = "ihp130",
    fps: float = 0.0,
) -> list[dict[str, Any]]:
    """The cost model's figures of a network on many arrays, those of `make explore`: their clocks
    stand still while nothing is to be done.

    Parameters
    ----------
    network : as `plan`
    shapes : iterable of str
        ``pixels,channels,lanes`` each.
    clock_mhz : float
    tech : str
        A process of sim/study/technology.toml.
    fps : float
        Frames/s of the sensor; 0: as fast as it goes.

    Returns
    -------
    list of dict
        ``shape`` and the figures of docs/explore.md, in the order of the shapes.

    Raises
    ------
    ValueError
        A shape does not suit the network; no such process; a clock or a rate that cannot be.
    """
    from hw.plan import EngineConfig, compile_program
    from hw.plan.cost import cost
    from sim.study.point import Use, figures

    model = preset(network)
    use = Use(technology=tech, clock_mhz=clock_mhz, frames_per_s=fps)
    engines = [(shape, EngineConfig.parse(shape, sleep=True)) for shape in shapes]
    return [
        {"shape": shape, **figures(model, use, cost(compile_program(model, engine)))}
        for shape, engine in engines
    ]


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


def _pixels(model: ModelConfig, picture: np.ndarray) -> Tensor:
    """A picture as the network takes it, uint8 [colours, h, w]."""
    import numpy as np
    from PIL import Image

    from golden.images import stretch

    picture = np.asarray(picture)
    if (
        picture.dtype != np.uint8
        or picture.ndim not in (2, 3)
        or picture.shape[2:] not in ((), (3,))
    ):
        raise ValueError(
            f"picture must be uint8 (h, w, 3) or (h, w), not {picture.dtype} {tuple(picture.shape)}"
        )
    return stretch(Image.fromarray(picture), model)


def _weights(model: ModelConfig, weights: Weights | str | Path | None) -> tuple[Weights, bool]:
    """Weights, and whether anyone trained them."""
    from golden.quantise import default_weights, trained_weights
    from golden.weights import Weights

    if weights is None:
        found = trained_weights(model)
        return (default_weights(model), False) if found is None else (found, True)
    return (weights if isinstance(weights, Weights) else Weights.load(weights, model)), True
