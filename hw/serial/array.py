"""The serial engine's array: multiply and accumulate in DSP cells, one drain for all lanes."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.arithmetic.multiplier import sb_mac16
from hw.common import delay
from hw.plan.serial_owners import LOW, high_bits


class SerialArray(wiring.Component):
    """P x L multipliers and accumulators, and one chain of drain registers behind all of them.

    A walk follows the one before it at once, and a DSP cell's accumulator cannot begin anew with a
    product: what it has goes on from walk to walk, modulo 2**16. What counts is by how much it
    moved, so hw.serial.starts takes off where it stood when the walk began.

    A product is less than 2**14 in size (weights are -127..127), so that a sum moves by less than a
    quarter of those 16 bits' range: from the upper half into the lowest quarter it passed a
    multiple of 2**16 upwards, from the lower half into the highest quarter downwards. A small
    counter, which begins anew with each walk, keeps how often::

        sum of a walk = high * 2**16 + low - (low of the walk before; 0 after `clear`)

    Bit-exact model: the sums inside golden.array.convolve.

    Parameters
    ----------
    pixels, lanes : int
        P, L.
    max_taps : int
        The most products of a walk.
    cells : str
        See hw.arithmetic.multiplier.

    Ports
    -----
    operands : In(8 * P), an array of L
        P signed bytes each.
    weights : In(signed(8)), an array of L
        With the operands.
    add : In(1)
        The operands' products count: two cycles after them.
    clear : In(1)
        Accumulators become 0; nothing is added in this cycle and the next.
    transfer : In(1)
        The last products of a walk are in the accumulators, which move to the drain registers. The
        next walk's first ones may be added in this cycle.
    shift : In(1)
        The drain registers move by one; lane 0's pixel 0 leaves first.
    low : Out(16)
        Of the accumulator that is at the head.
    high : Out(signed(`high_bits`))
        How often it passed a multiple of 2**16 in the walk, a cycle later.
    """

    def __init__(self, *, pixels: int, lanes: int, max_taps: int, cells: str = "generic"):
        self.pixels, self.lanes, self.cells = pixels, lanes, cells
        self.high_bits = high_bits(max_taps)
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
        transferred, shifted = (
            delay(m, value, 1, name)
            for value, name in ((self.transfer, "transferred"), (self.shift, "shifted"))
        )
        # two cycles after `clear`, when a pass that it made by chance is counted; or after power-up
        cleared, anew = Signal(init=1), Signal(init=1)
        m.d.sync += [cleared.eq(self.clear), anew.eq(self.transfer | cleared)]
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
            passed, down = Signal(name=f"passed{i}"), Signal(name=f"down{i}")
            m.d.comb += [
                passed.eq(Mux(lower, low[14:] == 3, low[14:] == 0)),
                down.eq(lower & (low[14:] == 3)),
            ]
            m.d.sync += lower.eq(~low[-1])
            # a walk's first product is counted in the cycle in which the count begins anew
            step = Cat(passed, down.replicate(self.high_bits - 1)).as_signed()
            with m.If(anew | passed):
                m.d.sync += high.eq(Mux(anew, step, high + step))
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
