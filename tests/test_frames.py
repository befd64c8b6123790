# amaranth: UnusedElaboratable=no
"""hw/frames.py: every accepted frame has its one decision, in order, whatever comes together."""

import random
from collections import Counter, deque

import pytest

from hw.frames import CameraRows, DecisionQueue, FrameControl
from hw.interfaces import Status
from hw.plan.memory import UNDECIDED
from sim.prove import mutants
from tests.bench_blocks import broken_off, on_amaranth

FAULTS = (Status.OVERRUN, Status.TRUNCATED, Status.LINE)
BEGIN = ("begin", "begin wrong")
"""A frame's first pixel, and one that goes wrong itself."""
SHAPES = {  # the paper's; others
    "five": {"row_groups": 4, "rows": 5, "needs": (3, 4, 5), "classes": 2, "stop_class": 1},
    "seven": {"row_groups": 3, "rows": 7, "needs": (3, 5, 6, 7), "classes": 3, "stop_class": 0},
    "three": {"row_groups": 2, "rows": 3, "needs": (3,), "classes": 5, "stop_class": 4},
    "one group": {"row_groups": 1, "rows": 5, "needs": (3, 4, 5), "classes": 2, "stop_class": 1},
}


class Lines:
    """The line buffer's frames, as LineControl tells them; `step` does what the camera does."""

    def __init__(self, total):
        self.total, self.rows = total, 0
        self.receiving = self.waiting = self.current = False
        self.fault = None  # (status, the engine's), told in this cycle
        self.owed = []  # ... and after it
        self.frame = self.accepted = -1  # numbers: the frame being received or waiting

    def accepts(self, event, enable):
        return event in BEGIN and enable and (not self.waiting or self.receiving)

    def inputs(self, event, enable):
        status, current = self.fault or (Status.OK, False)
        return {
            "lines__accept": self.accepts(event, enable),
            "lines__waiting": self.waiting,
            "lines__receiving": self.receiving,
            "lines__current": self.current,
            "lines__rows": self.rows,
            "lines__fault": self.fault is not None,
            "lines__status": int(status),
            "lines__fault_current": current,
        }

    def step(self, event, out):
        """To the next cycle; returns (status, frame) of each frame that goes wrong."""
        engines = bool(self.current or out["lines__take"])
        was_current, frame = self.current, self.frame
        accept = self.accepts(event, out["lines__enable"])
        wrong = []
        if out["lines__done"]:
            self.current = False
        if out["lines__take"]:
            self.waiting, self.current = False, True
        if event in BEGIN:
            if self.receiving:
                wrong.append((Status.RESTART, frame))
                if not was_current:
                    self.waiting = False
            self.receiving = accept
            if accept:
                self.accepted += 1
                self.frame, self.rows = self.accepted, 0
                self.waiting, self.current = True, False
                if event == "begin wrong":
                    wrong.append((Status.LINE, self.frame))
                    self.waiting = self.receiving = False
        elif event == "row" and self.receiving:
            self.rows += 1
            self.receiving = self.rows < self.total
        elif event in FAULTS and self.receiving:
            wrong, self.receiving = [(event, frame)], False
            if not was_current:
                self.waiting = False
        if out["lines__stop"] and was_current and event not in BEGIN:
            self.receiving = False
        self.owed += [(status, engines and number == frame) for status, number in wrong]
        self.fault = self.owed.pop(0) if self.owed else None
        return wrong


