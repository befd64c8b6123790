"""The compact engine's array: multiply and accumulate in DSP cells, one drain for all lanes."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.common import delay

LOW = 16  # bits of a sum that a DSP cell accumulates
_CELL_OFF = (
    *("AHOLD", "BHOLD", "CHOLD", "DHOLD", "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT"),
    *("ADDSUBTOP", "ADDSUBBOT", "CI", "ACCUMCI", "SIGNEXTIN"),
)


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
    operands : in, L words of P bytes; weights : in, L bytes, valid with them
    add : in, their products count: two cycles after the operands
    clear : in, sums begin anew; a cycle in which nothing is added
    transfer : in, sums move to the drain registers (`clear` may come with it)
    shift : in, the drain registers move by one; lane 0's pixel 0 leaves first
    low : out, the 16 lower bits of the sum that is at the head
    high : out, its bits above, a cycle later
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
        """Two sums in a SB_MAC16. Registered always: nextpnr-ice40 times no other use of it."""
        pairs = [self._operand(i + j) for j in range(halves)]
        pairs += [(Const(0, 8), Const(0, 8))] * (2 - halves)
        wide = Signal(32, name=f"sums{i}")
        hold = ~(self.add | self.clear)
        half = {"ADDSUB_LOWERINPUT": 1, "OUTPUT_SELECT": 1, "ADDSUB_CARRYSELECT": 0}
        m.submodules[f"dsp{i}"] = Instance(
            "SB_MAC16",
            p_NEG_TRIGGER=Const(0, 1),
            p_C_REG=Const(0, 1),
            p_A_REG=Const(1, 1),
            p_B_REG=Const(1, 1),
            p_D_REG=Const(0, 1),
            p_TOP_8x8_MULT_REG=Const(1, 1),
            p_BOT_8x8_MULT_REG=Const(1, 1),
            p_PIPELINE_16x16_MULT_REG1=Const(0, 1),
            p_PIPELINE_16x16_MULT_REG2=Const(0, 1),
            p_TOPADDSUB_UPPERINPUT=Const(0, 1),
            p_BOTADDSUB_UPPERINPUT=Const(0, 1),
            **{f"p_{s}{k}": Const(v, 2) for s in ("TOP", "BOT") for k, v in half.items()},
            p_MODE_8x8=Const(1, 1),
            p_A_SIGNED=Const(1, 1),
            p_B_SIGNED=Const(1, 1),
            i_CLK=ClockSignal(),
            i_CE=1,
            i_A=Cat(pairs[0][0], pairs[1][0]),
            i_B=Cat(pairs[0][1], pairs[1][1]),
            i_C=Const(0, 16),
            i_D=Const(0, 16),
            i_OLOADTOP=self.clear,
            i_OLOADBOT=self.clear,
            i_OHOLDTOP=hold,
            i_OHOLDBOT=hold,
            **{f"i_{name}": 0 for name in _CELL_OFF},
            o_O=wide,
        )
        return [wide[16 * j : 16 * j + 16] for j in range(halves)]
