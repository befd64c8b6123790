"""make storm: camera faults at the pins of whole camera paths; and that its check bites.

One build of the parallel engine's path holds all mutants of the RTL, chosen at run time: 0 is none.
"""

import inspect
import json
import sys
import textwrap
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Signal

import boards.camera.crossing
import boards.camera.dvp
import boards.camera.framer
import boards.camera.front
import hw.engine
import hw.frames
import hw.line_buffer
from golden.expected import STATUS
from sim.camera_models import CLOCK
from sim.storm import faults, judge, main, spec
from sim.storm.design import WAYS
from sim.storm.top import Top
from tests.command import invoke, refused

PARALLEL, SERIAL = "parallel, YUV", "serial, nibbles"
MUTANT = Signal(8, name="mutant")
# where a class is looked up, what it is made to do if MUTANT is so, and a fault that shows it
MUTANTS = {
    "the crossing loses a frame's end": (
        (boards.camera.front, "CameraCrossing"),
        [("frame_end.eq(ended | abort)", "frame_end.eq(ended & (MUTANT != {}) | abort)")],
        "short line",
    ),
    "the crossing counts a lost clock twice": (
        (boards.camera.front, "CameraCrossing"),
        [("lost_clock, Cat(stops))", "lost_clock, Cat(stops, stops) & Mux(MUTANT == {}, 2, 1))")],
        "clock stops",
    ),
    "the crossing goes on when the clock is lost": (
        (boards.camera.front, "CameraCrossing"),
        [("(self.lost | stalled)", "(self.lost & (MUTANT != {}) | stalled)")],
        "clock stops",
    ),
    "the framer does not begin anew after a fault": (
        (boards.camera.front, "Framer"),
        [
            ("with m.If(over):", "with m.If(over & ((MUTANT != {}) | (state != State.BAD))):"),
            ("sof.eq(valid & pixel.sof)", "sof.eq(valid & pixel.sof & (state != State.BAD))"),
        ],
        "long line",
    ),
    "the framer counts short lines as short frames": (
        (boards.camera.front, "Framer"),
        [("faults.eq(found)", "faults.eq(Mux(MUTANT == {}, found.as_value() << 2, found))")],
        "HREF drops",
    ),
    "the receiver misses a VSYNC of one PCLK": (
        (boards.camera.front, "DvpReceiver"),
        [("over.eq(between & ~before)", "over.eq(between & ~before & (vsync | (MUTANT != {})))")],
        "VSYNC rises",
    ),
    "the line buffer's columns go on over a start of frame": (
        (hw.line_buffer, "PixelPlaces"),
        [("column.eq(Mux(starting, 1,", "column.eq(Mux(starting & (MUTANT != {}), 1,")],
        "HREF drops",
    ),
    "a spoilt frame does not wait for the one before": (
        (hw.frames, "DecisionQueue"),
        [("(before == 0)", "((before == 0) | (MUTANT == {}))")],
        "HREF drops",
    ),
    "a frame that is cut is not dropped": (
        (hw.engine, "FrameControl"),
        [("drop.eq(dropping & ~tail)", "drop.eq(dropping & ~tail & (MUTANT != {}))")],
        "lines missing at the end",
    ),
}


def mutated(cls, changes):
    """A class whose text is another one in some places."""
    text = textwrap.dedent(inspect.getsource(cls))
    for old, new in changes:
        assert text.count(old) == 1, f"{cls.__name__}: {old} {text.count(old)} times"
        text = text.replace(old, new)
    names = dict(vars(sys.modules[cls.__module__]), MUTANT=MUTANT)
    exec(text, names)
    return names[cls.__name__]


@pytest.fixture(scope="module")
def parallel():
    """A way, and its build with all mutants."""
    from hw.top import Rasca

    way = replace(WAYS[PARALLEL])
    changes = {}
    for number, (place, edits, _) in enumerate(MUTANTS.values(), 1):
        changes.setdefault(place, [])
        changes[place] += [(old, new.format(number)) for old, new in edits]
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), edits in changes.items():
            patch.setattr(module, name, mutated(getattr(module, name), edits))
        chosen = [
            ('"pclk": In(1),', '"pclk": In(1), "mutant": In(8),'),
            ("m = Module()", "m = Module(); m.d.comb += MUTANT.eq(self.mutant)"),
        ]
        top = mutated(Top, chosen)(way.front, Rasca(way.model, way.shape, way.weights))
    return way, way.build(top, defines=["MUTANTS"], optimise="build")


def cases(name, kinds=faults.KINDS, first=0):
    """A case of each kind on a way."""
    place, per_kind = list(WAYS).index(name), len(WAYS)
    numbers = [first + place + per_kind * list(faults.KINDS).index(kind) for kind in kinds]
    found = [faults.case(number) for number in numbers]
    assert [one.kind for one in found] == list(kinds)
    return found


def right(verdicts):
    assert [f"{one.case}: {one.wrong}" for one in verdicts if one.wrong] == []
    assert all(one.good and one.counted == one.wanted for one in verdicts)


@pytest.mark.parametrize("stops", [False, True])
def test_parallel(parallel, stops):
    way, built = parallel
    verdicts = judge.play(way, built, cases(PARALLEL), judge.Thresholds.of(way) if stops else None)
    right(verdicts)
    assert len(verdicts) == len(faults.KINDS)
    assert sum(sum(one.counted.values()) for one in verdicts) > 30
    assert {one.moment for one in verdicts} >= {"idle", "first group", "middle group"}


def test_serial():
    way = WAYS[SERIAL]
    right(judge.play(way, way.build(optimise="build"), cases(SERIAL)))


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_found(parallel, name):
    way, built = parallel
    kind = MUTANTS[name][-1]
    number = list(MUTANTS).index(name) + 1
    own = [one for first in range(0, 1056, 88) for one in cases(PARALLEL, [kind], first)]
    verdicts = judge.play(way, built, own, plusargs=[f"+mutant={number}"])
    assert any(one.wrong for one in verdicts), name
