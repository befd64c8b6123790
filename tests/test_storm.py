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
from sim.camera_models import CLOCK, HREF
from sim.storm import design, faults, judge, main, spec
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
        [("faults.r_rdy & (free != 0)", "faults.r_rdy & ((free != 0) | (MUTANT == {}))")],
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
    times = 12 if "wait" in name else 6  # that takes a fault while a decision is awaited
    own = [cases(PARALLEL, [kind], 88 * time)[0] for time in range(times)]
    verdicts = judge.play(way, built, own, plusargs=[f"+mutant={number}"])
    assert any(one.wrong for one in verdicts), name


def run_of(way, own):
    return [judge.lead(own[0]), *own, judge.rest(way, own[-1])]


@pytest.mark.parametrize("name", WAYS)
def test_the_specification_counts_what_the_page_says(name):
    """Of each kind only the counters that its line of KINDS names, which is docs/cameras.md's; and
    the last frame of each case is the good one."""
    way, met = WAYS[name], Counter()
    for first in (0, 88, 176):
        own = cases(name, first=first)
        outcome, _ = spec.outcome(way, run_of(way, own))
        for index, one in enumerate(own, 1):
            names, allowed = judge._names(outcome.counts[index]), faults.KINDS[one.kind].counted
            assert not allowed or names in [tuple(sorted(may)) for may in allowed], one
            met.update(outcome.counts[index])
            last = [frame for frame in outcome.frames if frame.case == index][-1]
            assert last.rows >= way.model.row_groups * way.model.rows_per_group
    assert set(met) >= {"lost_clock", "short_line", "long_line", "short_frame", "long_frame"}


@pytest.mark.parametrize(
    "number, kind, counted",
    [
        # the two lines are one for the receiver: too long, beside the lost clock
        (4106, "clock off while the sensor goes on", {"lost_clock": 1, "long_line": 1}),
        # VSYNC lasts a clock longer, into a first line that follows it at once
        (4383, "VSYNC rises", {"short_line": 1}),
    ],
)
def test_counts_that_are_one_in_ten_thousand(number, kind, counted):
    one = faults.case(number)
    way = faults.way_of(number)
    assert one.kind == kind
    counts = spec.outcome(way, run_of(way, [one]))[0].counts[1]
    assert counts == counted
    assert judge._names(counts) in [tuple(sorted(may)) for may in faults.KINDS[one.kind].counted]


def test_a_pause_as_long_as_the_timeout_is_not_decided():
    way = WAYS[PARALLEL]
    (one,) = cases(PARALLEL, ["clock pauses"])
    for share, lost in ((0.7, 0), (1, None), (1.3, 1)):
        still = np.full(
            round(share * way.timeout * 1e4 / one.ps), one.words[40] & ~np.uint16(CLOCK)
        )
        words = np.concatenate([one.words[:40], still, one.words[one.good :]]).astype(np.uint16)
        own = run_of(way, [replace(one, words=words)])
        if lost is None:
            with pytest.raises(spec.NearTimeoutError, match="no PCLK for 1.00 of the time-out"):
                spec.outcome(way, own)
        else:
            assert spec.outcome(way, own)[0].counts[1]["lost_clock"] == lost


def test_what_cannot_be_decided_is_drawn_anew(parallel):
    way, built = parallel
    one, other = cases(PARALLEL, ["short line", "clock pauses"])
    still = np.full(round(way.timeout * 1e4 / one.ps), one.words[40] & ~np.uint16(CLOCK))
    words = np.concatenate([one.words[:40], still, one.words[one.good :]]).astype(np.uint16)
    verdicts = judge.check(way, built, [other, replace(one, words=words), other])
    right(verdicts)
    assert [v.case.number for v in verdicts] == [other.number, one.number, other.number]
    assert [v.case.drawn for v in verdicts] == [0, 1, 0]


