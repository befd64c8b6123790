"""The operations of a row group: what is computed in which order, from which maps.

`build_operations` walks the network's table of layers (golden.network). Heads go through their
blocks depth first in rows: a block's row is computed as soon as the rows that it reads are there,
so that little has to be kept.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from itertools import pairwise
from math import ceil

from golden.config import ModelConfig
from golden.network import Layer, Part
from hw.plan.banks import Map
from hw.plan.engine_config import Geometry

STATE = "H"
"""The state's map, see golden.network."""


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
    CONCAT = 2  # the last block's pooled words into C, one word a cycle
    SCORES = 3  # rows of S into the attention SRAM, one word a cycle


FUNCTIONS = {
    Part.HEAD: Function.RELU,
    Part.KEY: Function.SIGNED,
    Part.SCORE: Function.SIGNED,
    Part.VALUE: Function.SIGNED,
    Part.MIX: Function.MIX,
    Part.ATTENTION_HIDDEN: Function.RELU,
    Part.ATTENTION_GATE: Function.CHANNEL,
    Part.PROJECTION: Function.RELU,
    Part.RESET: Function.RESET,
    Part.UPDATE: Function.UPDATE,
    Part.CANDIDATE: Function.BLEND,
}
"""What the channel units do for each part of the network."""

_NAMES = {
    Part.KEY: "k{head}",
    Part.SCORE: "s{head}",
    Part.VALUE: "v{head}",
    Part.MIX: "a{head}",
    Part.ATTENTION_HIDDEN: "ca1",
    Part.ATTENTION_GATE: "ca2",
    Part.PROJECTION: "p{number}",
    Part.RESET: "r",
    Part.UPDATE: "u",
    Part.CANDIDATE: "n",
}

_HOLDS = {
    Part.HEAD: "heads",
    Part.KEY: "spatial attention",
    Part.VALUE: "spatial attention",
    Part.ATTENTION_HIDDEN: "channel attention",
    Part.PROJECTION: "projection",
    Part.RESET: "GRU",
    Part.UPDATE: "GRU",
    Part.CANDIDATE: "state",
}

# All heads' scores first: the softmax works on them while the array computes V.
_SPATIAL_ORDER = {Part.KEY: 0, Part.SCORE: 0, Part.VALUE: 1, Part.MIX: 2}


@dataclass(frozen=True)
class Segment:
    """A run of input channels read one after the other from one map.

    Attributes
    ----------
    map : str
        "X" for the line buffer, "A.0" for a head's attention weights, else a key of `Plan.maps`.
    channels : int
    first : int
        First channel within the map.
    state : bool
        It is the state, which is there from the row group before.
    """

    map: str
    channels: int
    first: int = 0
    state: bool = False


