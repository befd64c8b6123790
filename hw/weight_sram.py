"""Weight SRAM: the words of all walks, in pieces that an FPGA's memory blocks can hold."""

from amaranth.hdl import ClockSignal, Const, Instance, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.common import NO_COLLISION, delay
from hw.interfaces import write_port
from hw.plan.latency import PARALLEL

PIECE = {"generic": None, "ecp5": 2048, "ice40": 16384, "gowin": 2048}
"""Words of a piece by kind of cells: the depth of a block of 18 kbit that is 9 bits wide, of an
SPRAM."""
BLOCK_BITS = 18432
SPRAM_BITS = 16


def pieces(depth: int, bits: int, cells: str) -> list[int]:
    """Words of each piece.

    What is left after the whole pieces is a whole one, too, if it is deeper than one block of its
    width: synthesis would put such blocks behind each other, and a choice before the register.
    """
    piece = PIECE[cells] or depth
    whole, rest = divmod(depth, piece)
    if rest and piece * 9 == BLOCK_BITS:
        width = next((w for w in (9, 18) if bits <= w), 36)
        rest = rest if rest <= BLOCK_BITS // width else piece
    return [piece] * whole + ([rest] if rest else [])


class WeightSram(wiring.Component):
    """One write and one read port over pieces with a register behind each.

    A block RAM's output is so slow that a choice between blocks has to wait for the next cycle.

    On iCE40, memories that begin empty are SPRAM. It has one port: a write goes before a read, and
    leaves `word` undefined until the next read. (The loader writes while the engine rests.) SPRAM
    cannot be initialised but Amaranth's memories always are, so that synthesis would not take it
    for them: it is instantiated.

    Parameters
    ----------
    depth, bits : int
        Words and bits of a word.
    init : sequence of int
        First contents, may be empty.
    cells : str
        Kind of FPGA cells, see hw.arithmetic.multiplier.
    registered : bool
        A register behind each piece and one behind their choice; else `word` comes one cycle after
        `address`.

    Ports
    -----
    write : Out(write_port(depth, bits))
    read_en : In(1), 1 where nobody drives it
        All pieces are read.
    address : In(range(depth)), with `read_en`
        Registered outside.
    word : Out(bits)
        `latency` cycles after `address`, until the next word is read; with several pieces only as
        long as `address` is in the same one.
    """

    latency = PARALLEL.weight_memory

    def __init__(self, *, depth: int, bits: int, init=(), cells: str = "generic", registered=True):
        self.depth, self.bits, self.init, self.cells = depth, bits, list(init), cells
        self.registered = registered
        self.piece, self.pieces = PIECE[cells] or depth, pieces(depth, bits, cells)
        self.spram = cells == "ice40" and not self.init
        super().__init__(
            {
                "write": Out(write_port(depth, bits)),
                "read_en": In(1, init=1),
                "address": In(range(depth)),
                "word": Out(bits),
            }
        )

    def elaborate(self, platform):
        m = Module()
        count = len(self.pieces)
        low = (self.piece - 1).bit_length()
        late = 2 if self.registered else 1
        domain = "sync" if self.registered else "comb"
        which = delay(m, self.address[low:], late, "which", reset_less=True) if count > 1 else None
        chosen = 0
        for i in range(count):
            here = self.write.addr[low:] == i if count > 1 else 1
            data = (self._spram if self.spram else self._memory)(m, i, self.write.en & here)
            # Stage 1: memory; Stage 2: its register; Stage 3: the piece's word
            register = Signal(self.bits, name=f"output{i}", reset_less=True)
            m.d[domain] += register.eq(data)
            chosen = chosen | (Mux(which == i, register, 0) if count > 1 else register)
        m.d[domain] += self.word.eq(chosen)
        return m

    def _memory(self, m: Module, index: int, write_en):
        """A piece as a memory of two ports; returns what it has read."""
        first = index * self.piece
        memory = m.submodules[f"piece{index}"] = Memory(
            shape=self.bits,
            depth=self.pieces[index],
            init=self.init[first : first + self.piece],
            attrs=NO_COLLISION,
        )
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.en.eq(write_en),
            write.addr.eq(self.write.addr),
            write.data.eq(self.write.data),
            read.addr.eq(self.address),
            read.en.eq(self.read_en),
        ]
        return read.data

    def _spram(self, m: Module, index: int, write_en):
        """A piece as SPRAMs side by side; returns what they have read."""
        count = -(-self.bits // SPRAM_BITS)
        address = Signal(range(self.piece), name=f"address{index}")
        data = Signal(count * SPRAM_BITS, name=f"data{index}")
        read = Signal.like(data, name=f"read{index}")
        m.d.comb += [
            address.eq(Mux(self.write.en, self.write.addr, self.address)),
            data.eq(self.write.data),
        ]
        for i in range(count):
            part = slice(i * SPRAM_BITS, (i + 1) * SPRAM_BITS)
            m.submodules[f"spram{index}_{i}"] = Instance(
                "SB_SPRAM256KA",
                i_CLOCK=ClockSignal(),
                i_ADDRESS=address,
                i_DATAIN=data[part],
                i_MASKWREN=Const(0b1111, 4),
                i_WREN=write_en,
                i_CHIPSELECT=write_en | self.read_en,
                i_STANDBY=Const(0, 1),
                i_SLEEP=Const(0, 1),
                i_POWEROFF=Const(1, 1),  # low turns it off
                o_DATAOUT=read[part],
            )
        return read[: self.bits]
