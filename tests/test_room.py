# amaranth: UnusedElaboratable=no
"""hw/room.py alone, against the slots that are taken, and beside the line buffer's receiver."""

import random
from collections import Counter

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from hw.interfaces import Room, Status
from hw.room import RoomControl
from tests.bench_blocks import on_amaranth
from tests.test_line_buffer import plan_of
from tests.test_line_buffer_parts import received, receiver_of


class Both(wiring.Component):
    """A receiver and what tells its source whether there is room, as in hw.engine.

    late : whether `room` comes a cycle later than it is known
    """

    def __init__(self, kind: str, late: bool = False):
        self.receiver, model, self.late = receiver_of(kind), plan_of(kind).model, late
        self.room_control = RoomControl(row_groups=model.row_groups, rows=model.rows_per_group)
        self.quiet = self.receiver.late_rows + 2
        """Cycles without a pixel until `room` speaks of the last one."""
        super().__init__({**self.receiver.signature.members, "room": Out(Room())})

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = self.receiver
        m.submodules.room_control = room = self.room_control
        for name, member in receiver.signature.members.items():
            mine, its = getattr(self, name), getattr(receiver, name)
            if member.is_signature:
                wiring.connect(m, wiring.flipped(mine), its)
            else:
                m.d.comb += its.eq(mine) if member.flow == wiring.In else mine.eq(its)
        for name in ("enable", "waiting", "receiving", "current", "busy", "rows", "released"):
            m.d.comb += getattr(room, name).eq(getattr(receiver.control, name))
        m.d[("sync" if self.late else "comb")] += [
            getattr(self.room, name).eq(getattr(room.room, name)) for name in ("row", "frame")
        ]
        return m


def roomy(kind, seed, cycles, quiet, seen):
    """Scenario: traffic of all kinds; `room` is compared with what then becomes of the pixels.

    quiet: cycles after a pixel from which on `room` speaks of it, too. seen: how often each rule
    was looked at.
    """
    bytewise = plan_of(kind).engine.parts == "serial"
    scenario = received(kind, seed, cycles)
    given, then, since, done = next(scenario), None, 0, 0
    promised = False  # the frame's first row has a place
    while True:
        out = yield given
        if then is not None:
            clean = not (then["control__fault"] or out["control__fault"])
            row, frame = out["room__row"], out["room__frame"]
            if given["starting"]:
                promised = False
                if frame and since > quiet and given["control__enable"]:
                    seen["frame"] += 1
                    assert out["control__accept"], "a frame that was promised room is not accepted"
                    promised = True
            elif given["inner"] and out["control__receiving"] and clean and not given["writing"]:
                whole = out["word_done"] or bytewise  # that its place is looked at
                # once it has counted all rows that are there
                if whole and then["control__rows"] == done and then["control__receiving"]:
                    seen["row", out["taken"]] += 1
                    assert out["taken"] == row, f"a word is taken {out['taken']}, room {row}"
                assert not (whole and promised and not out["taken"]), "no room in the first row"
                if out["row_done"]:
                    promised = False
        if out["control__fault"] and out["control__status"] == Status.OVERRUN:
            promised = False
        since = 0 if given["starting"] or given["inner"] or given["end"] else since + 1
        done = 0 if given["starting"] else done + out["row_done"]
        then = out
        try:
            given = scenario.send(out)
        except StopIteration:
            return


KINDS = [("exact", 2), ("grey", 3), ("bytes", 5)]


@pytest.mark.parametrize("kind, seed", KINDS)
def test_promises(kind, seed):
    both, seen = Both(kind), Counter()
    on_amaranth(both, roomy(kind, seed, 6000, both.quiet, seen))
    assert seen["frame"] > 3 and seen["row", 1] > 100, seen
    # the bytewise one's camera is too slow for its engine to be late in so few cycles
    assert seen["row", 0] or kind == "bytes", seen


def test_room_that_comes_late_is_seen():
    both = Both("exact", late=True)
    with pytest.raises(AssertionError, match="room"):
        on_amaranth(both, roomy("exact", 2, 6000, both.quiet, Counter()))


# ---- alone ----

GROUPS, ROWS = 3, 5


def has_place(row, needed):
    """Whether a row may be written: no row in its slot is needed any more."""
    return all(other % ROWS != row % ROWS for other in needed)


def wanted(given):
    """`room`, of what the cycle before knew, by the slots that are taken."""
    engines = range(given["released"], GROUPS * ROWS) if given["busy"] else ()
    own = range(given["rows"])
    if given["current"]:  # the engine's frame is the one that comes
        here = range(given["released"], given["rows"])
    else:
        here = [*engines, *own]
    breaks_off = given["current"] and given["receiving"]
    return {
        "row": not given["receiving"] or has_place(given["rows"], here),
        "frame": given["enable"]
        and (given["receiving"] or not given["waiting"])
        and (breaks_off or has_place(0, engines)),
    }


def alone(seed, cycles, seen, wrong=""):
    """Scenario: whatever may stand on the wires; wrong: the output that is expected otherwise."""
    source, want, before = random.Random(seed), None, {}
    for cycle in range(cycles):
        given = {
            name: source.getrandbits(1)
            for name in ("enable", "waiting", "receiving", "current", "busy")
        }
        given["current"] &= given["busy"]
        given["released"] = source.randrange(GROUPS * ROWS + 1)
        # a row that comes is no row below the last one
        given["rows"] = source.randrange(GROUPS * ROWS)
        if given["current"]:
            given["released"] = min(given["released"], given["rows"])
        elif source.getrandbits(1):
            given["rows"] = source.randrange(ROWS)
            given["released"] = GROUPS * ROWS - source.randrange(2 * ROWS)
        out = yield given
        if want is not None:
            for name, value in want.items():
                seen[name, bool(value), bool(before["busy"])] += 1
                expected = bool(value) ^ (name == wrong and cycle > cycles // 2)
                assert out[f"room__{name}"] == expected, f"{name} of {before}"
        want, before = wanted(given), given


def control():
    return RoomControl(row_groups=GROUPS, rows=ROWS)


def test_alone():
    seen = Counter()
    on_amaranth(control(), alone(1, 4000, seen))
    assert len(seen) == 8 and min(seen.values()) > 50, seen


@pytest.mark.parametrize("wrong", ["row", "frame"])
def test_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match=f"{wrong} of"):
        on_amaranth(control(), alone(1, 1000, Counter(), wrong))
