# amaranth: UnusedElaboratable=no
"""hw/line_buffer.py: rows as golden.line_buffer stores them, and all ways in which a frame ends."""

import random
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from amaranth.sim import Simulator

from golden.config import ModelConfig
from golden.line_buffer import to_signed
from hw.interfaces import Counters, Pixels, Status
from hw.line_buffer import ByteLines, WordLines
from hw.plan import compile_program
from hw.plan.engine_config import EngineConfig
from hw.plan.latency import PARALLEL
from hw.plan.replay import writing_period
from sim.prove import mutants
from tests.bench_blocks import on_amaranth, on_verilator, pack, unpack

BASE = ModelConfig(
    name="lines",
    image_height=11,
    image_width=17,
    heads=1,
    head_channels=(1, 1, 1, 1),
    state_channels=2,
)
KINDS = {  # model, shape: 1, 2, 4 banks; colour and grey; nothing divides the width, or all do
    "colour": (BASE, "4,1,1"),
    "grey": (replace(BASE, image_width=23, in_channels=1, image_height=15), "5,1,2"),
    "four": (replace(BASE, image_width=16, image_height=9), "3,1,4"),
    "exact": (replace(BASE, image_width=16, in_channels=1), "4,1,2"),
    "three": (replace(BASE, head_kernels=((3, 3),) + ((1, 3),) * 3, image_height=10), "4,1,1"),
    "nine": (replace(BASE, head_kernels=((3, 3),) * 4, image_height=19, image_width=16), "5,1,2"),
}
READ = 1 + PARALLEL.memory  # cycles from a read address to its word


BYTES = {  # those of the serial parts
    "bytes": (replace(BASE, heads=2, head_channels=(1, 1, 1, 2)), "4,1,2"),
    "grey bytes": (
        replace(BASE, heads=2, head_channels=(1, 1, 1, 2), image_width=23, in_channels=1),
        "6,1,2",
    ),
    "three bytes": (
        replace(KINDS["three"][0], heads=2, head_channels=(1, 1, 1, 2), image_width=24),
        "8,1,2",
    ),
}


SEVEN = {  # slots of which none is the next one's mirror
    "seven": (
        replace(
            BASE,
            head_kernels=((3, 3),) * 3 + ((1, 3),),
            image_height=15,
            image_width=16,
            in_channels=1,
        ),
        "4,1,1",
    )
}


def plan_of(kind):
    model, shape = (KINDS | BYTES | SEVEN)[kind]
    parts = "serial" if kind in BYTES else "parallel"
    return compile_program(model, EngineConfig.parse(shape, parts=parts))


def buffer_of(kind):
    return (ByteLines if kind in BYTES else WordLines)(plan_of(kind))


