"""Compiler of the row program: operations, address map, waits and the cycle prediction.

One list of operations is the source of everything: the three ROMs that the sequencers read
(`Plan.words`), the address map, the number of cycles of a row group and the counts in reports.

Scheduling is static. The operations run in order, and an operation starts so that each word that it
reads is there just in time; the `wait` that this takes is solved here, so the hardware has no
scoreboard. Only camera rows are waited for at run time.
"""

import random
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from math import ceil

import numpy as np

from golden.config import ModelConfig
from hw.plan import timing
from hw.plan.engine_config import EngineConfig, Geometry


class Source(IntEnum):
    """Where a walk's activation words come from."""

    CAMERA = 0  # line buffer, the same words for all heads
    HEAD = 1  # each head's own banks
    SHARED = 2  # one word of an n-wide map, broadcast to all lanes
    ATTENTION = 3  # rows of A in the attention SRAM, broadcast


class Weights(IntEnum):
    """Where a walk's weights come from."""

    MEMORY = 0
    STATE = 1  # S = H^T K: bytes of the state's copy
    VALUE = 2  # V A: bytes of the operand registers


class Function(IntEnum):
    """What a channel unit makes of a sum."""

    RELU = 0
    SIGNED = 1
    CHANNEL = 2  # C * sigmoid
    RESET = 3  # H * sigmoid
    UPDATE = 4  # sigmoid as a unit byte
    BLEND = 5  # N + (H - N) * U, N = tanh
    MIX = 6  # P + V A


class Target(IntEnum):
    """Where a walk's words go."""

    HEAD = 0  # wide map in the heads' own banks, pooled
    SHARED = 1  # n-wide map, lane l writes bank l
    CONCAT = 2  # block 4's pooled words into C, one word a cycle
    SCORES = 3  # rows of S into the attention SRAM, one word a cycle


@dataclass
class Segment:
    """A run of input channels read one after the other from one map."""

    map: str
    channels: int
    first: int = 0  # first channel within the map
    state: bool = False


@dataclass
class Map:
    """A map in the state SRAM: `words` per bank at `base`, alive from `born` to `dies`."""

    name: str
    words: int
    wide: bool
    groups: int = 1  # words per bank and channel (wide), words per channel (n-wide)
    channels: int = 0
    born: int = 10**9
    dies: int = -1
    base: int = 0


@dataclass
class Operation:
    """One operation of the row program (all walks of a layer, or of one row of it).

    A walk is `idle` + K cycles; `wait` more come before the first one.
    """

    name: str
    layers: list[str]  # weighted layer of each head that works in it, or one
    source: Source
    segments: list[Segment]
    target: Target
    out: str  # map (or "scores") that it writes
    function: Function
    out_channels: int
    stages: list[str]  # golden stage per head, or one
    weights: Weights = Weights.MEMORY
    taps: int = 1
    kernel_rows: int = 1
    row: int = 0  # row y of the group (blocks 1, 2)
    heads: list[int] = field(default_factory=list)
    out_groups: int = 1
    chunks: int = 1
    in_words: int = 1
    in_columns: int = 0
    out_columns: int = 0
    row_stride: int = 0
    first: int = 0  # dummy channels before the first one (spatial attention's mix)
    operands: list[str] = field(default_factory=list)
    operand_first: int = 0  # first channel row of the operands and of the target
    operand_value: str = ""  # V map that feeds the weights (mix)
    macs: int = 0
    need_rows: int = 0
    release_rows: int = 0
    zero_point: int = 0  # of the input: padding
    out_zero_point: int = 0
    idle: int = 0
    pause: int = 0  # idle cycles between the two segments of a walk
    wait: int = 0
    hold: int = 0  # cycles by which the first walk's operand fetch begins later
    extra: int = 0  # cycles of `wait` that the first walk's operands need
    start: int = 0  # cycle of the first step in the steady row group
    weight_base: int = 0
    constant_base: int = 0
    constant_step: int = 0
    constants: int = 0

    @cached_property
    def k(self) -> int:
        """Multiply-accumulate steps of a walk."""
        return sum(s.channels for s in self.segments) * self.kernel_rows * self.taps

    @property
    def walks(self) -> int:
        return self.out_groups * self.chunks

    @property
    def period(self) -> int:
        """Cycles from walk to walk."""
        return self.idle + self.pause + self.k

    @property
    def cycles(self) -> int:
        """Cycles of the operation with its waits."""
        return self.wait + self.walks * self.period

    @property
    def stage(self) -> str:
        return self.stages[0]

    @property
    def last_step(self) -> int:
        """Cycle of the last step in the steady row group."""
        return self.start + self.walks * self.period - self.idle - 1

    @property
    def head_mode(self) -> bool:
        return self.source in (Source.CAMERA, Source.HEAD)


@dataclass(frozen=True)
class Memory:
    """An addressable memory of the design; `always_read`: its read ports have no enable."""

    name: str
    category: str
    words: int
    bits: int
    count: int = 1
    always_read: bool = False

    @property
    def bytes(self) -> float:
        return self.count * self.words * self.bits / 8