@dataclass(frozen=True, kw_only=True)
class Times:
    """When an operation runs, in cycles of the steady row group; the schedule solves them.

    Attributes
    ----------
    start : int
        Cycle of the first step.
    idle : int
        Cycles between walks.
    pause : int
        Idle cycles between the two segments of a walk.
    wait : int
        Cycles before the first walk, beside `idle`.
    hold : int
        Cycles by which the first walk's operand fetch begins later.
    extra : int
        Cycles of `wait` that the first walk's operands need.
    """

    start: int = 0
    idle: int = 0
    pause: int = 0
    wait: int = 0
    hold: int = 0
    extra: int = 0


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation of the row program (all walks of a layer, or of one row of it).

    A walk is `idle` + K cycles; `wait` more come before the first one.

    Attributes
    ----------
    name : str
        A label: ``c2.0p1`` is block 2, row 0, pass 1. Nobody reads it but people.
    layers : tuple of Layer
        The network's layer of each head that works in it, or one.
    row : int
        Row of the block's output that it computes.
    source, weights, target, function
        See the enumerations.
    segments : tuple of Segment
        What it reads, in order.
    out : str
        Map that it writes.
    in_row, out_row : int
        Rows of the maps that it begins to read at and writes (0 where a map holds one row).
    heads : tuple of int
    chunks, out_groups : int
        Walks across a row, and for all output channels.
    in_words : int
        Words of a row that it reads.
    row_stride : int
        Words of a bank from a row of the input map to the next; 0 if the kernel has one row.
    row_offset : int
        Words of a bank from the input map's first row to the one that it begins at.
    first : int
        Dummy channels before the first one, so that lane l meets bank l.
    operands : tuple of str
        Maps whose bytes the gate takes.
    operand_first : int
        First channel row of the operands and of the target.
    operand_value : str
        Map whose bytes are the weights (V A), or "".
    zero_point, out_zero_point : int
        Of the words that it reads (padding) and writes.
    need_rows, release_rows : int
        Rows of the row group that it waits for, and that it lets go of; 0: none.
    weight_base, constant_base : int
        First words of its weights and constants.
    constant_step, constants : int
        Constants from one group of channels to the next; all of its constants.
    times : Times
    """

    name: str
    layers: tuple[Layer, ...]
    row: int = 0
    source: Source = Source.SHARED
    weights: Weights = Weights.MEMORY
    target: Target = Target.SHARED
    function: Function
    segments: tuple[Segment, ...]
    out: str
    in_row: int = 0
    out_row: int = 0
    heads: tuple[int, ...] = ()
    chunks: int = 1
    out_groups: int = 1
    in_words: int = 1
    row_stride: int = 0
    row_offset: int = 0
    first: int = 0
    operands: tuple[str, ...] = ()
    operand_first: int = 0
    operand_value: str = ""
    zero_point: int = 0
    out_zero_point: int = 0
    need_rows: int = 0
    release_rows: int = 0
    weight_base: int = 0
    constant_base: int = 0
    constant_step: int = 0
    constants: int = 0
    times: Times = field(default_factory=Times)

    # ---- of its layer ----

    @property
    def layer(self) -> Layer:
        """Its layer, the first head's if it works on several."""
        return self.layers[0]

    @cached_property
    def taps(self) -> int:
        """Columns of the kernel: 1 or 3."""
        return self.layer.kernel_cols

    @cached_property
    def kernel_rows(self) -> int:
        return self.layer.kernel_rows

    @cached_property
    def out_channels(self) -> int:
        return self.layer.out_channels

    @cached_property
    def in_columns(self) -> int:
        return self.layer.columns_in

    @cached_property
    def out_columns(self) -> int:
        return self.layer.columns_out

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """Golden's name of what it writes, for each head."""
        return tuple(layer.stages[self.row] for layer in self.layers)

    @property
    def stage(self) -> str:
        return self.stages[0]

    @cached_property
    def macs(self) -> int:
        """Products that the network needs (padding included)."""
        return len(self.layers) * self.layer.macs // self.layer.rows_out

    @cached_property
    def k(self) -> int:
        """Multiply-accumulate steps of a walk."""
        return self.layer.taps

    @property
    def head_mode(self) -> bool:
        """Each head's lanes read their own words, or the camera's; its words are pooled."""
        return self.source in (Source.CAMERA, Source.HEAD)

    @property
    def reads_state_operand(self) -> bool:
        return STATE in self.operands

    @property
    def writes_state(self) -> bool:
        return self.out == STATE

    # ---- times ----

    @property
    def walks(self) -> int:
        return self.out_groups * self.chunks

    @property
    def start(self) -> int:
        """Cycle of the first step in the steady row group."""
        return self.times.start

    @property
    def idle(self) -> int:
        return self.times.idle

    @property
    def pause(self) -> int:
        return self.times.pause

    @property
    def wait(self) -> int:
        return self.times.wait

    @property
    def hold(self) -> int:
        return self.times.hold

    @property
    def period(self) -> int:
        """Cycles from walk to walk."""
        return self.idle + self.pause + self.k

    @property
    def cycles(self) -> int:
        """Cycles of the operation with its waits."""
        return self.wait + self.walks * self.period

    @property
    def last_step(self) -> int:
        """Cycle of the last step in the steady row group."""
        return self.start + self.walks * self.period - self.idle - 1


