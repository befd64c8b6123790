"""Weight SRAM: the words of all walks, in pieces that an FPGA's memory blocks can hold."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw import timing
from hw.common import NO_COLLISION, delay

PIECE = {"generic": None, "ecp5": 2048, "ice40": 16384}
"""Words of a piece by kind of cells: the depth of a DP16KD that is 9 bits wide, of an SPRAM."""


class WeightSram(wiring.Component):
    """One write and one read port over pieces with a register behind each.

    A block RAM's output is so slow that a choice between blocks has to wait for the next cycle.

    Parameters
    ----------
    depth, bits : int
        Words and bits of a word.
    init : sequence of int
        First contents, may be empty.
    cells : str
        Kind of FPGA cells, see hw.multiplier.

    Ports
    -----
    write_en, write_address, write_data : in
    read_en, address : in, registered outside; all pieces are read together
    word : out, `timing.WEIGHT_MEMORY` cycles after `address`, stays until the next word is read
    """

    latency = timing.WEIGHT_MEMORY

    def __init__(self, *, depth: int, bits: int, init=(), cells: str = "generic"):
        self.depth, self.bits, self.init, self.cells = depth, bits, list(init), cells
        self.piece = PIECE[cells] or depth
        super().__init__(
            {
                "write_en": In(1),
                "write_address": In(range(depth)),
                "write_data": In(bits),
                "read_en": In(1, init=1),
                "address": In(range(depth)),
                "word": Out(bits),
            }
        )

    def elaborate(self, platform):
        m = Module()
        count = -(-self.depth // self.piece)
        low = (self.piece - 1).bit_length()
        attrs = dict(NO_COLLISION)
        if self.cells == "ice40" and not self.init:
            attrs["ram_style"] = "huge"  # SPRAM
        which = delay(m, self.address[low:], 2, "which", reset_less=True) if count > 1 else None
        chosen = 0
        for i in range(count):
            depth = min(self.piece, self.depth - i * self.piece)
            memory = m.submodules[f"piece{i}"] = Memory(
                shape=self.bits,
                depth=depth,
                init=self.init[i * self.piece : i * self.piece + depth],
                attrs=attrs,
            )
            write, read = memory.write_port(), memory.read_port()
            here = self.write_address[low:] == i if count > 1 else 1
            m.d.comb += [
                write.en.eq(self.write_en & here),
                write.addr.eq(self.write_address),
                write.data.eq(self.write_data),
                read.addr.eq(self.address),
                read.en.eq(self.read_en),
            ]
            # Stage 1: memory; Stage 2: its register; Stage 3: the piece's word
            register = Signal(self.bits, name=f"output{i}", reset_less=True)
            m.d.sync += register.eq(read.data)
            chosen = chosen | (Mux(which == i, register, 0) if count > 1 else register)
        m.d.sync += self.word.eq(chosen)
        return m