def build_operations(
    model: ModelConfig, geometry: Geometry
) -> tuple[list[Operation], dict[str, Map]]:
    """The operations of a row group in order, with their maps (no addresses, no times yet)."""
    engine, g = geometry.engine, geometry
    c1, c2, c3, c4 = model.head_channels
    w0, w1, w2, w3, n = model.widths
    d, wn = model.state_channels, geometry.state_words
    ops: list[Operation] = []
    maps: dict[str, Map] = {}
    spatial = model.spatial_attention != "none"

    def wide(name, channels, columns, rows=1):
        maps[name] = Map(
            name, rows * channels * g.groups(columns), True, g.groups(columns), channels
        )
        return name

    def narrow(name, channels):
        maps[name] = Map(name, g.bank_words(channels), False, wn, channels)
        return name

    def block(index, p, y, source, segment, columns, channels, out, kernel, rows_in, pad):
        heads = [p * g.heads + i for i in range(g.heads)]
        suffix = f".{y}" if y is not None else ""
        suffix += f"p{p}" if g.passes > 1 else ""
        stage_row = f".row{y}" if y is not None else ""
        concat = index == 4
        ops.append(
            Operation(
                name=f"c{index}{suffix}",
                layers=[f"head{h}.block{index}" for h in heads],
                source=source,
                segments=[segment],
                target=Target.CONCAT if concat else Target.HEAD,
                out=out,
                function=Function.RELU,
                out_channels=channels,
                stages=[f"head{h}.block{index}{stage_row}" for h in heads],
                taps=3,
                kernel_rows=kernel,
                row=y or 0,
                heads=heads,
                out_groups=ceil(channels / engine.channels),
                chunks=g.chunks(columns),
                in_words=g.words(columns),
                in_columns=columns,
                out_columns=columns // 2,
                row_stride=rows_in,
                zero_point=pad,
                out_zero_point=-128,
                macs=segment.channels * kernel * 3 * columns * channels * len(heads),
            )
        )

    c_zero = 0 if spatial else -128
    for y in range(3):
        for p in range(g.passes):
            block(
                1,
                p,
                y,
                Source.CAMERA,
                Segment("X", model.in_channels),
                w0,
                c1,
                wide(f"B1.{y}.{p}", c1, w1),
                3,
                model.in_channels * g.groups(w0),
                0,
            )
            first_pass, last_pass = p == 0, p == g.passes - 1
            ops[-1].need_rows = y + 3 if first_pass else 0
            ops[-1].release_rows = (1, 2, 5)[y] if last_pass else 0
            if y == 0:
                wide(f"B2.{p}", c2, w2, rows=3)
            block(2, p, y, Source.HEAD, Segment(f"B1.{y}.{p}", c1), w1, c2, f"B2.{p}", 1, 0, -128)
    narrow("C", model.heads * c4)
    for p in range(g.passes):
        block(
            3,
            p,
            None,
            Source.HEAD,
            Segment(f"B2.{p}", c2),
            w2,
            c3,
            wide(f"B3.{p}", c3, w3),
            3,
            c2 * g.groups(w2),
            -128,
        )
        block(4, p, None, Source.HEAD, Segment(f"B3.{p}", c3), w3, c4, "C", 1, 0, -128)

    def shared(name, layer, stage, segments, out, out_channels, function, zero_point, **more):
        taps = more.pop("taps", 1)
        first = more.get("first", 0)
        inputs = sum(s.channels for s in segments)
        out_zero = {Function.RELU: -128, Function.CHANNEL: c_zero}.get(function, 0)
        ops.append(
            Operation(
                name=name,
                layers=[layer],
                segments=segments,
                out=out,
                function=function,
                stages=[stage],
                out_channels=out_channels,
                taps=taps,
                out_groups=ceil((first + out_channels) / engine.units),
                chunks=wn,
                in_words=wn,
                in_columns=n,
                out_columns=n,
                zero_point=zero_point,
                out_zero_point=out_zero,
                **{
                    "source": Source.SHARED,
                    "target": Target.SHARED,
                    "macs": inputs * taps * n * out_channels,
                    **more,
                },
            )
        )

    if spatial:
        for h in range(model.heads):
            part = Segment("C", c4, first=h * c4)
            shared(
                f"k{h}",
                f"attention{h}.key",
                f"attention{h}.key",
                [part],
                narrow(f"K.{h}", d),
                d,
                Function.SIGNED,
                -128,
            )
            shared(
                f"s{h}",
                f"attention{h}.score",
                f"attention{h}.score",
                [Segment(f"K.{h}", d)],
                "scores",
                n,
                Function.SIGNED,
                0,
                weights=Weights.STATE,
                target=Target.SCORES,
                heads=[h],
            )
        for h in range(model.heads):
            offset = h * c4 % engine.lanes
            narrow(f"V.{h}", offset + c4)
            shared(
                f"v{h}",
                f"attention{h}.value",
                f"attention{h}.value",
                [Segment("C", c4, first=h * c4)],
                f"V.{h}",
                c4,
                Function.SIGNED,
                -128,
                first=offset,
            )
        for h in range(model.heads):
            shared(
                f"a{h}",
                f"attention{h}.mix",
                f"attention{h}.output",
                [Segment("A", n)],
                "C",
                c4,
                Function.MIX,
                0,
                weights=Weights.VALUE,
                source=Source.ATTENTION,
                heads=[h],
                first=h * c4 % engine.lanes,
                operand_first=h * c4 // engine.lanes,
                operands=["C"],
                operand_value=f"V.{h}",
            )

    narrow("H", d)
    state = Segment("H", d, state=True)
    heads_out = Segment("C", model.heads * c4)
    if model.channel_attention:
        hidden = model.attention_hidden
        shared(
            "ca1",
            "channel_attention.0",
            "channel_attention.hidden",
            [state, heads_out],
            narrow("z", hidden),
            hidden,
            Function.RELU,
            0,
        )
        shared(
            "ca2",
            "channel_attention.1",
            "channel_attention.output",
            [Segment("z", hidden)],
            "C",
            model.heads * c4,
            Function.CHANNEL,
            0,
            operands=["C"],
        )
    shared(
        "p1",
        "projection.0",
        "projection.0",
        [heads_out],
        narrow("F1", d),
        d,
        Function.RELU,
        c_zero,
        taps=3,
    )
    shared(
        "p2",
        "projection.1",
        "projection.1",
        [Segment("F1", d)],
        narrow("F", d),
        d,
        Function.RELU,
        -128,
        taps=3,
    )
    feature = Segment("F", d)
    shared(
        "r",
        "gru.reset",
        "gru.reset",
        [state, feature],
        narrow("HR", d),
        d,
        Function.RESET,
        0,
        operands=["H"],
    )
    shared("u", "gru.update", "gru.update", [state, feature], narrow("U", d), d, Function.UPDATE, 0)
    shared(
        "n",
        "gru.candidate",
        "gru.state",
        [feature, Segment("HR", d)],
        "H",
        d,
        Function.BLEND,
        0,
        operands=["H", "U"],
    )

    for i, op in enumerate(ops):
        reads = [s.map for s in op.segments] + op.operands + [op.operand_value]
        for name in [op.out, *reads]:
            if name in maps:
                maps[name].born = min(maps[name].born, i)
                maps[name].dies = max(maps[name].dies, i)
    maps["H"].born, maps["H"].dies = 0, len(ops)
    return ops, maps


