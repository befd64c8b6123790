"""Small shared pieces: delay lines and program ROMs."""

from functools import reduce
from operator import or_

from amaranth.hdl import ClockSignal, Const, Instance, Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.memory import Memory

from hw.plan import Plan


def delay(m: Module, value, cycles: int, name: str, reset_less: bool = False):
    """`value` as it was `cycles` cycles ago.

    Parameters
    ----------
    reset_less : bool
        Data may be; control that starts something must not, so that an abort empties the pipeline.
    """
    for i in range(cycles):
        later = Signal.like(value, name=f"{name}_{i + 1}", reset_less=reset_less)
        m.d.sync += later.eq(value)
        value = later
    return value


def own_singles(plan: Plan) -> bool:
    """Whether there are rows of one tap in head mode: each lane's own word."""
    return any(op.head_mode and op.taps == 1 for op in plan.operations)


def one_of(value, values):
    """Whether a value is one of some constants; 0 where there are none."""
    return reduce(or_, (value == each for each in values), Const(0, 1))


def fan_out(m: Module, value, count: int, cells: str, name: str) -> list[Signal]:
    """Copies of a bit, a cycle later, each with a flip-flop of its own.

    On ECP5 and Gowin the flip-flops are instantiated: synthesis would make one of all copies. They
    are not reset, neither here nor there.
    """
    copies = [Signal(name=f"{name}_copy{i}", reset_less=True) for i in range(count)]
    for i, copy in enumerate(copies):
        if cells == "ecp5":
            m.submodules[f"{name}_copy{i}"] = Instance(
                "TRELLIS_FF",
                p_GSR="DISABLED",
                p_CEMUX="1",
                p_CLKMUX="CLK",
                p_LSRMUX="LSR",
                p_REGSET="RESET",
                p_SRMODE="LSR_OVER_CE",
                i_CLK=ClockSignal(),
                i_CE=1,
                i_LSR=0,
                i_DI=value,
                o_Q=copy,
            )
        elif cells == "gowin":
            m.submodules[f"{name}_copy{i}"] = Instance(
                "DFF", p_INIT=Const(0, 1), i_CLK=ClockSignal(), i_D=value, o_Q=copy
            )
        else:
            m.d.sync += copy.eq(value)
    return copies


# Of memories whose readers never look at a word in the cycle in which it is written: without it,
# synthesis adds logic behind each bit that gives the old word then.
NO_COLLISION = {"no_rw_check": True}


def read_word(m: Module, plan: Plan, word, name: str):
    """A memory's word as the record of parts takes it: behind an output register, or as it is read
    (Latency.memory)."""
    if plan.latency.memory == 1:
        return word
    assert plan.latency.memory == 2, "memory, output register"
    register = Signal.like(word, name=name, reset_less=True)
    m.d.sync += register.eq(word)
    return register


def word_layout(plan: Plan, word: str) -> data.StructLayout:
    """Layout of a row program word: "walk", "drain", "operand", "store"; serial: "walk", "pace",
    "back"."""
    return data.StructLayout(dict(plan.field_widths(word)))


class WordFetch:
    """Prefetch of row program words: the next operation's word is always waiting.

    After `take` the following operation's word is valid in `word` CYCLES cycles later, or one less
    where it is not registered.

    Parameters
    ----------
    word : str
        See `word_layout`.
    registered : bool
        `word` is a register behind the memory; else its output.
    in_logic : bool
        The memory is to be made of LUTs: so few words.

    Attributes
    ----------
    index : value
        Operation that `word` describes.
    take : Signal
        Go on to the next one; set by the user.
    moved : Signal
        The index is new.
    word, ahead : value
        The word, and what it will be in the next cycle.
    """

    CYCLES = 3

    def __init__(
        self, m: Module, plan: Plan, word: str, *, registered: bool = True, in_logic: bool = False
    ):
        layout = word_layout(plan, word)
        fields = plan.fields[word]
        attrs = {"ram_style": "logic"} if in_logic else {}
        rom = m.submodules[f"{word}_program"] = Memory(
            shape=layout, depth=len(fields), init=fields, attrs=attrs
        )
        port = rom.read_port(domain="sync")
        self.index = Signal(range(len(fields)))
        self.take = Signal()
        self.moved = Signal(init=1)  # the only cycles in which the ROM is read
        self.ahead = self.word = port.data
        m.d.comb += port.addr.eq(self.index)
        if not in_logic:
            m.d.comb += port.en.eq(self.moved)
        m.d.sync += self.moved.eq(self.take)
        if registered:
            self.word = Signal(layout, reset_less=True)
            m.d.sync += self.word.eq(port.data)
        last = self.index == len(fields) - 1
        with m.If(self.take):
            m.d.sync += self.index.eq(Mux(last, 0, self.index + 1))