class Frames:
    """What the line buffer's documentation says, cycle by cycle (no memory, no words).

    `look` tells the outputs of a cycle, `step` goes on to the next one.
    """

    def __init__(self, plan):
        self.pixels, self.width = plan.engine.pixels, plan.model.image_width
        self.bytewise = plan.engine.parts == "serial"
        self.k = plan.model.rows_per_group
        self.frame_rows = self.k * plan.model.row_groups
        self.receiving = self.waiting = self.current = False
        self.received = self.column = self.rows = self.cycle = 0
        self.counts = Counter()
        self.fault, self.engine_fault = None, False  # told in this cycle; the engine's frame's
        self.owed = []  # ... and those that are told after it
        self.stopped = False  # by the engine, a cycle ago
        self.visible = []  # cycles at which a complete row counts
        # of row_delay, a cycle passed before the pixel was seen here and one for the next state;
        # the engine's distance and flag and the step itself come after `rows`
        self.delay = plan.row_delay - 2 - 3
        self.allowed = False  # the row may be written; known a cycle later
        self.shown_counts = Counter()
        self.content = []  # rows of the frame being received: width x colours

    def look(self, pixel, engine):
        """Status of a frame that goes wrong by the pixel that came a cycle ago."""
        valid, sof, eol, end, colours = pixel
        found = Counter()
        self.starting = valid and sof
        self.accept = self.starting and engine["enable"] and (not self.waiting or self.receiving)
        if self.starting and self.receiving:
            found[Status.RESTART] += 1
        inside = valid and (self.accept if sof else self.receiving)
        column = 0 if sof else self.column
        last = column == self.width - 1
        self.row_done = False
        if inside and self.bytewise and not self.allowed:
            found[Status.OVERRUN] += 1
        elif inside and eol != last:
            found[Status.LINE] += 1
        elif inside and (last or column % self.pixels == self.pixels - 1):
            if not self.allowed:
                found[Status.OVERRUN] += 1
            self.row_done = self.allowed and last
        bad = Status.LINE in found or Status.OVERRUN in found
        if end and self.receiving and not self.starting and not bad:
            found[Status.TRUNCATED] += 1
        self.found, self.inside, self.next_column = found, inside, column + 1
        order = (Status.RESTART, Status.OVERRUN, Status.LINE, Status.TRUNCATED)
        self.order = [s for s in order if s in found]
        return self.order[0] if found else None

    def tell(self, of_engine):
        """What is told next: of two faults that came now the first may be the engine's."""
        self.owed += [(s, of_engine and i == 0) for i, s in enumerate(self.order)]
        self.fault, self.engine_fault = self.owed.pop(0) if self.owed else (None, False)

    def step(self, pixel, engine, following):
        """To the next cycle; `following` is the pixel on the wires."""
        self.cycle += 1
        # a frame that the engine decides as its fault is told, or as it came, is not counted
        decided = self.engine_fault and (engine["stop"] or self.stopped)
        if self.fault is not None and not decided:
            self.counts[self.fault] += 1
        self.stopped = engine["stop"]
        self.shown_counts = self.counts.copy()
        if self.current:
            self.allowed = self.received < engine["released"] + self.k
        elif engine["busy"] and not self.engine_fault:
            # the row's slot holds the engine's frame's last rows
            self.allowed = self.frame_rows - self.k + self.received < engine["released"]
        else:
            self.allowed = self.received < self.k
        if self.bytewise and following[1]:  # a first pixel is written at once: in row 0
            leaving = engine["released"] > self.frame_rows - self.k
            ended = (self.current and self.receiving) or self.engine_fault
            self.allowed = bool(not engine["busy"] or ended or leaving)
        self.counts[Status.OK] += bool(self.starting and not self.accept)
        bad = any(s in self.found for s in (Status.LINE, Status.OVERRUN, Status.TRUNCATED))
        if self.visible and self.visible[0] == self.cycle:
            self.visible.pop(0)
            self.rows += 1
        if engine["done"]:
            self.current = False
        if engine["take"]:  # before the pixel: what it does wrong is the engine's
            self.waiting, self.current = False, True
        if self.starting:
            if self.receiving and not self.current:
                self.waiting = False
            self.receiving = self.accept
            if self.accept:
                self.waiting, self.current = True, False
                self.received = self.column = self.rows = 0
                self.visible, self.content = [], [[]]
        if self.inside:
            self.column = self.next_column
            self.content[-1].append(pixel[4])
        if self.row_done:
            self.column = 0
            self.received += 1
            self.visible.append(self.cycle + self.delay)
            self.content.append([])
            if self.received == self.frame_rows:
                self.receiving = False
        if bad:
            self.receiving = False
            if not self.current:
                self.waiting = False
        if engine["stop"] and self.current and not self.starting:
            self.receiving = False