def frames(kind, seed, cycles=6000, wrong=""):
    """Scenario: camera, sequencer, store and classifier by chance; what is told is worked out here.

    wrong: "index", "order" or "rows" is expected otherwise. Returns what has come together.
    """
    shape, source = SHAPES[kind], random.Random(seed)
    groups, k, needs = shape["row_groups"], shape["rows"], shape["needs"]
    classes, stop_class = shape["classes"], shape["stop_class"]
    lines, met = Lines(groups * k), Counter()
    expected: dict[int, tuple] = {}  # frame -> its decision
    told = 0  # decisions that have come
    engine = None  # number of the frame that the sequencer is on
    group = used = released = group_released = 0
    walk, begun = None, False  # cycles of the group under way, and it has taken its first step
    warm = 5  # cycles until the sequencer may begin
    ended = None  # (frame, group, used) whose answer comes next
    last_ended = False  # the group that ended last was a frame's last one
    drain = answer_in = None  # cycles until its state is done, until the answer
    dropping = starts = reset = False
    loaded, load, quiet, enable = True, 0, False, False
    flags = [False] * len(needs)
    ahead: deque = deque([None, None])  # rows of the group that are there, one and two cycles ago
    for cycle in range(cycles):
        where = f"{kind}, cycle {cycle}"
        # ---- what comes in
        undecided = lines.accepted + 1 - told
        chances = [6, 0.3 if lines.receiving else 2, 6, 3 if answer_in in (0, 1) else 0.15]
        if cycle % 600 < 90:  # one after the other
            chances = [3, 3, 3, 6]
        events = ["", source.choice(BEGIN[:1] * 4 + BEGIN[1:]), "row", source.choice(FAULTS)]
        event = source.choices(events, chances)[0]
        noise = reset and source.random() < 0.5  # ignored
        logits = [source.randrange(-9, 9) for _ in range(classes)]
        index = logits.index(max(logits))
        answered, state_done = answer_in == 0, drain == 0
        stop, skip = source.random() < 0.15, source.random() < 0.25
        begins = ends = False
        release = None
        if not reset and walk is not None:
            begins = not begun and walk >= 3 and flags[0]
            ends = begun and ended is None and flags[-1] and source.random() < 0.3
            if ends or (begun and source.random() < 0.1):
                release = group_released = k if ends else source.randint(group_released, k)
        inputs = lines.inputs(event, enable) | {
            "walks__group_first": begins or noise,
            "walks__group_done": ends or noise,
            "walks__release": release is not None or noise,
            "walks__released": release or 0,
            "state_done": state_done or noise,
            "loaded": loaded,
            "loading": load > 0,
            "answer__valid": answered,
            "answer__index": index,
            "answer__stop": stop,
            "answer__skip": skip,
        }
        inputs |= {f"answer__logits__{i}": logit for i, logit in enumerate(logits)}
        out = yield inputs

        # ---- what has to come out
        last = ended is not None and ended[1] == groups - 1
        drop = dropping and drain is None
        stops = answered and stop and not last and not dropping
        skips = answered and skip and not stop and not last and not dropping
        over = skips and ended[1] == groups - 2
        finished = ends and not drop
        busy = engine is not None or ended is not None or lines.receiving or lines.waiting
        told_now = {
            "reset": reset,
            "start": starts,
            "first_group": group == 0,
            "frame_start": begins and group == 0,
            "lines__enable": enable,
            "lines__busy": engine is not None and not dropping,
            "lines__take": lines.waiting and engine is None,
            "lines__stop": stops or over,
            "lines__done": drop or (finished and group == groups - 1),
            "forget": drop and not last_ended,
            "row__valid": answered,
            "busy": busy,
            "idle": quiet,
        }
        for name, value in told_now.items():
            assert out[name] == value, (
                f"{where}: {name} {out[name]}; {engine=} {group=} {ended=} {drop=} {stops=}"
            )
        quiet = not busy and not out["lines__enable"] and load > 0
        if answered:
            assert out["row__group"] == ended[1], f"{where}: row group"
            assert [out[f"row__logits__{i}"] for i in range(classes)] == logits, where
        if engine is not None:
            assert out["lines__released"] == released, f"{where}: released"
        flags = [bool(out["walks__rows"] >> i & 1) for i in range(len(needs))]
        if ahead[0] is not None:
            right = [ahead[0] >= need for need in needs]
            if wrong == "rows" and cycle > cycles // 2:
                right[0] = not right[0]
            assert flags == right, f"{where}: rows {flags}, not {right}"
        if out["decision__valid"]:
            decision = (
                Status(out["decision__status"]),
                out["decision__index"],
                [out[f"decision__logits__{i}"] for i in range(classes)],
                out["decision__rows_used"],
            )
            assert told in expected, f"{where}: a decision too early"
            right = expected.pop(told)
            if wrong == "index" and right[0] == Status.OK:
                right = (right[0], (right[1] + 1) % classes, *right[2:])
            assert decision == right, f"{where}: frame {told}: {decision}, not {right}"
            told += 1 + (wrong == "order" and told == 5)

        # ---- to the next cycle
        ahead.append((lines.rows - k * group) if lines.current else k)
        ahead.popleft()
        fault, on = lines.fault, engine
        free = not lines.waiting or lines.receiving
        met["full"] += event in BEGIN and free and undecided == UNDECIDED
        spoilt = lines.step(event, out)
        undecided = lines.accepted + 1 - told
        enable = loaded and load == 0 and undecided < UNDECIDED
        met["two"] += len(spoilt) == 2
        if spoilt:
            met[spoilt[0][0]] += 1
            met["engine's" if lines.fault[1] else "another's"] += 1
            met["fault and stop"] += stops
        if answered:
            if last or stops or over:
                expected[ended[0]] = (Status.OK, stop_class if stop else index, logits, ended[2])
            met["stop"] += stops
            met["skip"] += skips
            met["stop after fault"] += bool((stops or over) and fault and fault[1])
            met["skip after fault"] += bool(skips and not over and fault and fault[1])
            ended = None
        for status, number in spoilt:
            expected.setdefault(number, (status, 0, [0] * classes, 0))
        starts = state_done
        answer_in = source.choice([1, 2, 8]) if state_done else answer_in and answer_in - 1
        if answered:
            answer_in = None
        drain = drain - 1 if drain else None
        if walk is not None:
            walk, begun = walk + 1, begun or begins
        if release is not None:
            released = k * group + release
        if finished:
            used += 1
            ended, drain = (engine, group, used), source.choice([1, 4, 12])
            last_ended = group == groups - 1
            walk, begun = (0 if out["walks__again"] else None), False
            group, group_released = group + 1, 0
            met["end and fault"] += bool(fault and fault[1])
            if group == groups:
                engine, walk = None, None
        if out["lines__take"]:
            engine = spoilt[0][1] if spoilt else lines.frame
            group = used = released = group_released = 0
            met["take and fault"] += bool(spoilt)
        if drop or stops or skips:
            met["drop"] += drop
            met["drop and end"] += ends
            met["drop behind another"] += bool(drop and ended is not None and last_ended)
            if drop and not last_ended:
                ended = answer_in = None
            walk, begun, dropping = None, False, False
            warm, group_released = source.choice([4, 6]), 0
            if skips and not over:
                group += 1
                released = k * group
            else:
                engine = None
        if fault and fault[1] and on is not None and not (stops or over):
            dropping = True
        reset = bool(drop or stops or skips or not loaded)
        warm -= 1
        if not reset and walk is None and warm <= 0 and out["walks__more"] and engine is not None:
            walk, begun = 0, False
        # a load, now and then
        if load == 0:
            load = source.choice([3, 30]) * (source.random() < 0.002)
        elif out["idle"] or not loaded:
            loaded, load = load == 1, load - 1
    met["frames"] = told
    return met


