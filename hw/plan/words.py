"""The words of the row program: what each sequencer reads for an operation. Here the walks'.

A ROM holds one word an operation. A field has the bits that its largest value in the program needs
(`field_widths`), at least one; all are unsigned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import ceil

from hw.plan.banks import Map
from hw.plan.engine_config import Geometry
from hw.plan.operations import Operation, Source, WeightSource


def bits_for(largest: int) -> int:
    """Bits of an unsigned field that holds `largest`, at least one."""
    return max(1, int(largest).bit_length())


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the words of a program depend on beside its operations.

    Attributes
    ----------
    geometry : Geometry
    maps : dict of str to Map
    address_bits : int
        Of an address of the line buffer or of a bank: what is added to one may wrap.
    """

    geometry: Geometry
    maps: Mapping[str, Map]
    address_bits: int


class Word:
    """A word of one of the programs."""

    def values(self) -> dict[str, int]:
        """The fields in the order of the ROM's, numbered ones spelled out."""
        return {field.name: int(getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True, kw_only=True)
class WalkWord(Word):
    """What the walk sequencer reads: words, taps and weights of an operation's walks.

    Attributes
    ----------
    source : Source
    weights : WeightSource
    one_tap : bool
        The kernel has one column, not three.
    rows : int
        Kernel rows, less one.
    row_step : int
        Words from a row of the input to the next.
    channel_step : int
        Words from the last row of a channel to the next channel's first, modulo the address.
    base0, bank0, last0, state0
        First segment: address of its first word, bank of its first channel, channels less one,
        whether it is the state.
    two : bool
        There is a second segment.
    base1, bank1, last1
        Likewise of the second one, 0 if there is none.
    groups, chunks : int
        Walks for all output channels, and across a row, less one.
    in_groups : int
        Words of a row in each bank, less one.
    tail : int
        Lanes of a head that have a word in the last of these.
    weight : int
        First word of the weights.
    idle, pause, wait : int
        Cycles between walks, between segments, and before the first walk.
    need, release : int
        Rows of the row group that it waits for, and lets go of in the end; 0: none.
    head : int
        First head that it works on.
    pad : bool
        Padding is -128, not 0.
    """

    source: Source
    weights: WeightSource
    one_tap: bool
    rows: int
    row_step: int
    channel_step: int
    base0: int
    bank0: int
    last0: int
    state0: bool
    two: bool
    base1: int
    bank1: int
    last1: int
    groups: int
    chunks: int
    in_groups: int
    tail: int
    weight: int
    idle: int
    pause: int
    wait: int
    need: int
    release: int
    head: int
    pad: bool

    @classmethod
    def of(cls, op: Operation, layout: Layout) -> "WalkWord":
        g, lanes = layout.geometry, layout.geometry.engine.lanes
        base0, bank0 = _segment(op, 0, layout)
        two = len(op.segments) > 1
        base1, bank1 = _segment(op, 1, layout) if two else (0, 0)
        if op.source == Source.CAMERA:
            step = g.groups(op.in_columns)
        elif op.source == Source.ATTENTION:
            step = 1
        else:
            step = layout.maps[op.segments[0].map].groups
        lanes = g.head_lanes if op.head_mode else 1
        in_groups = ceil(op.in_words / lanes)
        channel_step = step - (op.kernel_rows - 1) * op.row_stride
        return cls(
            source=op.source,
            weights=op.weights,
            one_tap=op.taps == 1,
            rows=op.kernel_rows - 1,
            row_step=op.row_stride,
            channel_step=channel_step & (1 << layout.address_bits) - 1,
            base0=base0,
            bank0=bank0,
            last0=op.segments[0].channels - 1,
            state0=op.segments[0].state,
            two=two,
            base1=base1,
            bank1=bank1,
            last1=op.segments[1].channels - 1 if two else 0,
            groups=op.out_groups - 1,
            chunks=op.chunks - 1,
            in_groups=in_groups - 1,
            tail=op.in_words - lanes * (in_groups - 1),
            weight=op.weight_base,
            idle=op.idle,
            pause=op.pause,
            wait=op.idle + op.wait,
            need=op.need_rows,
            release=op.release_rows,
            head=op.heads[0] if op.heads else 0,
            pad=op.zero_point != 0,
        )


def _segment(op: Operation, number: int, layout: Layout) -> tuple[int, int]:
    """Address and bank of a segment's first word."""
    segment, lanes = op.segments[number], layout.geometry.engine.lanes
    if op.source == Source.ATTENTION:
        return 0, 0
    if op.source == Source.CAMERA:
        return op.row_offset, 0
    m = layout.maps[segment.map]
    if op.source == Source.HEAD:
        return m.base + op.row_offset, 0
    row, bank = divmod(segment.first, lanes)
    return m.base + row * m.groups, bank


def field_widths(program: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Bits of each field of a program: what its largest value needs."""
    return {name: bits_for(max(word[name] for word in program)) for name in program[0]}
