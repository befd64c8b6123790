"""Words of the row program for the way back: functions, constants, operands, what is written."""

from dataclasses import dataclass, fields

from hw.plan.memory import serial_constant_words
from hw.plan.operations import Function, Operation, Target
from hw.plan.words import Layout, Word


@dataclass(frozen=True, kw_only=True)
class DrainWord(Word):
    """What the parallel engine's channel units do with an operation's sums.

    Attributes
    ----------
    groups, chunks : int
        As in the walk word.
    function : Function
    by_head : bool
        Units of a head's lanes share their constants.
    constant : int
        First of the constants.
    constant_step : int
        Constants from a group of channels to the next; 0: all groups have the same ones.
    single : bool
        The gate takes one operand.
    """

    groups: int
    chunks: int
    function: Function
    by_head: bool
    constant: int
    constant_step: int
    single: bool

    @classmethod
    def of(cls, op: Operation, layout: Layout) -> "DrainWord":
        return cls(
            groups=op.out_groups - 1,
            chunks=op.chunks - 1,
            function=op.function,
            by_head=op.head_mode,
            constant=op.constant_base,
            constant_step=op.constant_step,
            single=len(op.operands) == 1 and not op.operand_value,
        )


@dataclass(frozen=True, kw_only=True)
class OperandWord(Word):
    """Words that the parallel engine's gates take beside the sums.

    Attributes
    ----------
    groups, chunks : int
        As in the walk word.
    fetch, both : bool
        There are operands; there are two.
    value : bool
        The first one is V: it becomes weights.
    state : bool
        An operand is the state, which is 0 in the first row group.
    hold : int
        Cycles by which the first walk's fetch begins later.
    a, b : int
        First words of the operands; 0 where there is none.
    """

    groups: int
    chunks: int
    fetch: bool
    both: bool
    value: bool
    state: bool
    hold: int
    a: int
    b: int

    @classmethod
    def of(cls, op: Operation, layout: Layout) -> "OperandWord":
        a, b = _operands(op, layout)
        return cls(
            groups=op.out_groups - 1,
            chunks=op.chunks - 1,
            fetch=bool(op.operands),
            both=bool(op.operand_value) or len(op.operands) > 1,
            value=bool(op.operand_value),
            state=op.reads_state_operand,
            hold=op.hold,
            a=a,
            b=b,
        )


def _operands(op: Operation, layout: Layout) -> tuple[int, int]:
    """First words of the two operands, V before P'; 0 where there is none."""
    names = [name for name in (op.operand_value, *op.operands) if name]
    bases = [layout.maps[name].base for name in names]
    if op.operand_value:
        bases[1] += op.operand_first * layout.geometry.state_words
    return tuple([*bases, 0, 0][:2])


@dataclass(frozen=True, kw_only=True)
class StoreWord(Word):
    """Where the parallel engine's words go.

    Attributes
    ----------
    groups, chunks : int
        As in the walk word.
    target : Target
    base, stride : int
        First word of a bank, words from a channel (n-wide: channel row) to the next.
    last_word : int
        Words of a row, less one.
    tail : int
        Pixels of the last one.
    pad : bool
        What is beyond them becomes -128, not 0.
    first, count : int
        Dummy channels before the first one; channels with them.
    pool : bool
        Pairs of pixels are pooled.
    blend : bool
        The words are the new state.
    head : int
        First head that the operation works on.
    places : tuple of (bank, address)
        ``bank0``, ``address0``, ...: for each head at a time, where its first channel goes (bank 0
        but into C).
    """

    groups: int
    chunks: int
    target: Target
    base: int
    stride: int
    last_word: int
    tail: int
    pad: bool
    first: int
    count: int
    pool: bool
    blend: bool
    head: int
    places: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, op: Operation, layout: Layout) -> "StoreWord":
        g = layout.geometry
        m = layout.maps.get(op.out)
        base = _target(op, layout)
        words = g.words(op.out_columns)
        return cls(
            groups=op.out_groups - 1,
            chunks=op.chunks - 1,
            target=op.target,
            base=base,
            stride=m.groups if m else 0,
            last_word=words - 1,
            tail=op.out_columns - (words - 1) * g.engine.pixels,
            pad=op.out_zero_point != 0,
            first=op.first,
            count=op.first + op.out_channels,
            pool=op.head_mode,
            blend=op.function == Function.BLEND,
            head=op.heads[0] if op.heads else 0,
            places=_places(op, layout),
        )

    def values(self) -> dict[str, int]:
        found = {
            field.name: int(getattr(self, field.name))
            for field in fields(self)
            if field.name != "places"
        }
        for i, (bank, address) in enumerate(self.places):
            found |= {f"bank{i}": bank, f"address{i}": address}
        return found