def allocate(maps: dict[str, Map], attempts: int = 400) -> int:
    """Give each map a base so that maps alive together do not overlap; returns the words per bank.

    First fit over several orders, the best one kept; stops at the lower bound (most words alive).
    """
    items = list(maps.values())
    times = range(max(m.dies for m in items) + 1)
    bound = max(sum(m.words for m in items if m.born <= t <= m.dies) for t in times)
    rng = random.Random(1)

    def place(order):
        placed: list[tuple[Map, int]] = []
        for m in order:
            taken = sorted(
                (b, b + o.words) for o, b in placed if not (m.dies < o.born or o.dies < m.born)
            )
            base = 0
            for low, high in taken:
                if base + m.words <= low:
                    break
                base = max(base, high)
            placed.append((m, base))
        return max(b + m.words for m, b in placed), {m.name: b for m, b in placed}

    orders = [
        sorted(items, key=lambda m: (m.born, -m.words)),
        sorted(items, key=lambda m: (-m.words, m.born)),
        sorted(items, key=lambda m: (-(m.dies - m.born), -m.words)),
        sorted(items, key=lambda m: (-m.words * (m.dies - m.born + 1), m.born)),
    ]
    best = None
    for attempt in range(attempts):
        order = orders[attempt] if attempt < len(orders) else rng.sample(items, len(items))
        result = place(order)
        if best is None or result[0] < best[0]:
            best = result
        if best[0] == bound:
            break
    for m in items:
        m.base = best[1][m.name]
    return best[0]


NEVER = 10**9