def camera(plan, source, faults: bool, tight: bool = False):
    """Pixels without end: (valid, sof, eol, end, colours), frame after frame.

    Gaps inside some of the frames and between all; rows beyond the last group; every fault.
    tight: a pixel a cycle even where a row's last word has fewer pixels than there are colours.
    """
    model = plan.model
    short = model.image_width % plan.engine.pixels
    breath = model.in_channels - short if 0 < short < model.in_channels and not tight else 0
    space = max(2, model.in_channels) - 1 if plan.engine.parts == "serial" else 0

    def noise():
        return 0, source.getrandbits(1), source.getrandbits(1), 0, (source.getrandbits(8),) * 3

    for number in range(10**9):
        fault = source.choice(
            ["", "", "", "short", "long", "end", "restart", "leave", "sof", "badsof"]
        )
        if not faults or number % 7 < 2:
            fault = ""
        total = model.image_width * model.image_height
        place = source.randrange(1, model.image_width * model.rows_per_group * model.row_groups)
        gaps = source.choice([0, 0, 0.1, 0.5])
        for index in range(total):
            while source.random() < gaps:
                yield noise()
            column = index % model.image_width
            eol = column == model.image_width - 1
            sof = index == 0
            for _ in range(breath if eol else 0):
                yield noise()
            if fault == "short" and index == place and not eol:
                eol = True
            if fault == "long" and index >= place:
                eol = False
            colours = tuple(
                source.choice([0, 127, 128, 255, source.getrandbits(8)]) for _ in range(3)
            )
            if fault == "restart" and index == place:
                break  # the next frame's sof comes inside this one
            if fault == "end" and index == place:
                yield 0, 0, 0, 1, colours
                break
            if fault == "leave" and index == place:
                for _ in range(40):
                    yield noise()
                break
            if fault == "sof" and index == place:  # of a frame that never goes on
                sof = True
            # ... and whose first line is a pixel long, once or again and again
            if fault == "badsof" and place <= index <= place + number % 3:
                sof = eol = True
            yield 1, sof, eol, 0, colours
            for _ in range(space):
                yield noise()
        else:
            yield 0, 0, 0, source.getrandbits(1), (0, 0, 0)
        if fault != "restart":
            for _ in range(source.choice([0, 3, 30, 200])):
                yield noise()


