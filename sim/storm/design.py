"""What a storm goes over: a camera's whole path in front of a tiny engine, some kinds of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from boards.camera.crossing import COUNTERS as FRONT_COUNTERS
from boards.camera.front import CameraFront
from boards.camera.sensor import Sensor
from golden.config import ModelConfig
from golden.weights import Weights
from hw.plan import Plan, compile_program
from hw.plan.engine_config import EngineConfig
from sim import cell_models, fuzz, runner

BENCH = Path(__file__).resolve().parent.parent / "storm_tb.sv"
SYNC_PS = 10_000
"""Period of the engine's clock; only its ratio to PCLK matters."""
ENGINE_COUNTERS = ("dropped", "overrun", "truncated", "line", "restart")
COUNTERS = (*FRONT_COUNTERS, *ENGINE_COUNTERS)
"""All counters, in the order in which the bench writes them."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """A sensor, the way from its pins, and an engine behind.

    name : str
    model, shape, sensor : of the network, its array, the camera
    binning : {1, 2}
    depth : int, words of the crossing's FIFO
    """

    name: str
    model: ModelConfig
    shape: EngineConfig
    sensor: Sensor
    binning: int = 1
    depth: int = 16

    @cached_property
    def plan(self) -> Plan:
        return compile_program(self.model, self.shape)

    @cached_property
    def weights(self) -> Weights:
        case = fuzz.Case(seed=1, model=self.model, shape=self.shape, cameras="", extreme=False)
        return fuzz.weights_of(case)

    @property
    def spacing(self) -> int:
        """Cycles from pixel to pixel, as boards.system has it."""
        return self.plan.rules.pixel_spacing

    @property
    def latency(self) -> int:
        """PCLK edges from a pixel's last byte on the pins to its place in the crossing's FIFO."""
        return self.front.receiver.latency + self.front.framer.latency

    @property
    def timeout(self) -> int:
        """Cycles without a clock that are a loss of it: short, but twice as much is longer than all
        that a good frame leaves out."""
        return 4 * self.plan.camera_period

    @cached_property
    def front(self) -> CameraFront:
        model = self.model
        return CameraFront(
            sensor=self.sensor,
            height=model.image_height,
            width=model.image_width,
            binning=self.binning,
            channels=model.in_channels,
            timeout=self.timeout,
            depth=self.depth,
            spacing=self.spacing,
        )

    def top(self) -> Any:
        """The design: pins to decisions."""
        from hw.top import Rasca
        from sim.storm.top import Top

        return Top(self.front, Rasca(self.model, self.shape, self.weights))

    def build(
        self, top: Any = None, defines: Sequence[str] = (), optimise: str = "run"
    ) -> runner.Build:
        """The design compiled with its bench. top: instead of the one made here."""
        top = self.top() if top is None else top
        model = self.model
        models, includes = cell_models.of_array(self.shape.cells)
        return runner.build(
            runner.verilog(top, "storm"),
            top="storm_tb",
            sources=[*models, BENCH],
            parameters={
                "PIXELS": self.shape.pixels,
                "CHANNELS": model.state_channels,
                "WORDS": -(-model.n // self.shape.pixels),
                "SYNC_PS": SYNC_PS,
            },
            # the bench makes both clocks: delays need C++'s coroutines
            flags=["--timing", "-CFLAGS", "-std=gnu++20 -fcoroutines", *includes],
            optimise=optimise,
            defines=dict.fromkeys(defines, 1),
            public=False,
        )


def _model(
    name: str, height: int, width: int, channels: int, heads: int = 1, hidden: int = 2
) -> ModelConfig:
    return ModelConfig(
        name=f"storm_{name}",
        image_height=height,
        image_width=width,
        heads=heads,
        head_channels=(1, 1, 1, 2),
        state_channels=4,
        attention_hidden=1,
        classifier_hidden=hidden,
        spatial_attention="none",
        channel_attention=heads == 1,
        in_channels=channels,
    )


def _shape(text: str, parts: str = "parallel") -> EngineConfig:
    pixels, channels, lanes = map(int, text.split(","))
    return EngineConfig(pixels=pixels, channels=channels, lanes=lanes, parts=parts)


_OV7670 = {"clock_hz": 1, "line_clocks": 1000, "vsync_clocks": 1, "front_clocks": 0}
_HM01B0 = {"data_bits": 4, "msb_first": False, "vsync_high": False}


def _sensor(name: str, height: int, width: int, pixel_format: str, **others: Any) -> Sensor:
    sizes = {"height": height, "width": width, "pixel_format": pixel_format}
    return Sensor(name=name, back_clocks=0, **sizes, **(_OV7670 | others))


WAYS = {
    way.name: way
    for way in (
        Way(
            name="parallel, YUV",
            model=_model("yuv", 15, 17, 3, hidden=10),
            shape=_shape("5,2,2"),
            sensor=_sensor("yuyv", 16, 20, "yuyv"),
        ),
        Way(
            name="serial, nibbles",
            model=_model("nibbles", 15, 20, 1, heads=2),
            shape=_shape("4,1,2", "serial"),
            sensor=_sensor("nibbles", 16, 22, "grey8", **_HM01B0),
        ),
        Way(
            name="parallel, RGB, 2 x 2",
            model=_model("rgb", 17, 16, 3),
            shape=_shape("8,1,2"),
            sensor=_sensor("rgb565", 36, 34, "rgb565"),
            binning=2,
        ),
        Way(
            name="serial, YUV",
            model=_model("colour", 10, 18, 3, heads=2, hidden=8),
            shape=_shape("8,1,2", "serial"),
            # the part is the whole picture
            sensor=_sensor("uyvy", 10, 18, "uyvy", href_high=False),
        ),
    )
}
"""Sensors as the boards have them (OV7670's and HM01B0's ways), each engine twice."""
RECORDS = {"parallel": "generic", "packed": "ecp5", "low_power": "generic"}
"""Records of parts that the parallel ways can have, and the cells with which they do."""


@cache
def ways(parts: str | None = None) -> list[Way]:
    """All ways, or the parallel ones with another record of parts, of RECORDS."""
    if parts is None:
        return list(WAYS.values())
    return [
        replace(
            way,
            name=f"{parts}, {way.name.partition(', ')[2]}",
            shape=replace(way.shape, parts=parts, cells=RECORDS[parts]),
        )
        for way in WAYS.values()
        if way.shape.parts == "parallel"
    ]
