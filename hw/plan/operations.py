"""The operations of a row group: what is computed in which order, from which maps."""

from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from math import ceil

from golden.config import ModelConfig
from hw.plan.banks import Map
from hw.plan.engine_config import Geometry


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