def traffic(
    kind: str,
    seed: int,
    cycles: int = 9000,
    faults: bool = True,
    wrong: str = "",
    tight: bool = False,
    words: bool = True,
):
    """Scenario: camera and engine by chance; the engine reads rows that it has not yet released.

    words: what it reads is compared.

    Take, done and stop come in any cycle in which the row engine may give them; faults where they
    fall. wrong: "pixel", "rows" or "count" is expected otherwise.
    """
    plan, source = plan_of(kind), random.Random(seed)
    channels, lanes = plan.model.in_channels, plan.geometry.head_lanes
    colours, k = Pixels(channels).colours, plan.model.rows_per_group
    pixels, groups = plan.engine.pixels, plan.geometry.groups(plan.model.image_width)
    row_words = plan.geometry.words(plan.model.image_width)
    frames, stream = Frames(plan), camera(plan, source, faults, tight)
    total = frames.frame_rows
    depth = buffer_of(kind).depth
    address_bits = max(1, (depth - 1).bit_length())
    latency = 1 if kind in BYTES else READ
    # the engine: off, on a frame, or dropping one
    mode, released, speed, drop = "off", 0, 4, 0
    picture, good, status_of, reads = None, 0, Counter(), {}
    whole = False
    before = (0, 0, 0, 0, (0, 0, 0))
    if wrong == "rows":
        frames.delay += 1
    asking = random.Random(seed)
    silent: dict[int, list[bool]] = {}  # banks that were not read
    last: list[int] = []
    together = Counter()  # what came in one cycle

    def word_of(row, colour, word):
        if word >= row_words:
            return None
        values = [
            row[x][colour] if x < len(row) else None
            for x in range(word * pixels, (word + 1) * pixels)
        ]
        signed = to_signed(torch.tensor([0 if v is None else v for v in values])).tolist()
        return pack([0 if v is None else s for v, s in zip(values, signed, strict=True)], 8)

    for cycle in range(cycles):
        engine = {
            "enable": cycle > 20 and not (faults and cycle % 1700 < 60),
            "busy": mode == "on",
            "released": released,
            "take": 0,
            "done": 0,
            "stop": 0,
        }
        status = frames.look(before, engine)
        if cycle % 500 == 0 and faults:
            speed = source.choice([0, 0.3, 1, 3, 4, 4])
        shown = (frames.receiving, frames.waiting, frames.current, frames.rows)
        told, engine_told = frames.fault, frames.engine_fault
        available = total if not frames.current else frames.rows
        # a start of frame that is itself at fault is no fault of the frame before, if that is whole
        of_frame = status == Status.RESTART or not frames.starting
        release = released
        if mode == "off":
            chance = 0.2 * speed if status is None else 0.15
            engine["take"] = frames.waiting and source.random() < chance
        elif mode == "drop":
            drop -= 1
            engine["done"] = drop <= 0
        elif engine_told:
            pass
        elif released < available:
            if source.random() < 0.05 * speed * speed:
                release = min(available, released + source.choice([1, 1, 3, 5]))
        elif released == total and source.random() < (0.03 if status is None else 1):
            engine["done"] = 1
            engine["take"] = frames.waiting and source.random() < 0.5
        if mode == "on" and faults and not engine["done"]:
            # now and then, and often where a fault is
            quiet = status is None and told is None
            engine["stop"] = source.random() < (0.0004 if quiet else 0.3)
        of_engine = bool(frames.current or engine["take"]) and of_frame
        if status is not None:
            for name in ("done", "stop", "take"):
                together[name] += engine[name]
        together["done and take"] += engine["done"] and engine["take"]
        together["decided as it is told"] += bool(engine_told and engine["stop"])
        together["decided before"] += bool(engine_told and frames.stopped)
        together["two faults"] += len(frames.order) == 2
        together["and a third"] += bool(frames.owed and frames.order)

        # read a row that the engine may read
        address = [source.randrange(plan.line_buffer_words) for _ in range(lanes)]
        if mode == "on" and released < available and not engine_told:
            row = source.randrange(released, min(available, released + k))
            colour, group = source.randrange(channels), source.randrange(groups)
            at = (row % k * channels + colour) * groups + group
            address = [at] * lanes
            row = picture[row]
            reads[cycle + latency] = [word_of(row, colour, group * lanes + b) for b in range(lanes)]
        # a bank that is not read keeps its word
        enabled = [asking.random() < 0.9 for _ in range(lanes)]
        silent[cycle + latency] = [not on for on in enabled]
        if cycle + latency in reads:
            reads[cycle + latency] = [
                word if on else None
                for word, on in zip(reads[cycle + latency], enabled, strict=True)
            ]
            if wrong == "pixel" and cycle > cycles // 2 and enabled[0]:
                reads[cycle + latency][0] ^= 1

        pixel = next(stream)
        inputs = dict(zip(("valid", "sof", "eol", "frame_end"), pixel[:4], strict=True))
        inputs |= dict(zip(colours, pixel[4], strict=False))
        inputs = {f"pixels__{name}": value for name, value in inputs.items()}
        inputs |= {f"control__{name}": value for name, value in engine.items()}
        inputs["camera__read_address"] = pack(address, address_bits)
        inputs["camera__read_en"] = pack(enabled, 1)
        out = yield inputs

        where = f"cycle {cycle}"
        if status is not None:
            status_of[status, "current" if of_engine else mode] += 1
        assert out["control__fault"] == (told is not None), f"{where}: fault, not {told}"
        if told is not None:
            assert out["control__status"] == told, f"{where}: status, not {told!r}"
            assert out["control__fault_current"] == engine_told, f"{where}: current, {told!r}"
        assert out["control__accept"] == frames.accept, f"{where}: accept"
        receiving, waiting, current, rows = shown
        assert out["control__receiving"] == receiving, f"{where}: receiving"
        assert out["control__waiting"] == waiting, f"{where}: waiting"
        if receiving:
            assert out["control__current"] == current, f"{where}: current"
        if receiving or mode == "on":
            assert out["control__rows"] == rows, f"{where}: rows {out['control__rows']}, not {rows}"
        counts = [out[f"counts__{name}"] for name in Counters.names]
        right = [frames.shown_counts[s] for s in Status]
        if wrong == "count" and cycle > cycles // 2:
            right[Status.OK] += 1
        assert counts == right, f"{where}: counts {counts}, not {right}"
        wanted, got = reads.pop(cycle, None), unpack(out["camera__words"], 8 * pixels, lanes)
        if not words:
            wanted, silent = None, {}
        for bank, keeps in enumerate(silent.pop(cycle, ())):
            assert not keeps or got[bank] == last[bank], f"{where}: bank {bank} was not read"
        last = got
        if wanted is not None:
            for bank, word in enumerate(wanted):
                assert word in (None, got[bank]), (
                    f"{where}, bank {bank}: {got[bank]:x}, not {word:x}"
                )

        frames.step(before, engine, pixel)
        frames.tell(of_engine)
        before = pixel
        released = release
        if engine_told and mode == "on":
            mode, drop, released = "drop", source.choice([1, 1, 2, 10]), 0
        elif engine["done"]:
            good += mode == "on"
            mode = "off"
        if engine["stop"]:
            mode = "off"
        if engine["take"] and mode != "drop":
            mode, released, picture = "on", 0, frames.content
        whole |= out["control__rows"] == total
    assert good >= cycles // (7500 if kind in BYTES else 2500) and whole, f"{good} frames"
    return together, status_of