class _Builder:
    """Operations and maps as they come."""

    def __init__(self, model: ModelConfig, geometry: Geometry):
        self.model, self.g, self.engine = model, geometry, geometry.engine
        self.operations: list[Operation] = []
        self.maps: dict[str, Map] = {}
        self.bases: dict[str, tuple[int, int]] = {}  # layer -> of its weights and constants
        self.weight = self.constant = 0

    def map(self, name: str, layer: Layer, **shape) -> str:
        """Add a map that `layer` is the first to write, if there is none of that name."""
        if name not in self.maps:
            holds = "features" if name == "C" else _HOLDS[layer.part]
            self.maps[name] = Map(name=name, holds=holds, **shape)
        return name

    def narrow(self, name: str, layer: Layer, channels: int) -> str:
        """Likewise an n-wide map."""
        words = self.g.bank_words(channels)
        return self.map(name, layer, words=words, wide=False, groups=self.g.state_words)

    def add(self, **fields) -> None:
        """Add an operation; rows of a block share their weights and constants."""
        op = Operation(**fields)
        name, own = op.layer.name, op.weights == Weights.MEMORY
        each = self.g.constant_words(op.head_mode)
        constants = each * op.out_groups if own else each
        if name not in self.bases:
            self.bases[name] = self.weight, self.constant
            self.weight += weight_words(op, self.g)
            self.constant += constants
        weight_base, constant_base = self.bases[name]
        self.operations.append(
            replace(
                op,
                weight_base=weight_base,
                constant_base=constant_base,
                constant_step=each if own else 0,
                constants=constants,
            )
        )

    # ---- heads ----

    def heads(self) -> None:
        """The blocks of all heads: in runs, which begin with a kernel of several rows."""
        blocks = self.model.head_layers(0)
        begins = [i for i, b in enumerate(blocks) if i == 0 or b.kernel_rows > 1]
        runs = [blocks[i:j] for i, j in pairwise([*begins, len(blocks)])]

        def run(number: int, row: int) -> Iterator[tuple[int, int, int]]:
            if number + 1 == len(runs):
                self.narrow("C", blocks[-1], self.model.features)
            for p in range(self.g.passes):
                for layer in runs[number]:
                    yield layer.block, row, p
            if number + 1 < len(runs):
                ahead = row - runs[number + 1][0].kernel_rows + 1
                if ahead >= 0:
                    yield from run(number + 1, ahead)

        for row in range(blocks[0].rows_out):
            for block, y, p in run(0, row):
                self.block(blocks, block, y, p)

    def block(self, blocks: tuple[Layer, ...], index: int, y: int, p: int) -> None:
        """A row of a block, for the heads of one pass."""
        g, model, layer = self.g, self.model, blocks[index]
        heads = tuple(p * g.heads + i for i in range(g.heads))
        camera, last = index == 0, index + 1 == len(blocks)
        label = f"c{index + 1}" + (f".{y}" if layer.rows_out > 1 else "")
        several = layer.kernel_rows > 1 or camera  # rows of the input lie in one map
        stride = layer.in_channels * g.groups(layer.columns_in)
        if last:
            out, out_row = layer.writes, 0
        else:
            whole = blocks[index + 1].kernel_rows > 1  # the next block reads several rows
            out, out_row = self.wide_name(layer, y, p, whole), y if whole else 0
            groups = g.groups(layer.columns_out)
            rows = layer.rows_out if whole else 1
            words = rows * layer.out_channels * groups
            self.map(out, layer, words=words, wide=True, groups=groups)
        source = "X" if camera else self.wide_name(blocks[index - 1], y, p, several)
        rows = model.rows_per_group
        through = y + 1 == layer.rows_out
        self.add(
            name=label + (f"p{p}" if g.passes > 1 else ""),
            layers=tuple(model.head_layers(h)[index] for h in heads),
            row=y,
            source=Source.CAMERA if camera else Source.HEAD,
            target=Target.CONCAT if last else Target.HEAD,
            function=FUNCTIONS[layer.part],
            segments=(Segment(source, layer.in_channels),),
            out=out,
            in_row=y if several else 0,
            out_row=out_row,
            heads=heads,
            chunks=g.chunks(layer.columns_in),
            out_groups=ceil(layer.out_channels / self.engine.channels),
            in_words=g.words(layer.columns_in),
            row_stride=stride if layer.kernel_rows > 1 else 0,
            row_offset=y * stride if several else 0,
            zero_point=layer.input_zero_point,
            out_zero_point=layer.zero_point,
            need_rows=y + layer.kernel_rows if camera and p == 0 else 0,
            release_rows=(rows if through else y + 1) if camera and p + 1 == g.passes else 0,
        )

    @staticmethod
    def wide_name(layer: Layer, y: int, p: int, whole: bool) -> str:
        """Map of a block's rows, or of one row."""
        row = "" if whole or layer.rows_out == 1 else f".{y}"
        return f"B{layer.block + 1}{row}.{p}"

    # ---- layers on n-wide maps ----

    def shared(self, layer: Layer, number: int = 1) -> None:
        """A layer (the `number`th of its part) on words that all lanes share."""
        g, part, lanes = self.g, layer.part, self.engine.lanes
        features = self.model.head_channels[-1]
        first, more = 0, {}
        if part in (Part.VALUE, Part.MIX):  # lane l takes what lies in bank l of C
            first = layer.head * features % lanes
        if part is Part.SCORE:
            more = {"weights": Weights.STATE, "target": Target.SCORES, "heads": (layer.head,)}
        elif part is Part.MIX:
            more = {
                "weights": Weights.VALUE,
                "source": Source.ATTENTION,
                "heads": (layer.head,),
                "operand_first": layer.first // lanes,
                "operand_value": layer.operand,
            }
        if part is not Part.SCORE:
            self.narrow(layer.writes, layer, first + layer.out_channels)
        self.add(
            name=_NAMES[part].format(head=layer.head, number=number),
            layers=(layer,),
            function=FUNCTIONS[part],
            segments=tuple(
                Segment(i.map, i.channels, i.first, i.map == STATE) for i in layer.inputs
            ),
            out=layer.writes,
            chunks=g.state_words,
            out_groups=ceil((first + layer.out_channels) / self.engine.units),
            in_words=g.state_words,
            first=first,
            operands=layer.gates,
            # channel attention's middle layer has no edge: nothing is padded
            zero_point=0 if part is Part.ATTENTION_GATE else layer.input_zero_point,
            out_zero_point=layer.zero_point,
            **more,
        )