def kept(scenario, box):
    """The scenario's result goes into the box."""
    box.append((yield from scenario))


@pytest.mark.parametrize("kind", SHAPES)
def test_frames(kind):
    """By chance everything has come, and together."""
    met = Counter()
    for seed in range(3):
        box = []
        on_amaranth(FrameControl(**SHAPES[kind]), kept(frames(kind, seed), box))
        met += box[0]
    assert met["frames"] > 100, met
    wanted = {*FAULTS, Status.RESTART, "engine's", "another's", "drop", "two"}
    if SHAPES[kind]["row_groups"] > 1:
        wanted |= {"stop", "skip", "fault and stop"}
    if kind == "five":
        wanted |= {
            "stop after fault",
            "skip after fault",
            "end and fault",
            "take and fault",
            "drop and end",
            "full",
        }
        wanted |= {"drop behind another"}
    assert wanted <= set(met), wanted - set(met)


def resets(source, count=90):
    """Scenario: frames of the paper's kind, each time broken off by a reset, soon or late."""
    kinds = (frames("five", seed) for seed in range(count))
    yield from broken_off(kinds, [source.randrange(5, 130) for _ in range(count)])


def test_a_reset_forgets_all():
    """Frames that wait, run or are dropped, answers that come, faults that wait."""
    on_amaranth(FrameControl(**SHAPES["five"]), resets(random.Random(3)))