def test_a_good_frame_that_the_next_case_cuts_is_played_by_itself(parallel):
    """Its last pixel is still between pins and FIFO as the next one's clock stops."""
    way, built = parallel
    one, other = cases(PARALLEL, ["short line", "clock stops"])
    still = np.full(round(2 * way.timeout * 1e4 / other.ps), other.words[0] & ~np.uint16(CLOCK))
    words = np.concatenate([other.words[:1], still, other.words[other.good :]]).astype(np.uint16)
    other = replace(other, words=words, at=1, good=1 + len(still))
    pixels = ((one.words & HREF) != 0) == way.sensor.href_high
    one = replace(one, words=one.words[: np.flatnonzero(pixels)[-1] + 1 + faults.FRONT])
    together = judge.play(way, built, [one, other])
    assert [verdict.cut for verdict in together] == [True, False]
    alone = judge.check(way, built, [one, other])
    right(alone)
    assert [verdict.case.number for verdict in alone] == [one.number, other.number]


def test_kinds_ways_and_early_termination_come_in_turn():
    own = [faults.case(number) for number in range(176)]
    both = [(one.kind, faults.way_of(one.number).name, main.early(one.number)) for one in own]
    assert len(set(both)) == 176
    assert (faults.case(5).words == own[5].words).all() and faults.case(5).ps == own[5].ps
    assert [[one.number for one in group] for _, _, group in main.groups(84, 9)] == [
        [84], [88, 92], [85], [89], [86], [90], [87], [91]
    ]  # fmt: skip


@pytest.mark.parametrize("parts", ["packed", "low_power"])
def test_ways_of_another_record(parts):
    """The two parallel ways with that record's engine, else the same; every kind, twice."""
    own, plain = design.ways(parts), [WAYS[PARALLEL], WAYS["parallel, RGB, 2 x 2"]]
    assert [way.name for way in own] == [f"{parts}, YUV", f"{parts}, RGB, 2 x 2"]
    for way, other in zip(own, plain, strict=True):
        assert way.plan.latency != other.plan.latency
        assert way.plan.engine.parts == parts != other.shape.parts
        assert replace(way, name=other.name, shape=other.shape) == other
    some = [faults.case(number, parts=parts) for number in range(88)]
    both = {(one.kind, one.way.name, main.early(one.number, parts)) for one in some}
    assert len(both) == 88
    played = [one for way, _, group in main.groups(7, 60, parts) for one in group if one.way is way]
    assert sorted(one.number for one in played) == list(range(7, 67))
    before = judge.lead(some[5])
    assert before.way is some[5].way and before.number == 3
    assert main.again(verdict(some[5])) == f"make storm N=1 SEED=5 PARTS={parts}"


def verdict(one, wrong=None):
    counted = Counter(short_line=1, truncated=1)
    return judge.Verdict(
        case=one,
        moment="first group",
        counted=counted,
        wanted=counted if wrong is None else Counter(),
        frames=2,
        cycles=1000,
        good=wrong is None,
        wrong=wrong,
    )


