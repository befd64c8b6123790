"""hw/parts.py: a third record of parts, with another latency, without touching their users."""

from dataclasses import replace

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring

from golden.config import ModelConfig
from golden.model import IntegerModel
from golden.random_weights import random_weights
from hw import parts
from hw.generate import to_verilog
from hw.parallel.parts import Back
from hw.path import join
from hw.plan import compile_program, latency
from hw.plan import parts as plan_parts
from hw.plan.engine_config import EngineConfig
from hw.plan.latency import PARALLEL
from hw.top import Rasca
from sim import camera, counters, fuzz, session
from hw.plan.cost import cost

MODEL = ModelConfig(
    name="late",
    image_height=10,
    image_width=34,
    heads=2,
    head_channels=(3, 4, 5, 2),
    state_channels=6,
)
LATE = replace(PARALLEL, write=PARALLEL.write + 1)


class LateBack(Back):
    """A way back whose words are written a cycle later."""

    def elaborate(self, platform):
        m = Module()
        assert self.latency.write == PARALLEL.write + 1
        inner = m.submodules.inner = Back(self.plan, self.given, self.constants)
        own = wiring.flipped(self)
        wiring.connect(m, own.sums, inner.sums)
        wiring.connect(m, own.load, inner.load)
        wiring.connect(m, inner.pool, own.pool)
        join(m, inner.maps, self.maps)
        return m
