"""An operation of the row program: what is computed, from which maps, when."""

from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from math import ceil

from golden.network import Layer
from hw.plan.engine_config import Geometry

STATE = "H"
"""The state's map, see golden.network."""


class Source(IntEnum):
    """Where a walk's activation words come from."""

    CAMERA = 0  # line buffer, the same words for all heads
    HEAD = 1  # each head's own banks
    SHARED = 2  # one word of an n-wide map, broadcast to all lanes
    ATTENTION = 3  # rows of A in the attention SRAM, broadcast


class WeightSource(IntEnum):
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
    weights: WeightSource = WeightSource.MEMORY
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


def weight_words(op: Operation, geometry: Geometry) -> int:
    """Words of C * L bytes that an operation's weights take."""
    if op.weights != WeightSource.MEMORY:
        return 0
    return op.out_groups * ceil(op.k / (geometry.head_lanes if op.head_mode else 1))