def test_command(monkeypatch, tmp_path):
    """The table, the keys, and how a fault that came out wrong is told."""
    monkeypatch.setattr(main, "OUTPUT", tmp_path)
    monkeypatch.setattr(main.Way, "build", lambda way, optimise: None)

    def check(way, built, own, thresholds):
        return [verdict(one, "frame 3: no decision" if one.number == 90 else None) for one in own]

    monkeypatch.setattr(main.judge, "check", check)
    result = invoke("storm", "--count", 8, "--seed", 84)
    assert result.exit_code == 1, result.output
    assert "90: short line at PCLK" in result.output and "frame 3: no decision" in result.output
    assert "again: make storm N=1 SEED=90" in result.output
    assert "1 of 8 faults came out wrong" in result.stderr
    found = json.loads((tmp_path / "seed84_n8" / "storm.json").read_text())
    assert (found["injected"], found["wrong"], found["frames"], found["cycles"]) == (8, 1, 16, 8000)
    assert found["kinds"]["short line"] == {
        "injected": 4,
        "moments": {"idle": 0, "first_group": 4, "middle_group": 0, "last_group": 0},
        "counters": {"short_line": 4, "truncated": 4},
        "counted": 3,
        "next_frame_right": 3,
        "wrong": 1,
    }
    assert found["ways"][PARALLEL]["early_termination"] == 1
    assert found["differences"][0]["again"] == "make storm N=1 SEED=90"
    assert found["differences"][0]["moment"] == "first_group"
    monkeypatch.setattr(main.judge, "check", lambda way, built, own, th: [verdict(o) for o in own])
    assert invoke("storm", "--count", 8, "--seed", 84).exit_code == 0
    assert refused("storm", "--count", 0) == "rasca: --count must be at least 1, not 0"
    assert found["parts"] is None
    monkeypatch.setattr(main, "OUTPUT", tmp_path)
    assert invoke("storm", "--count", 4, "--parts", "low_power").exit_code == 0
    found = json.loads((tmp_path / "seed0_n4_low_power" / "storm.json").read_text())
    assert found["parts"] == "low_power" and list(found["ways"]) == [
        "low_power, YUV", "low_power, RGB, 2 x 2"
    ]  # fmt: skip
    line = "rasca: --parts must be parallel, packed, low_power, not serial"
    assert refused("storm", "--parts", "serial") == line


def test_a_wrong_case_does_not_spoil_those_after_it(monkeypatch):
    """The cases after it are played again, without it."""
    own, played = cases(SERIAL, list(faults.KINDS)[:4]), []

    def play(way, built, left, thresholds=None):
        played.append([one.number for one in left])
        return [verdict(one, "wrong" if one.number in (5, 9) else None) for one in left]

    monkeypatch.setattr(judge, "play", play)
    found = judge.check(WAYS[SERIAL], None, own)
    assert [one.wrong for one in found] == [None, "wrong", "wrong", None]
    assert played == [[1, 5, 9, 13], [9, 13], [13]]


def test_what_is_wrong_is_told(parallel):
    """No decision, one too many, another status, a wrong bit of a state, a count too many."""
    way, built = parallel
    own = cases(PARALLEL, ["short line", "clock pauses"])
    run = run_of(way, own)
    log = judge.simulate(way, built, run, judge.Thresholds())

    def wrong(change):
        copy = judge.Log(**{name: list(v) if isinstance(v, list) else v
                            for name, v in vars(log).items()})  # fmt: skip
        change(copy)
        return [one.wrong for one in judge.Judge(way, run, judge.Thresholds(), copy).verdicts()]

    def edit(name, at, place, value):
        def change(copy):
            entry = list(getattr(copy, name)[at])
            entry[place] = value(entry[place])
            getattr(copy, name)[at] = tuple(entry)

        return change

    assert wrong(lambda copy: None) == [None, None]
    assert "no decision" in wrong(lambda copy: copy.decisions.pop())[1]
    assert "on no frame" in wrong(lambda copy: copy.decisions.append((1 << 40, 0, 0, 3, [0, 0])))[1]
    overrun = STATUS.index("OVERRUN")
    assert "OVERRUN, not TRUNCATED" in wrong(edit("decisions", 1, 1, lambda _: overrun))[0]
    assert "wrong state" in wrong(edit("rows", -1, 3, lambda state: state ^ 1))[1]
    assert "wrong logits" in wrong(edit("rows", -1, 2, lambda logits: [logits[0] + 1, 5]))[1]
    assert "class, row groups" in wrong(edit("decisions", -1, 2, lambda index: 1 - index))[1]
    late = wrong(edit("decisions", -1, 0, lambda cycle: cycle + 9 * judge.bound(way)))[1]
    assert "cycles after it was due" in late
    count = np.eye(1, len(judge.COUNTERS), 2, dtype=int)[0]
    assert "counters rose by" in wrong(edit("marks", 2, 1, lambda counts: counts + count))[0]
    assert "busy" in wrong(lambda copy: setattr(copy, "busy", 1))[1]
    assert "could not be read" in wrong(lambda copy: copy.missed.append(7))[1]
