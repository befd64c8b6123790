"""The list of memories, on which the byte budget rests, is what the design elaborates to."""

import re

import pytest

from golden.config import PRESETS
from golden.random_weights import random_weights
from hw.generate import to_verilog
from hw.plan.engine_config import EngineConfig
from hw.top import Rasca


def elaborated_bits(text: str) -> int:
    """Bits of all memories in a Verilog text but hw/loader.py's flag, a memory of one bit."""
    return sum(
        (int(high) + 1 if high else 1) * (int(last) + 1)
        for high, last in re.findall(r"^ *reg (?:\[(\d+):0\] )?\S+ +\[(\d+):0\];", text, flags=re.M)
        if (high, last) != ("0", "0")
    )


@pytest.mark.parametrize(
    "preset, shape", [("vww_105x120", "8,1,2"), ("vww_105x120_banded", "8,1,2")]
)
def test_listed_memories_are_the_elaborated_ones(preset, shape):
    model = PRESETS[preset]
    design = Rasca(model, EngineConfig.parse(shape), random_weights(model, 1))
    listed = sum(m.count * m.words * m.bits for m in design.plan.memories)
    assert elaborated_bits(to_verilog(design)) == listed