def test_verilator():
    """Every kind with faults, and without."""
    kinds = KINDS | BYTES
    blocks = {kind.replace(" ", "_"): buffer_of(kind) for kind in kinds}
    jobs = [(kind.replace(" ", "_"), traffic, {"kind": kind, "seed": 8}) for kind in kinds]
    jobs += [
        (
            kind.replace(" ", "_"),
            traffic,
            {"kind": kind, "seed": 4, "cycles": 4000, "faults": False},
        )
        for kind in kinds
    ]
    on_verilator(blocks, jobs)


def test_each_row_has_its_slot():
    """Counted downwards, the slots of 3, 5 and 9 rows are as good; those of 7 are not."""
    on_amaranth(buffer_of("seven"), traffic("seven", 1, 2600, False))
    wrong = mutants.planted("hw.line_buffer", "slot.eq(slot + 1), base", "slot.eq(slot - 1), base")
    with pytest.raises(AssertionError, match="bank 0"):
        on_amaranth(wrong.WordLines(plan_of("seven")), traffic("seven", 1, 2600, False))


def kept(scenario, box):
    """The scenario's result goes into the box."""
    box.append((yield from scenario))


def test_situations():
    """By chance everything has come: each fault in each situation, and together with done, stop."""
    together, met = Counter(), Counter()
    for kind, seed in (("exact", 38), ("grey", 22)):
        box = []
        on_amaranth(WordLines(plan_of(kind)), kept(traffic(kind, seed), box))
        together += box[0][0]
        met += box[0][1]
    names = ("done", "stop", "take", "done and take", "two faults", "and a third")
    names += ("decided as it is told", "decided before")
    assert all(together[name] for name in names), together
    wanted = {(Status.OVERRUN, "current"), (Status.OVERRUN, "on"), (Status.OVERRUN, "off")}
    wanted |= {(s, "current") for s in (Status.TRUNCATED, Status.LINE, Status.RESTART)}
    wanted |= {(s, "off") for s in (Status.TRUNCATED, Status.LINE, Status.RESTART)}
    assert wanted <= set(met), wanted - set(met)


@pytest.mark.parametrize("kind", ["grey", "grey bytes"])
@pytest.mark.parametrize("wrong", ["pixel", "rows", "count"])
def test_differences_are_seen(wrong, kind):
    with pytest.raises(AssertionError, match="cycle"):
        on_amaranth(buffer_of(kind), traffic(kind, 6, 2500, False, wrong))


@pytest.mark.parametrize("seed", [3, 4])
def test_bytes(seed):
    """Bytes at their places at once, with faults in every situation."""
    on_amaranth(buffer_of("bytes"), traffic("bytes", seed, 8000))