class _Schedule:
    """Start times of one steady row group: solves `idle`, `pause` and `wait` of every operation."""

    def __init__(self, model, geometry, ops, maps, classifier_cycles, attention_unit):
        self.model, self.g, self.ops, self.maps = model, geometry, ops, maps
        self.classifier_cycles, self.attention_unit = classifier_cycles, attention_unit
        self.head_wait = self.t.GROUP_TURN
        self.made = {}  # see `kept`
        self.spacings = {}
        self.placed = []  # timing of the operations when `place` was last through
        self.checked = {}  # operation -> what `operands_in_time` found good

    rest = 0  # fewest idle cycles between walks

    @property
    def t(self):
        """Latencies of the engine; no attribute, since a module cannot be pickled."""
        return timing.of(self.g.engine)

    # -- rules that hold for any two neighbouring transfers
    def drain_length(self, op) -> int:
        """Positions of a drain: one more where two lanes share an odd pair (Store)."""
        paired = self.g.head_lanes > 1 and self.g.engine.pixels % 2
        return self.g.engine.pixels + (1 if op.head_mode and paired else 0)

    def slots(self, op) -> int:
        """Cycles in which an operation's words of one walk are written."""
        e, g = self.g.engine, self.g
        if op.target == Target.CONCAT:
            return e.channels * g.heads * max(1, g.head_lanes // 2)
        return e.units if op.target == Target.SCORES else e.channels

    def spacing(self, op) -> int:
        """Fewest cycles between transfers of this operation, whatever K is."""
        if op.name not in self.spacings:
            self.spacings[op.name] = self._spacing(op)
        return self.spacings[op.name]

    def _spacing(self, op) -> int:
        e = self.g.engine
        cycles = self.drain_length(op) + self.slots(op) - e.channels
        cycles = max(cycles, self.slots(op) + 1, self.t.FOLLOW + self.constant_words(op))
        if op.function == Function.BLEND:
            cycles = max(cycles, e.units + 1)
        return cycles

    def apart(self, previous, op) -> int:
        """Fewest cycles between the last transfer of an operation and the next one's first."""
        return max(self.spacing(previous), self.spacing(op) + self.t.SWITCH)

    def constant_words(self, op) -> int:
        """Constants of a walk: one per channel unit, lanes of a head share theirs."""
        e = self.g.engine
        return e.channels * self.g.heads if op.head_mode else e.units

    # -- reads
    def kept(self, name, op, make):
        """`make(op)`, made anew only when the operation's timing has changed: few ever do."""
        key, timing_now = (name, op.name), (op.idle, op.pause)
        if self.made.get(key, (None,))[0] != timing_now:
            self.made[key] = timing_now, make(op)
        return self.made[key][1]

    def read_times(self, op):
        """Per segment: (input channel, word) -> earliest offset from the operation's first step
        of an address register that reads it; arrays of shape (rows * channels, words)."""
        return self.kept("read", op, self._read_times)

    def _read_times(self, op):
        lanes = self.g.head_lanes if op.head_mode else 1
        words = np.full(op.in_words, NEVER)  # without the offset of a row of the kernel
        for j in range(op.chunks):
            if op.taps == 1:
                words[j] = j * op.period + self.t.ADDRESS_ONE_TAP
                continue
            for phase, read in self.phase_words(j, lanes):
                for word in read:
                    if 0 <= word < op.in_words:
                        at = j * op.period + phase + self.t.ADDRESS_THREE_TAP
                        words[word] = min(words[word], at)
        found, offset = [], 0
        for segment in op.segments:
            row, c = np.divmod(np.arange(op.kernel_rows * segment.channels), segment.channels)
            at = offset + op.taps * (c * op.kernel_rows + row)
            found.append((segment, np.where(words < NEVER, at[:, None] + words, NEVER)))
            offset += op.taps * op.kernel_rows * segment.channels + op.pause
        return found

    @staticmethod
    def phase_words(j, lanes):
        """Words read in each phase of a three-tap row by the lanes of a head, chunk group j."""
        base = lanes * j
        yield 0, [base - 1, *range(base, base + lanes - 1)]
        yield 1, [base + lanes - 1]
        yield 2, [base + lanes]

    # -- writes
    def write_times(self, op):
        """(channel, word) -> cycle of the write port, for the map that an operation writes."""
        offsets = self.kept("write", op, self._write_offsets)
        start, times = self.made.get(("written", op.name), (None, None))
        if start != (op.start, op.idle, op.pause):
            times = np.where(offsets < NEVER, op.start + offsets, 0)
            self.made["written", op.name] = (op.start, op.idle, op.pause), times
        return times

    def _write_offsets(self, op):
        """The same from the operation's first step; NEVER where nothing is written."""
        e, g = self.g.engine, self.g
        words = g.words(op.out_columns)
        offsets = np.full((op.first + op.out_channels, max(1, words)), NEVER)
        c = np.arange(op.first, op.first + op.out_channels)
        group, unit = np.divmod(c, e.channels if op.head_mode else e.units)
        late = unit if op.head_mode or op.target == Target.SCORES else unit // e.lanes
        drained = self.t.TRANSFER + self.t.PACK + self.drain_length(op) - 1 + self.t.WRITE
        for j in range(op.chunks):
            last = (group * op.chunks + j) * op.period + op.period - op.idle - 1
            if not op.head_mode:
                targets = [(0, j)]
            elif g.head_lanes == 1:
                targets = [(0, j // 2)]
            else:
                pairs = g.head_lanes // 2
                targets = [(i, pairs * j + i) for i in range(pairs)]
            for pair, word in targets:
                if word < words:
                    slot = late
                    if op.target == Target.CONCAT:
                        slot = late + (pair * g.heads + g.heads - 1) * e.channels
                    offsets[op.first :, word] = last + drained + slot
        return offsets

    def solve(self):
        """Fill in the times of every operation; returns the cycles of a row group."""
        for op in self.ops:
            op.idle = max(self.rest, self.spacing(op) - op.k)
        for _ in range(2000):
            total = self.place()
            if all(self.good(i, op) for i, op in enumerate(self.ops) if op.operands):
                return total
        raise ValueError("no schedule found in which operands come in time")

    def good(self, index, op) -> bool:
        """`operands_in_time`, asked again only when something up to the next operation moved."""
        now = op.hold, [(o.start, o.idle, o.pause) for o in self.ops[: index + 2]]
        if self.checked.get(index) != now:
            if not self.operands_in_time(index, op):
                return False
            self.checked[index] = now
        return True

    def slower(self, op, cycles=1):
        """Give the operand fetches of an operation more room in every walk."""
        channels = self.g.engine.channels
        if (
            len(op.segments) == 2
            and self.g.engine.lanes == 1
            and op.pause < 2 * len(op.operands) * channels
            and op.segments[0].channels > self.g.engine.pixels + 24
        ):
            op.pause += 1  # the only bank is read in every cycle: let go of it in mid-walk
        else:
            op.idle += cycles

    def place(self):
        """One pass over the operations with the present idle and pause fields."""
        ready = self.ready = {}
        now, softmax_free, previous = self.head_wait, 0, self.ops[-1]
        timings = [self.head_wait, *((op.idle, op.pause, op.extra) for op in self.ops)]
        pairs = zip(timings, self.placed, strict=False)
        moved = next((i for i, (a, b) in enumerate(pairs) if a != b), len(self.placed))
        self.placed = timings
        for index, op in enumerate(self.ops):
            if index + 1 < moved:  # all as before up to here
                now = op.last_step + 1
                previous = op
                softmax_free = self.note_writes(op, softmax_free)
                continue
            # transfers may not follow each other faster than either operation's drain allows
            apart = self.apart(previous, op)
            start = now + op.idle + max(0, apart - op.period)
            for segment, first in self.read_times(op):
                if segment.map == "X" or segment.state:
                    continue
                there = ready[("A", op.heads[0]) if segment.map == "A" else segment.map]
                rows = slice(segment.first, segment.first + first.shape[0])
                need = (there[rows, : first.shape[1]] + 1 - first)[first < NEVER]
                start = max(start, int(need.max(initial=0)))
            start = max(
                start, now + self.t.FETCH - op.walks * op.period + op.idle, now + op.idle + op.extra
            )
            op.start, op.wait = start, start - now - op.idle
            if op is self.ops[0]:
                op.wait += self.head_wait
            now = op.last_step + 1
            previous = op
            softmax_free = self.note_writes(op, softmax_free)
        # the classifier's answer must come before the next group touches the state
        state = ready["H"]
        answer = int(state.max()) + self.g.engine.units + 8 + self.classifier_cycles
        short = answer - (now + int(state.min()))
        if short > 0:
            self.head_wait += short
            return self.place()
        return now

    def note_writes(self, op, softmax_free) -> int:
        """Enters in `ready` what an operation writes; returns when the softmax is free again."""
        ready, times = self.ready, self.write_times(op)
        if op.target == Target.SCORES:
            h, begin = op.heads[0], max(int(times.max()) + 1, softmax_free)
            unit = self.attention_unit
            op.softmax_start = begin
            ready["A", h] = np.array([[begin + unit.row_ready(j)] for j in range(self.model.n)]) - 1
            return begin + unit.cycles
        # rows of the map that this operation writes
        if op.target == Target.CONCAT:
            firsts = [h * op.out_channels for h in op.heads]
        elif op.function == Function.MIX:
            firsts = [op.heads[0] * op.out_channels]
        elif op.out.startswith("V"):
            firsts = [op.first]
        else:
            firsts = [op.row * op.out_channels] if op.out.startswith("B2") else [0]
        for row in firsts:
            size = row + op.out_channels
            if op.out not in ready or ready[op.out].shape[0] < size:
                grown = np.zeros((size, times.shape[1]), np.int64)
                if op.out in ready:
                    grown[: ready[op.out].shape[0]] = ready[op.out]
                ready[op.out] = grown
            ready[op.out][row:size] = times[op.first :]
        return softmax_free

    def operands_in_time(self, index, op) -> bool:
        """Replays an operation's operand fetches cycle by cycle.

        Returns False after it gave the operation more time: `hold` lets the first walk's fetch
        begin later (its words are still being written), `extra` its first step, `idle` or `pause`
        every walk.
        """
        e = self.g.engine
        busy = [self.bank_at(other) for other in self.ops[index : index + 2]]
        transfers = [self.ops[index - 1].last_step + self.t.TRANSFER] + [
            op.start + w * op.period + op.k + op.pause - 1 + self.t.TRANSFER
            for w in range(op.walks)
        ]
        lead = self.t.OPERAND_LEAD
        free = lead - self.t.OPERAND_FOLLOW + 1  # all fetched when the sequencer goes on
        value = op.weights == Weights.VALUE
        length = self.drain_length(op) if len(op.operands) > 1 or value else 0

        def unready(name, at, row, chunk):
            if name in ("H", op.out):
                return 0
            words = self.ready[name][row * e.lanes : (row + e.channels) * e.lanes, chunk]
            return max(0, int(words.max(initial=0)) + 1 - at)

        for w in range(op.walks):
            row, chunk = (w // op.chunks) * e.channels, w % op.chunks
            begin = transfers[w] + (op.hold if w == 0 else 0)
            late, at = 0, begin + lead + (0 if value else length)
            if value:
                missing = unready(op.operand_value, at, row, chunk)
                at = self.fetch(at, busy)
                first_use = op.start + w * op.period + self.t.WEIGHT_CHOSEN
                late = at + self.t.OPERAND_READ - first_use
                at = max(at, begin + lead + length)
            else:
                missing = 0
            for name in op.operands:
                missing = max(missing, unready(name, at, row, chunk))
                at = self.fetch(at, busy)
            late = max(late, at - (transfers[w + 1] + free))
            # late even if the array left all banks alone?
            alone = (
                begin + lead + length + len(op.operands) * e.channels - (transfers[w + 1] + free)
            )
            if missing and w == 0:
                op.hold += missing
            elif late > 0 and w == 0 and (alone > 0 or value):
                op.extra += max(alone, 1)
            elif missing or late > 0:
                self.slower(op, max(1, late if value else 1))
            else:
                continue
            return False
        return True

    def fetch(self, at, busy) -> int:
        """Cycle after the last address of one operand's words (one per bank and channel index).

        busy: functions as `bank_at` gives them.
        """
        e = self.g.engine
        for _ in range(e.channels):
            pending = set(range(e.lanes))
            while pending:
                pending &= {bank(at) for bank in busy}
                at += 1
        return at

    def bank_at(self, op):
        """Function of the cycle: the bank whose address register an operation's array read takes
        then, -1 for none."""
        if op.source != Source.SHARED:
            return lambda at: -1
        chunks = self.kept("bank", op, self._banks)
        first = op.start + (self.t.ADDRESS_ONE_TAP if op.taps == 1 else self.t.ADDRESS_THREE_TAP)
        period, walks, count = op.period, op.walks, op.chunks

        def bank(at):
            walk, offset = divmod(at - first, period)
            return chunks[walk % count][offset] if 0 <= walk < walks else -1

        return bank

    def _banks(self, op):
        """The bank of each cycle of a walk, by chunk."""
        found = []
        for j in range(op.chunks):
            banks = []
            for number, segment in enumerate(op.segments):
                for c in range(segment.channels):
                    bank = (segment.first + c) % self.g.engine.lanes
                    for phase in range(op.taps):
                        read = op.taps == 1 or 0 <= j + phase - 1 < op.in_words
                        banks.append(bank if read else -1)
                if number == 0:
                    banks += [-1] * op.pause
            found.append(banks + [-1] * (op.period - len(banks)))
        return found

    def bank_reads(self, op):
        """Set of (cycle of the address register, bank) that an operation's array reads occupy."""
        bank = self.bank_at(op)
        cycles = range(op.start, op.last_step + self.t.ADDRESS_ONE_TAP + 1)
        return {(at, bank(at)) for at in cycles if bank(at) >= 0}


class _CompactSchedule(_Schedule):
    """The same for the compact engine: a value at a time, lane after lane (hw.serial.store)."""

    rest = 1  # sums are cleared between walks

    def value(self, op) -> int:
        """Cycles of a value."""
        return 4 if op.function == Function.BLEND else 2

    def values(self, op) -> int:
        """Values of a lane in a walk."""
        return self.g.engine.pixels // (2 if op.head_mode else 1)

    def good(self, index, op) -> bool:
        return self.operands_in_time(index, op)

    def _spacing(self, op) -> int:
        return self.value(op) * self.values(op) * self.g.engine.lanes

    def apart(self, previous, op) -> int:
        return self.spacing(previous) + self.t.SWITCH

    def _write_offsets(self, op):
        e, words = self.g.engine, self.g.words(op.out_columns)
        offsets = np.full((op.out_channels, max(1, words)), NEVER)
        c = np.arange(op.out_channels)
        group, lane = (c, e.lanes - 1) if op.head_mode else np.divmod(c, e.lanes)
        gated = op.function in (Function.CHANNEL, Function.RESET, Function.BLEND)
        late = 1 + self.t.WRITE + (self.t.UNIT_GATED if gated else self.t.UNIT_PLAIN)
        late = late + self.value(op) * ((lane + 1) * self.values(op) - 1)
        for j in range(op.chunks):
            last = (group * op.chunks + j) * op.period + op.period - op.idle - 1
            word = j // 2 if op.head_mode else j
            offsets[:, word] = last + self.t.TRANSFER + late
        return offsets

    def operands_in_time(self, index, op) -> bool:
        """Each operand byte has two cycles; in one of them the array must leave its bank alone."""
        e, number = self.g.engine, len(op.operands)
        following = self.ops[index + 1] if index + 1 < len(self.ops) else None
        own, others = self.bank_reads(op), self.bank_reads(following) if following else set()
        begin = 1 + (self.t.OPERAND if number == 1 else self.t.OPERANDS)
        for w in range(op.walks):
            transfer = op.start + w * op.period + op.k + op.pause - 1 + self.t.TRANSFER
            group, chunk = divmod(w, op.chunks)
            for lane in range(e.lanes):
                for place in range(e.pixels):
                    at = transfer + begin + self.value(op) * (lane * e.pixels + place)
                    for i, name in enumerate(op.operands):
                        slot = at + 2 * i
                        if name not in ("H", op.out):
                            there = self.ready[name][group * e.lanes + lane, chunk]
                            if there >= slot:
                                op.extra += int(there) + 1 - slot
                                return False
                        if all((t, lane) in own for t in (slot, slot + 1)):
                            raise ValueError(f"{op.name}: no cycle in which to read operand {name}")
                        if all((t, lane) in own | others for t in (slot, slot + 1)):
                            following.extra += 1
                            return False
        return True


def bits_for(largest: int) -> int:
    """Bits of an unsigned field that holds `largest`, at least one."""
    return max(1, int(largest).bit_length())


@dataclass
class Plan:
    """A compiled row program: what the hardware is built from and what reports read.

    Attributes
    ----------
    operations : list of Operation
        In order, with addresses and times.
    cycles_per_row_group : int
        Steady-state cycles of a row group.
    fields : dict of str to list of dict
        Row program words ("walk", "drain", "operand", "store"): one dict of field values per
        operation.
    memories : list of Memory
        Every addressable memory of the design (filled from the blocks by `compile_program`).
    warnings : list of str
        What this shape wastes on this network, in words.
    """

    model: ModelConfig
    engine: EngineConfig
    geometry: Geometry
    operations: list[Operation]
    maps: dict[str, Map]
    bank_words: int
    cycles_per_row_group: int
    schedule: _Schedule
    memories: list[Memory] = field(default_factory=list)
    multipliers_beside_array: list[dict] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    fields: dict[str, list[dict[str, int]]] = field(default_factory=dict)

    @property
    def line_buffer_words(self) -> int:
        """Words per bank of the line buffer: five rows."""
        g = self.geometry
        return 5 * self.model.in_channels * g.groups(self.model.image_width)

    @property
    def row_delay(self) -> int:
        """Cycles from a row's last pixel on the wires to the first step that may read the row."""
        return timing.of(self.engine).ROW + self.model.in_channels

    @property
    def macs_per_row_group(self) -> int:
        return sum(op.macs for op in self.operations)

    @property
    def weight_words(self) -> int:
        last = self.operations[-1]
        return last.weight_base + self.weight_words_of(last)

    @property
    def constant_words(self) -> int:
        last = self.operations[-1]
        return last.constant_base + last.constants

    def weight_words_of(self, op: Operation) -> int:
        """Words of C * L bytes that an operation's weights take."""
        if op.weights != Weights.MEMORY:
            return 0
        lanes = self.geometry.head_lanes if op.head_mode else 1
        return op.out_groups * ceil(op.k / lanes)

    @property
    def frame_turn(self) -> int:
        """Cycles from a frame's last row group to the next frame's first one."""
        return timing.of(self.engine).FRAME_TURN

    @property
    def cycles_per_frame(self) -> int:
        """Cycles from frame to frame where the camera is never waited for."""
        return self.model.row_groups * self.cycles_per_row_group + self.frame_turn

    def utilisation(self) -> float:
        """Array MACs over multipliers x cycles, steady state."""
        return self.macs_per_row_group / (self.engine.multipliers * self.cycles_per_row_group)

    def field_widths(self, word: str) -> dict[str, int]:
        """Bits of each field of a program word: what its largest value needs."""
        return {
            name: bits_for(max(f[name] for f in self.fields[word])) for name in self.fields[word][0]
        }

    def locate(self, op_index: int, bank: int, address: int):
        """What an operation writes at a bank's address.

        Returns
        -------
        (stage, channel, first_column, valid_columns) or None
        """
        if not hasattr(self, "_located"):
            self._located = [None] * len(self.operations)
        if self._located[op_index] is None:
            self._located[op_index] = self._places(self.operations[op_index])
        return self._located[op_index].get((bank, address))

    def _places(self, op: Operation):
        g, e = self.geometry, self.engine
        places = {}
        if op.target == Target.SCORES:
            return places
        m = self.maps[op.out]
        words = g.words(op.out_columns)
        for index, stage in enumerate(op.stages):
            for c in range(op.out_channels):
                for w in range(words):
                    if op.target == Target.HEAD:
                        row = op.row * op.out_channels if op.out.startswith("B2") else 0
                        at = (
                            index * g.head_lanes + w % g.head_lanes,
                            m.base + (row + c) * m.groups + w // g.head_lanes,
                        )
                    else:
                        channel = c + op.first + op.operand_first * e.lanes
                        if op.target == Target.CONCAT:
                            channel = op.heads[index] * op.out_channels + c
                        at = (channel % e.lanes, m.base + (channel // e.lanes) * m.groups + w)
                    first = w * e.pixels
                    places[at] = (stage, c, first, min(e.pixels, op.out_columns - first))
        return places

    @cached_property
    def camera_period(self) -> int:
        """Fewest cycles of a row group at which a camera with even pixels never overruns.

        The camera pauses `frame_turn` cycles between frames, as the engine does. The period is
        `cycles_per_row_group` but for networks that spend most of a row group in blocks 1 and 2:
        these need rows longer than five rows can be kept.
        """
        low, high = self.cycles_per_row_group, 4 * self.cycles_per_row_group
        if self._keeps_up(low):
            return low
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._keeps_up(middle) else (middle, high)
        return high

    def _keeps_up(self, period: int, groups: int = 12) -> bool:
        """Whether each row is released before the camera's next word for its place."""
        width, frame = self.model.image_width, self.model.row_groups

        def cycle(row, column):
            turns = row // (5 * frame) * self.frame_turn
            return (row * width + column) * period // (5 * width) + turns

        ready = [cycle(row, width - 1) + self.row_delay for row in range(5 * groups)]
        # the first write is that of a whole word, or (compact) of a pixel
        first = 0 if self.engine.compact else min(self.engine.pixels, width) - 1
        released, now = 0, 0
        for t in range(groups):
            now += self.frame_turn if t and t % frame == 0 else 0
            for op in self.operations:
                now += op.wait + op.idle
                if op.need_rows:
                    now = max(now, ready[5 * t + op.need_rows - 1])
                now += op.walks * op.period - op.idle
                if op.release_rows:
                    rows = range(released, 5 * t + op.release_rows)
                    if any(now > cycle(row + 5, first) for row in rows):
                        return False
                    released = 5 * t + op.release_rows
        return True

    def predict(self, rows_ready, row_groups=None, start: int = 0) -> list[int]:
        """Cycle of the first step of each row group of a frame.

        Parameters
        ----------
        rows_ready : sequence of int
            For each row of the frame, the first cycle in which a step may read it.
        row_groups : iterable of int, optional
            The groups that are worked on (all).
        start : int
            First cycle in which the engine is free.

        Returns
        -------
        list of int
            First step of each group, then the first cycle after the last one.
        """
        groups = range(self.model.row_groups) if row_groups is None else row_groups
        times, now = [], start
        for t in groups:
            for op in self.operations:
                now += op.wait + op.idle
                if op.need_rows:
                    now = max(now, rows_ready[5 * t + op.need_rows - 1])
                if op is self.operations[0]:
                    times.append(now)
                now += op.walks * op.period - op.idle
        return [*times, now]


def _encode(plan: Plan):
    """Fill `plan.fields` from the operations."""
    g, e, model = plan.geometry, plan.engine, plan.model
    walk, drain, operand, store = [], [], [], []
    address_mask = (1 << bits_for(max(plan.bank_words, plan.line_buffer_words))) - 1
    state_words = g.state_words
    for op in plan.operations:
        segments = []
        for s in op.segments:
            if op.source == Source.CAMERA:
                segments.append((op.row * op.row_stride, 0))
            elif op.source == Source.ATTENTION:
                segments.append((0, 0))
            elif op.source == Source.HEAD:
                segments.append((plan.maps[s.map].base, 0))
            else:
                segments.append(
                    (plan.maps[s.map].base + (s.first // e.lanes) * state_words, s.first % e.lanes)
                )
        if op.source == Source.CAMERA:
            step = g.groups(model.image_width)
        elif op.source == Source.HEAD:
            step = plan.maps[op.segments[0].map].groups
        else:
            step = 1 if op.source == Source.ATTENTION else state_words
        lanes = g.head_lanes if op.head_mode else 1
        in_groups = ceil(op.in_words / lanes)
        second = len(segments) > 1
        walk.append(
            {
                "source": op.source,
                "weights": op.weights,
                "one_tap": op.taps == 1,
                "rows": op.kernel_rows - 1,
                "row_step": op.row_stride,
                "channel_step": (step - (op.kernel_rows - 1) * op.row_stride) & address_mask,
                "base0": segments[0][0],
                "bank0": segments[0][1],
                "last0": op.segments[0].channels - 1,
                "state0": op.segments[0].state,
                "two": second,
                "base1": segments[-1][0] if second else 0,
                "bank1": segments[-1][1] if second else 0,
                "last1": op.segments[-1].channels - 1 if second else 0,
                "groups": op.out_groups - 1,
                "chunks": op.chunks - 1,
                "in_groups": in_groups - 1,
                "tail": op.in_words - lanes * (in_groups - 1),
                "weight": op.weight_base,
                "idle": op.idle,
                "pause": op.pause,
                "wait": op.idle + op.wait,
                "need": op.need_rows,
                "release": op.release_rows,
                "head": op.heads[0] if op.heads else 0,
                "pad": op.zero_point != 0,
            }
        )
        a = b = 0
        if op.operand_value:
            a = plan.maps[op.operand_value].base
            b = plan.maps[op.operands[0]].base + op.operand_first * state_words
        elif op.operands:
            a = plan.maps[op.operands[0]].base
            b = plan.maps[op.operands[1]].base if len(op.operands) > 1 else 0
        both = bool(op.operand_value) or len(op.operands) > 1
        drain.append(
            {
                "groups": op.out_groups - 1,
                "chunks": op.chunks - 1,
                "function": op.function,
                "by_head": op.head_mode,
                "constant": op.constant_base,
                "constant_step": op.constant_step,
                "single": bool(op.operands) and not both,
            }
        )
        operand.append(
            {
                "groups": op.out_groups - 1,
                "chunks": op.chunks - 1,
                "fetch": bool(op.operands),
                "both": both,
                "value": bool(op.operand_value),
                "state": "H" in op.operands,
                "hold": op.hold,
                "a": a,
                "b": b,
            }
        )
        words = g.words(op.out_columns)
        m = plan.maps.get(op.out)
        base = m.base if m else 0
        if op.out.startswith("B2"):
            base += op.row * op.out_channels * m.groups
        if op.target == Target.SHARED:
            base += op.operand_first * state_words
        entry = {
            "groups": op.out_groups - 1,
            "chunks": op.chunks - 1,
            "target": op.target,
            "base": base,
            "stride": m.groups if m else 0,
            "last_word": words - 1,
            "tail": op.out_columns - (words - 1) * e.pixels,
            "pad": op.out_zero_point != 0,
            "first": op.first,
            "count": op.first + op.out_channels,
            "pool": op.head_mode,
            "blend": op.function == Function.BLEND,
            "head": op.heads[0] if op.heads else 0,
        }
        for i in range(g.heads):
            channel = op.heads[i] * op.out_channels if op.target == Target.CONCAT else 0
            entry[f"bank{i}"] = channel % e.lanes
            entry[f"address{i}"] = base + (channel // e.lanes) * state_words
        store.append(entry)
    if e.compact:
        back = [
            {
                "groups": op.out_groups - 1,
                "chunks": op.chunks - 1,
                "pool": op.head_mode,
                "turned": op.taps == 1,
                "function": op.function,
                "target": op.target,
                "constant": op.constant_base // e.lanes,
                "fetch": bool(op.operands),
                "state": "H" in op.operands,
                "a": o["a"],
                "b": o["b"],
                "tail": s["tail"],
                "pad": s["pad"],
                "last_lane": (op.out_channels - 1) % e.lanes,
                **{
                    f"base{i}": s[f"address{i}"] if op.target == Target.CONCAT else s["base"]
                    for i in range(e.lanes)
                },
            }
            for op, o, s in zip(plan.operations, operand, store, strict=True)
        ]
        plan.fields = {
            name: [{k: int(v) for k, v in f.items()} for f in fields]
            for name, fields in (("walk", walk), ("back", back))
        }
        return
    plan.fields = {
        "walk": [{k: int(v) for k, v in f.items()} for f in walk],
        "drain": [{k: int(v) for k, v in f.items()} for f in drain],
        "operand": [{k: int(v) for k, v in f.items()} for f in operand],
        "store": [{k: int(v) for k, v in f.items()} for f in store],
    }


def compile_program(model: ModelConfig, engine: EngineConfig) -> Plan:
    """Compile the row program of a network on an array.

    Raises
    ------
    ValueError
        If the shape cannot carry the network.
    """
    from hw.parallel.classifier import Classifier
    from hw.parallel.softmax import Softmax
    from hw.serial.classifier import SerialClassifier

    classifier = SerialClassifier if engine.compact else Classifier
    geometry = Geometry(model, engine)
    ops, maps = build_operations(model, geometry)
    bank_words = allocate(maps)
    unit = None
    if model.spatial_attention != "none":
        unit = Softmax.timing(columns=model.n)
    schedule = (_CompactSchedule if engine.compact else _Schedule)(
        model,
        geometry,
        ops,
        maps,
        classifier.run_cycles(channels=model.state_channels, hidden=model.classifier_hidden),
        unit,
    )
    plan = Plan(
        model=model,
        engine=engine,
        geometry=geometry,
        operations=ops,
        maps=maps,
        bank_words=bank_words,
        cycles_per_row_group=0,
        schedule=schedule,
    )
    weight = constant = 0
    shared: dict[str, Operation] = {}
    for op in ops:
        op.constants = schedule.constant_words(op) * (
            op.out_groups if op.weights == Weights.MEMORY else 1
        )
        op.constant_step = schedule.constant_words(op) if op.weights == Weights.MEMORY else 0
        if op.layers[0] in shared:  # the rows of blocks 1 and 2 use the same weights
            op.weight_base = shared[op.layers[0]].weight_base
            op.constant_base = shared[op.layers[0]].constant_base
            continue
        shared[op.layers[0]] = op
        op.weight_base, op.constant_base = weight, constant
        weight += plan.weight_words_of(op)
        constant += op.constants
    plan.cycles_per_row_group = schedule.solve()
    _encode(plan)
    _warn(plan)
    return plan


def _warn(plan: Plan):
    """Say in words what the shape wastes."""
    g, e, model = plan.geometry, plan.engine, plan.model
    for op in plan.operations:
        if (
            op.head_mode
            and g.head_lanes > 1
            and op.chunks * g.head_lanes > g.words(2 * op.out_columns)
        ):
            idle = op.chunks * g.head_lanes - g.words(2 * op.out_columns)
            if op.row == 0:
                plan.warnings.append(
                    f"{op.name}: {g.words(2 * op.out_columns)} chunks of {e.pixels} "
                    f"pixels on {g.head_lanes} lanes a head: {idle} of "
                    f"{op.chunks * g.head_lanes} lane walks idle"
                )
    if g.passes > 1 and g.heads > 1:
        plan.warnings.append(f"{model.heads} heads run in {g.passes} passes of {g.heads}")
    if plan.utilisation() < 0.5:
        plan.warnings.append(
            f"this shape uses {plan.utilisation():.0%} of its multipliers on this network"
        )
