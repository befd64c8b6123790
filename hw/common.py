"""Small shared pieces: delay lines and program ROMs."""

from amaranth.hdl import ClockSignal, Instance, Module, Shape, Signal
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


def fan_out(m: Module, value, count: int, cells: str, name: str) -> list[Signal]:
    """Copies of a bit, a cycle later, each with a flip-flop of its own.

    On ECP5 the flip-flops are instantiated: synthesis would make one of all copies. They are not
    reset, neither here nor there.
    """
    copies = [Signal(name=f"{name}_copy{i}", reset_less=True) for i in range(count)]
    for i, copy in enumerate(copies):
        if cells != "ecp5":
            m.d.sync += copy.eq(value)
            continue
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
    return copies


# Of memories whose readers never look at a word in the cycle in which it is written: without it,
# synthesis adds logic behind each bit that gives the old word then.
NO_COLLISION = {"no_rw_check": True}


def word_layout(plan: Plan, word: str) -> data.StructLayout:
    """Layout of a row program word: "walk", "drain", "operand", "store"; serial: "walk", "back"."""
    return data.StructLayout(dict(plan.field_widths(word)))


class WordFetch:
    """Prefetch of row program words: the next operation's word is always waiting.

    After `take` the following operation's word is valid in `word` CYCLES cycles later.
    """

    CYCLES = 3

    def __init__(self, m: Module, plan: Plan, word: str):
        layout = word_layout(plan, word)
        fields = plan.fields[word]
        rom = m.submodules[f"{word}_program"] = Memory(shape=layout, depth=len(fields), init=fields)
        port = rom.read_port(domain="sync")
        self.memory = rom
        self.index = Signal(range(len(fields)))  # operation that `word` describes
        self.take = Signal()
        self.word = Signal(layout, reset_less=True)
        self.ahead = port.data  # what `word` will be in the next cycle
        following = Signal.like(self.index)
        moved = Signal(init=1)  # the index is new: the only cycles in which the ROM is read
        m.d.comb += [
            following.eq(self.index + 1),
            port.addr.eq(self.index),
            port.en.eq(moved),
        ]
        m.d.sync += moved.eq(self.take)
        if plan.engine.compact:  # the memory's own output
            self.word = port.data
        else:
            m.d.sync += self.word.eq(port.data)
        with m.If(self.take):
            m.d.sync += self.index.eq(0 if len(fields) == 1 else following)
            if len(fields) > 1:
                with m.If(self.index == len(fields) - 1):
                    m.d.sync += self.index.eq(0)

    @property
    def bits(self) -> int:
        return Shape.cast(self.memory.shape).width