@pytest.mark.parametrize("pace, status", [(1, Status.OVERRUN), (3, None)])
def test_short_last_word(pace, status):
    """A last word of fewer pixels than colours: a pixel a cycle is an overrun, slower is not."""
    plan = plan_of("colour")
    width = plan.model.image_width
    assert 0 < width % plan.engine.pixels < plan.model.in_channels
    buffer = WordLines(plan)
    seen = []

    async def bench(ctx):
        pixels, control = buffer.pixels, buffer.control
        ctx.set(control.enable, 1)
        for column in range(width):
            for name, value in (
                ("valid", 1),
                ("sof", column == 0),
                ("eol", column == width - 1),
            ):
                ctx.set(getattr(pixels, name), int(value))
            for _ in range(pace):
                await ctx.tick()
                ctx.set(pixels.valid, 0)
                if ctx.get(control.fault):
                    seen.append(int(ctx.get(control.status)))
        for _ in range(12):
            await ctx.tick()
            if ctx.get(control.fault):
                seen.append(int(ctx.get(control.status)))
        assert ctx.get(control.rows) == (0 if status else 1)
        assert ctx.get(buffer.counts.overrun) == bool(status)

    simulator = Simulator(buffer)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == ([int(status)] if status else [])


FAST = {  # fewer cycles of work than their pixels take: width, shape, cycles a pixel at least
    "a pixel": (50, "7,1,8", Fraction(3)),
    "two pixels": (86, "7,1,8", Fraction(3, 2)),
    "a whole word": (168, "12,1,8", Fraction(1)),
}


def fast_plan(kind):
    """Of a network whose last word of a row has so many pixels, on an array that outruns it."""
    width, shape, _ = FAST[kind]
    model = replace(
        BASE,
        image_height=3,
        image_width=width,
        head_kernels=((1, 3), (3, 1)),
        head_channels=(1, 1),
        attention_hidden=1,
        classifier_hidden=1,
        channel_attention=False,
    )
    return compile_program(model, EngineConfig.parse(shape))


def overruns(buffer, period, apart):
    """(overruns, whole rows) of a frame of one row group at a camera with even pixels, in the phase
    in which the last `apart` pixels of the first row come closest together."""
    model = buffer.plan.model
    width, rows = model.image_width, model.rows_per_group
    pixel = Fraction(period, rows * width)
    phase = -(width - 1 - apart) * pixel % 1
    cycles = [int(i * pixel + phase) for i in range(rows * width)]
    found = []

    async def bench(ctx):
        pixels, now = buffer.pixels, 0
        ctx.set(buffer.control.enable, 1)
        for i, cycle in enumerate(cycles):
            assert cycle >= now, "two pixels in a cycle"
            if cycle > now:
                ctx.set(pixels.valid, 0)
                await ctx.tick().repeat(cycle - now)
            ctx.set(pixels.valid, 1)
            ctx.set(pixels.sof, i == 0)
            ctx.set(pixels.eol, i % width == width - 1)
            await ctx.tick()
            now = cycle + 1
        ctx.set(pixels.valid, 0)
        await ctx.tick().repeat(12)
        found.extend((ctx.get(buffer.counts.overrun), ctx.get(buffer.control.rows)))

    simulator = Simulator(buffer)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return tuple(found)


@pytest.mark.parametrize("kind", FAST)
def test_even_camera_of_a_fast_engine(kind):
    """At the plan's period no word comes before the one in front of it is written; with a cycle
    less, one may."""
    plan, spacing = fast_plan(kind), FAST[kind][2]
    assert plan.rules.even_spacing == spacing
    rows = plan.model.rows_per_group
    assert overruns(WordLines(plan), plan.camera_period, spacing.denominator) == (0, rows)
    assert plan.cycles_per_row_group < plan.camera_period == writing_period(plan)
    if spacing > 1:
        early = overruns(WordLines(plan), plan.camera_period - 1, spacing.denominator)
        assert early == (1, 0)


@pytest.mark.parametrize("kind", ["bytes", "grey bytes"])
def test_even_camera_of_bytes(kind):
    """The same of bytes at their places; no serial engine works so fast."""
    plan = plan_of(kind)
    plan = replace(plan, model=replace(plan.model, image_height=plan.model.rows_per_group))
    period = writing_period(plan)
    assert period < plan.cycles_per_row_group == plan.camera_period
    assert overruns(ByteLines(plan), period, 1) == (0, plan.model.rows_per_group)
    assert overruns(ByteLines(plan), period - 1, 1) == (1, 0)