def _target(op: Operation, layout: Layout) -> int:
    """First word that an operation writes of a bank."""
    m = layout.maps.get(op.out)
    if m is None:
        return 0
    if op.target == Target.SHARED:
        return m.base + op.operand_first * layout.geometry.state_words
    return m.base + op.out_row * op.out_channels * m.groups


def _places(op: Operation, layout: Layout) -> tuple[tuple[int, int], ...]:
    """(bank, address) of the first channel of each head at a time."""
    g, base = layout.geometry, _target(op, layout)
    found = []
    for i in range(g.heads):
        channel = op.layers[i].first if op.target == Target.CONCAT else 0
        row, bank = divmod(channel, g.engine.lanes)
        found.append((bank, base + row * g.state_words))
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class PaceWord(Word):
    """How the serial engine's sums leave, and their constants: what is to be known while the bytes
    of the operation before are still on their way.

    Attributes
    ----------
    groups, chunks, pool
        As in drain and store word.
    blend : bool
        A value takes two operands.
    constant : int
        First word of its constants.
    """

    groups: int
    chunks: int
    pool: bool
    blend: bool
    constant: int

    @classmethod
    def of(cls, op: Operation, layout: Layout) -> "PaceWord":
        lanes = layout.geometry.engine.lanes
        return cls(
            groups=op.out_groups - 1,
            chunks=op.chunks - 1,
            pool=op.head_mode,
            blend=op.function == Function.BLEND,
            constant=op.constant_base // lanes * serial_constant_words(lanes),
        )


@dataclass(frozen=True, kw_only=True)
class BackWord(Word):
    """The rest of the serial engine's way back: what drain, operand and store word are for the
    other.

    Attributes
    ----------
    groups, chunks, pool, function, target, fetch, state, a, b, tail, pad
        As in those words.
    turned : bool
        One-tap words lie in the window turned by a byte, but in head mode.
    last_lane : int
        Lane of the last channel.
    bases : tuple of int
        ``base0``, ...: first word in each lane's bank.
    """

    groups: int
    chunks: int
    pool: bool
    turned: bool
    function: Function
    target: Target
    fetch: bool
    state: bool
    a: int
    b: int
    tail: int
    pad: bool
    last_lane: int
    bases: tuple[int, ...]

    @classmethod
    def of(cls, op: Operation, layout: Layout) -> "BackWord":
        e, base = layout.geometry.engine, _target(op, layout)
        (a, b), store = _operands(op, layout), StoreWord.of(op, layout)
        concat = op.target == Target.CONCAT
        return cls(
            groups=op.out_groups - 1,
            chunks=op.chunks - 1,
            pool=op.head_mode,
            turned=op.taps == 1 and not op.head_mode,
            function=op.function,
            target=op.target,
            fetch=bool(op.operands),
            state=op.reads_state_operand,
            a=a,
            b=b,
            tail=store.tail,
            pad=store.pad,
            last_lane=(op.out_channels - 1) % e.lanes,
            bases=tuple(store.places[i][1] if concat else base for i in range(e.lanes)),
        )

    def values(self) -> dict[str, int]:
        found = {
            field.name: int(getattr(self, field.name))
            for field in fields(self)
            if field.name != "bases"
        }
        return found | {f"base{i}": base for i, base in enumerate(self.bases)}
