"""The serial engine's array: multiply and accumulate in DSP cells, one drain for all lanes."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.arithmetic.multiplier import sb_mac16
from hw.common import delay

LOW = 16  # bits of a sum that a DSP cell accumulates


class SerialArray(wiring.Component):
    """P x L multipliers and accumulators, and one chain of drain registers behind all of them.

    A sum's low 16 bits are accumulated modulo 2**16, in the DSP cell where there is one (two 8 x 8
    products and two accumulators a SB_MAC16). A product is less than 2**14 in size (weights are
    -127..127), so that a sum moves by less than a quarter of those 16 bits' range: from the upper
    half into the lowest quarter it passed a multiple of 2**16 upwards, from the lower half into the
    highest quarter downwards. A small counter keeps the bits above.

    Bit-exact model: the sums inside golden.array.convolve.

    Ports
    -----
    operands : In(8 * P), an array of L
        P signed bytes each.
    weights : In(signed(8)), an array of L
        With the operands.
    add : In(1)
        The operands' products count: two cycles after them.
    clear : In(1)
        Sums begin anew; a cycle in which nothing is added.
    transfer : In(1)
        Sums move to the drain registers (`clear` may come with it).
    shift : In(1)
        The drain registers move by one; lane 0's pixel 0 leaves first.
    low : Out(16)
        Lower bits of the sum that is at the head.
    high : Out(signed(`high_bits`))
        Its bits above, a cycle later.
    """

    def __init__(self, *, pixels: int, lanes: int, acc_bits: int, cells: str = "generic"):
        self.pixels, self.lanes, self.cells = pixels, lanes, cells
        self.high_bits = max(2, acc_bits - LOW)
        super().__init__(
            {
                "operands": In(data.ArrayLayout(8 * pixels, lanes)),
                "weights": In(data.ArrayLayout(signed(8), lanes)),
                "add": In(1),
                "clear": In(1),
                "transfer": In(1),
                "shift": In(1),
                "low": Out(LOW),
                "high": Out(signed(self.high_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        count = self.pixels * self.lanes
        cleared = Signal(init=1)  # also the sums that are there at power-up
        m.d.sync += cleared.eq(self.clear)
        transferred, shifted = (
            delay(m, value, 1, name)
            for value, name in ((self.transfer, "transferred"), (self.shift, "shifted"))
        )
        lows = []
        for i in range(0, count, 2):
            if self.cells == "ice40":
                lows += self._cell(m, i, min(2, count - i))
            else:
                lows += [self._sum(m, j) for j in range(i, min(i + 2, count))]
        low_next, high_next = Const(0, LOW), Const(0, self.high_bits)
        for i in reversed(range(count)):
            low = lows[i]
            lower = Signal(name=f"lower{i}", reset_less=True)  # it was in the lower half
            high = Signal(signed(self.high_bits), name=f"high{i}", reset_less=True)
            passed = Signal(name=f"passed{i}")
            m.d.comb += passed.eq(Mux(lower, low[14:] == 3, low[14:] == 0))
            m.d.sync += lower.eq(~low[-1])
            with m.If(cleared):
                m.d.sync += high.eq(0)
            with m.Elif(passed):
                step = Cat(1, lower.replicate(self.high_bits - 1)).as_signed()
                m.d.sync += high.eq(high + step)
            low_drain = Signal(LOW, name=f"low_drain{i}", reset_less=True)
            high_drain = Signal(self.high_bits, name=f"high_drain{i}", reset_less=True)
            with m.If(self.transfer | self.shift):
                m.d.sync += low_drain.eq(Mux(self.transfer, low, low_next))
            # the counter is a cycle behind, and so is its drain
            with m.If(transferred | shifted):
                m.d.sync += high_drain.eq(Mux(transferred, high, high_next))
            low_next, high_next = low_drain, high_drain
        m.d.comb += [self.low.eq(low_next), self.high.eq(high_next)]
        return m

    def _operand(self, i):
        lane, pixel = divmod(i, self.pixels)
        return self.operands[lane].word_select(pixel, 8), self.weights[lane]

    def _sum(self, m, i):
        """What a half cell does, in plain logic."""
        a, b = self._operand(i)
        a1 = Signal(signed(8), name=f"a{i}", reset_less=True)
        b1 = Signal(signed(8), name=f"b{i}", reset_less=True)
        product = Signal(signed(16), name=f"product{i}", reset_less=True)
        total = Signal(LOW, name=f"sum{i}", reset_less=True)
        m.d.sync += [a1.eq(a), b1.eq(b), product.eq(a1 * b1)]
        with m.If(self.clear):
            m.d.sync += total.eq(0)
        with m.Elif(self.add):
            m.d.sync += total.eq(total + product)
        return total

    def _cell(self, m, i, halves):
        """One or two sums in a DSP cell."""
        operands, weights = zip(*(self._operand(i + j) for j in range(halves)), strict=True)
        hold = ~(self.add | self.clear)
        return sb_mac16(m, f"dsp{i}", Cat(*operands), Cat(*weights), clear=self.clear, hold=hold)