@pytest.mark.parametrize(
    "name", ["dropping", "tail", "answering", "open_"], ids=lambda name: name.strip("_")
)
def test_what_a_reset_leaves_is_seen(name):
    at = {
        "dropping": ("dropping, drop = Signal(),", "dropping, drop = Signal(reset_less=True),"),
        "tail": ("tail = Signal()", "tail = Signal(reset_less=True)"),
        "answering": ("answering = Signal()", "answering = Signal(reset_less=True)"),
        "open_": (
            "following = Signal(UNDECIDED), Signal(UNDECIDED)",
            "following = Signal(UNDECIDED, reset_less=True), Signal(UNDECIDED)",
        ),
    }
    wrong = mutants.planted("hw.frames", *at[name])
    with pytest.raises(AssertionError, match="cycle"):
        on_amaranth(wrong.FrameControl(**SHAPES["five"]), resets(random.Random(3)))


@pytest.mark.parametrize("wrong", ["index", "order", "rows"])
def test_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="cycle"):
        on_amaranth(FrameControl(**SHAPES["five"]), frames("five", 1, 3000, wrong))


def test_faults_wait_for_the_frame_before():
    """Three faults while a decision is awaited come after it, in order; later ones at once."""

    def scenario():
        waits = {"behind": 1, "fault": 1}
        seen = []
        inputs = [waits | {"status": int(s)} for s in FAULTS] + [{}] * 4
        inputs += [{"decided": 1, "index": 1, "rows_used": 9, "logits__1": 5}, *[{}] * 6]
        inputs += [{"fault": 1, "status": int(Status.RESTART)}, *[{}] * 4]
        for cycle, given in enumerate(inputs):
            out = yield given
            if out["decision__valid"]:
                told = ("status", "index", "rows_used", "logits__1")
                seen.append((cycle, *(out[f"decision__{name}"] for name in told)))
        faults = [(9 + i, int(status), 0, 0, 0) for i, status in enumerate(FAULTS)]
        assert seen == [(8, 0, 1, 9, 5), *faults, (17, int(Status.RESTART), 0, 0, 0)], seen

    on_amaranth(DecisionQueue(classes=2), scenario())


def test_rows_of_a_group():
    """k = 9: the flags follow the camera, groups and frames; a skip releases what is before."""

    def scenario():
        yield {"take": 1, "current": 1}
        for received in range(10):
            for _ in range(2):
                yield {"current": 1, "received": received}
            out = yield {"current": 1, "received": received}
            flags = (received >= 3) | (received >= 6) << 1 | (received == 9) << 2
            assert out["flags"] == flags, f"{received} rows: flags {out['flags']:b}"
        yield {"current": 1, "received": 9, "release": 1, "group_released": 4}
        out = yield {"current": 1, "received": 9, "next": 1}
        assert out["released"] == 4
        yield {"current": 1, "received": 12, "skip": 1}
        for _ in range(3):
            out = yield {"current": 0, "received": 0}
        assert (out["released"], out["flags"]) == (18, 7)

    on_amaranth(CameraRows(row_groups=3, rows=9, needs=(3, 6, 9)), scenario())


def test_stop_class_must_exist():
    with pytest.raises(ValueError, match="stop_class must be 0..1, not 2"):
        FrameControl(**SHAPES["five"] | {"stop_class": 2})