def weight_words(op: Operation, geometry: Geometry) -> int:
    """Words of C * L bytes that an operation's weights take."""
    if op.weights != Weights.MEMORY:
        return 0
    return op.out_groups * ceil(op.k / (geometry.head_lanes if op.head_mode else 1))


def build_operations(
    model: ModelConfig, geometry: Geometry
) -> tuple[tuple[Operation, ...], dict[str, Map]]:
    """The operations of a row group in order, with their maps (no addresses, no times yet)."""
    build = _Builder(model, geometry)
    build.heads()
    layers = [layer for layer in model.network if layer.on_array and layer.part is not Part.HEAD]
    spatial = [layer for layer in layers if layer.part in _SPATIAL_ORDER]
    spatial.sort(key=lambda layer: (_SPATIAL_ORDER[layer.part], layer.head))
    for layer in spatial:
        build.shared(layer)
    build.narrow(STATE, model.of_part(Part.CANDIDATE)[0], model.state_channels)
    for layer in layers:
        if layer.part not in _SPATIAL_ORDER:
            build.shared(layer, 1 + model.of_part(layer.part).index(layer))
    return tuple(build.operations), _lived(build.maps, build.operations)


def _lived(maps: dict[str, Map], operations: Iterable[Operation]) -> dict[str, Map]:
    """The maps with the operations between which they live."""
    used: dict[str, list[int]] = {name: [] for name in maps}
    count = 0
    for i, op in enumerate(operations):
        for name in (op.out, *(s.map for s in op.segments), *op.operands, op.operand_value):
            if name in used:
                used[name].append(i)
        count = i + 1
    used[STATE] = [0, count]
    return {
        name: replace(m, born=min(used[name]), dies=max(used[name])) for name, m in maps.items()
    }
