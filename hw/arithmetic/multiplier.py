"""Multipliers: the array's, plain or in the cells of an FPGA family, and those beside it."""

from collections.abc import Sequence

from amaranth.hdl import (
    Cat,
    ClockSignal,
    Const,
    Instance,
    Module,
    Mux,
    Shape,
    Signal,
    Value,
    signed,
)
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.arithmetic.carry import rows
from hw.common import delay
from hw.plan.beside import tree_cycles
from hw.plan.engine_config import CELLS

_ONLY = {"ice40": "SB_MAC16", "gowin": "MULT9X9"}
"""Kinds that have no multipliers but these cells."""
REGISTERS = 2
"""Of a product on its way: its operands, itself."""


class Multipliers(wiring.Component):
    """Signed 8 x 8 products, each with registered operands and a registered result, or with none.

    Bit-exact model: a * b.

    Parameters
    ----------
    count : int
        Products, at least 1.
    kind : str
        "generic": left to synthesis. "ecp5": MULT18X18D cells with their own registers for the
        first `dsps` products, multipliers of 77 LUTs for the rest. "ice40": SB_MAC16 cells of two
        products each. "gowin": MULT9X9 cells, halves of a MULT18X18.
    dsps : int or None
        DSP cells that may be used; None: as many as are wanted. "ice40" and "gowin" have no other
        multipliers, so that they must have enough.
    registers : int
        2; or 0, only "generic" and without `pairs`: products follow their operands at once.
    a_bits : int
        Of `a`: 8; or any, without `registers`.
    pairs : sequence of (int, int), or None
        Products whose `a` are the same signal and whose `b` are within -127..127: of the first
        `dsps` pairs an "ecp5" cell makes both (`_two_products`), further cells make a product
        each. All products are a cycle later then, with an empty sequence, too.

    Attributes
    ----------
    latency : int
        `registers`, one more with `pairs`.

    Ports
    -----
    a : In(signed(a_bits)), an array of `count`
    b : In(signed(8)), likewise
    product : Out(signed(8 + a_bits)), likewise
        `latency` cycles later.

    Raises
    ------
    ValueError
        If `count`, `kind`, `dsps`, `registers`, `a_bits` or `pairs` is not as said above.
    """

    def __init__(
        self,
        *,
        count: int,
        kind: str = "generic",
        dsps: int | None = None,
        registers: int = REGISTERS,
        a_bits: int = 8,
        pairs: Sequence[tuple[int, int]] | None = None,
    ):
        if count < 1:
            raise ValueError(f"count must be at least 1, not {count}")
        if kind not in CELLS:
            raise ValueError(f"kind must be {', '.join(CELLS[:-1])} or {CELLS[-1]}, not {kind!r}")
        if dsps is not None and dsps < 0:
            raise ValueError(f"dsps must be at least 0, not {dsps}")
        wanted = self.dsps_wanted(count, kind)
        if kind in _ONLY and dsps is not None and dsps < wanted:
            raise ValueError(f"{count} products need {wanted} {_ONLY[kind]}, not {dsps}")
        if pairs is not None and kind in _ONLY:
            raise ValueError(f"kind must be generic or ecp5 with pairs, not {kind!r}")
        inside = {i for pair in pairs or () for i in pair if 0 <= i < count}
        if len(inside) != 2 * len(pairs or ()):
            raise ValueError(f"pairs must be of different products 0..{count - 1}, not {pairs}")
        plain = kind == "generic" and pairs is None
        if registers not in ((0, REGISTERS) if plain else (REGISTERS,)):
            raise ValueError(
                f"registers must be {REGISTERS}, or 0 of generic products without pairs, "
                f"not {registers}"
            )
        if a_bits != 8 and registers:
            raise ValueError(f"a_bits must be 8 with registers, not {a_bits}")
        self.count, self.kind, self.late = count, kind, pairs is not None
        self.latency = registers + self.late
        self.dsps = wanted if dsps is None else dsps
        self.pairs = list(pairs or ())[: self.dsps]
        super().__init__(
            {
                "a": In(data.ArrayLayout(signed(a_bits), count)),
                "b": In(data.ArrayLayout(signed(8), count)),
                "product": Out(data.ArrayLayout(signed(8 + a_bits), count)),
            }
        )

    @staticmethod
    def dsps_wanted(count: int, kind: str) -> int:
        """DSP cells that `count` products take where there are enough."""
        return {"generic": 0, "ecp5": count, "ice40": -(-count // 2), "gowin": count}[kind]

    def elaborate(self, platform):
        m = Module()
        if self.kind == "ice40":
            for i in range(0, self.count, 2):
                a, b, products = (port[i : i + 2] for port in self._ports())
                found = sb_mac16(m, f"dsp{i}", Cat(*a), Cat(*b))
                m.d.comb += [p.eq(value) for p, value in zip(products, found, strict=True)]
            return m
        paired, left = set(), self.dsps
        if self.kind == "ecp5":
            for i, j in self.pairs:
                found = _two_products(m, i, self.a[i], self.b[i], self.b[j])
                m.d.comb += [self.product[i].eq(found[0]), self.product[j].eq(found[1])]
                paired, left = paired | {i, j}, left - 1
        for i, (a, b, product) in enumerate(zip(*self._ports(), strict=True)):
            if i in paired:
                continue
            if self.kind == "gowin":
                m.d.comb += product.eq(_mult9x9(m, f"dsp{i}", a, b))
            elif self.kind == "ecp5":
                if left:
                    left -= 1
                    found = _mult18x18d(m, i, Cat(_LEFT, a), Cat(_LEFT, b))[20:]
                    found = delay(m, found, int(self.late), f"product{i}", reset_less=True)
                else:
                    found = _lut_multiplier(m, i, a, b, self.late)
                m.d.comb += product.eq(found)
            elif not self.latency:
                m.d.comb += product.eq(a * b)
            else:
                # Stage 1: operands; Stage 2: product
                a1 = Signal(signed(8), name=f"a{i}", reset_less=True)
                b1 = Signal(signed(8), name=f"b{i}", reset_less=True)
                p1 = Signal(signed(16), name=f"product{i}", reset_less=True)
                m.d.sync += [a1.eq(a), b1.eq(b), p1.eq(a1 * b1)]
                late = delay(m, p1, int(self.late), f"product{i}", reset_less=True)
                m.d.comb += product.eq(late)
        return m

    def _ports(self):
        return [[port[i] for i in range(self.count)] for port in (self.a, self.b, self.product)]


def _bits(name: str, value, width: int) -> dict:
    """Ports NAME0, NAME1, ... of a cell."""
    return {f"{name}{i}": value[i] for i in range(width)}


_LEFT = Const(0, 10)
"""Operands lie to the left of the 18 bits, so that no sign is extended."""


def _mult18x18d(m, index, a, b):
    """a * b, 36 bits, of two times 18 signed ones.

    Input and output registers: nextpnr-ecp5 knows the times of these two only, and the path
    between them lies inside the cell.
    """
    wide = Signal(36, name=f"product{index}")
    m.submodules[f"dsp{index}"] = Instance(
        "MULT18X18D",
        p_REG_INPUTA_CLK="CLK0",
        p_REG_INPUTB_CLK="CLK0",
        p_REG_PIPELINE_CLK="NONE",
        p_REG_OUTPUT_CLK="CLK0",
        p_GSR="DISABLED",
        p_SOURCEB_MODE="B_SHIFT",
        p_MULT_BYPASS="DISABLED",
        p_RESETMODE="SYNC",
        **_bits("i_A", a, 18),
        **_bits("i_B", b, 18),
        **_bits("o_P", wide, 36),
        **_bits("i_CE", Const(0b1111, 4), 4),
        **_bits("i_RST", Const(0, 4), 4),
        i_CLK0=ClockSignal(),
        i_CLK1=0,
        i_CLK2=0,
        i_CLK3=0,
        i_SIGNEDA=1,
        i_SIGNEDB=1,
        i_SOURCEA=0,
        i_SOURCEB=0,
    )
    return wide


def _two_products(m, index, z, x, y):
    """x * z and y * z from one cell, for x and y within -127..127 and any byte z.

    The cell multiplies ``1024 x + y`` by z. With q the product above its tenth bit and r the ten
    bits below, ``x z = q - l`` and ``y z = 1024 l + r``, l being what y z reaches beyond ten bits:
    -16..15. So l is known from five bits, ``(q - x z) mod 32``, of which x z mod 32 is made in
    LUTs. tests/test_multiplier.py goes through all triples.
    """
    # the borrow that a negative y takes
    upper = Signal(signed(8), name=f"upper{index}")
    m.d.comb += upper.eq(x - y[7])
    wide = _mult18x18d(m, index, Cat(y, y[7].replicate(2), upper), Cat(_LEFT, z))
    # Stages 1, 2: the lowest five bits of x z
    low = z[:5]
    pair = rows(m, low, x[0], x[1], 5, "ecp5", f"low{index}_0")[:5]
    other = rows(m, low[:3], x[2], x[3], 3, "ecp5", f"low{index}_2")[:3]
    first, second, top = Signal(5), Signal(3), Signal()
    least = Signal(5)
    m.d.sync += [first.eq(pair), second.eq(other), top.eq(x[4] & z[0])]
    m.d.sync += least.eq(Cat(first[:2], (first[2:] + second)[:3] ^ Cat(Const(0, 2), top)))
    # Stage 3: apart
    r, q = wide[10:20], wide[20:]
    beyond = Signal(6)  # l, and whether there was a borrow
    m.d.comb += beyond.eq(q[:5] - least)
    more, less = beyond[4] & ~beyond[5], ~beyond[4] & beyond[5]
    products = [Signal(signed(16), name=f"product{index}_{k}") for k in range(2)]
    above = q[5:] + Cat(more | less, less.replicate(10))
    m.d.sync += [
        products[0].eq(Cat(least, above[:11])),
        products[1].eq(Cat(r, beyond[:5]).as_signed()),
    ]
    return products


def _lut_multiplier(m, index, a, b, late: bool):
    """One product in carry chains: rows of partial products two by two, then two sums.

    The sign row of b counts negatively. late: with a register behind the rows.
    """
    pairs = [
        rows(m, a, b[2 * i], b[2 * i + 1], 10, "ecp5", f"pair{index}_{i}", less=i == 3)
        for i in range(4)
    ]
    pairs = [
        delay(m, pair, int(late), f"pair{index}_{i}", reset_less=True)
        for i, pair in enumerate(pairs)
    ]
    # Stage 1: four rows of partial products at a time; Stage 2: product
    quads = [Signal(signed(12), name=f"quad{index}_{i}", reset_less=True) for i in range(2)]
    result = Signal(signed(16), name=f"result{index}", reset_less=True)
    for i, quad in enumerate(quads):
        m.d.sync += quad.eq(pairs[2 * i] + (pairs[2 * i + 1] << 2))
    m.d.sync += result.eq(quads[0] + (quads[1] << 4))
    return result


def _mult9x9(m, name, a, b):
    """a * b, 18 bits, of two times 8 signed ones, with the cell's input and output registers."""
    wide = Signal(18, name=f"{name}_out")
    m.submodules[name] = Instance(
        "MULT9X9",
        **{f"p_{register}": Const(1, 1) for register in ("AREG", "BREG", "OUT_REG")},
        **{f"p_{register}": Const(0, 1) for register in _MULT9X9_OFF},
        p_MULT_RESET_MODE="SYNC",
        i_CLK=ClockSignal(),
        i_CE=1,
        i_RESET=0,
        i_A=Cat(a, a[7]),
        i_B=Cat(b, b[7]),
        i_SIA=Const(0, 9),
        i_SIB=Const(0, 9),
        i_ASIGN=1,
        i_BSIGN=1,
        i_ASEL=0,
        i_BSEL=0,
        o_DOUT=wide,
    )
    return wide[:16]


_MULT9X9_OFF = ("PIPE_REG", "ASIGN_REG", "BSIGN_REG", "SOA_REG")

_SB_MAC16_OFF = (
    *("AHOLD", "BHOLD", "CHOLD", "DHOLD", "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT"),
    *("ADDSUBTOP", "ADDSUBBOT", "CI", "ACCUMCI", "SIGNEXTIN"),
)


def sb_mac16(m: Module, name: str, a, b, clear=None, hold=None) -> list:
    """One or two signed 8 x 8 products in an iCE40's DSP cell, or sums of such products.

    Operands and results are registered always: nextpnr-ice40 times no other use of the cell.

    Parameters
    ----------
    a, b : values of one or two bytes
        The upper half multiplies the upper bytes, the lower half the lower ones.
    clear, hold : value or None
        1 bit: the sums begin anew with nothing; nothing is added. None (both): products only.

    Returns
    -------
    list
        For each byte of `a`, 16 bits: the product, two cycles after its operands, or the sum modulo
        2**16, three cycles after.
    """
    adds = clear is not None
    half = {
        "OUTPUT_SELECT": 1 if adds else 0b10,
        "ADDSUB_LOWERINPUT": int(adds),
        "ADDSUB_CARRYSELECT": 0,
    }
    wide = Signal(32, name=f"{name}_out")
    m.submodules[name] = Instance(
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
        **{f"p_{side}{k}": Const(v, 2) for side in ("TOP", "BOT") for k, v in half.items()},
        p_MODE_8x8=Const(1, 1),
        p_A_SIGNED=Const(1, 1),
        p_B_SIGNED=Const(1, 1),
        i_CLK=ClockSignal(),
        i_CE=1,
        i_A=Cat(a, Const(0, 16 - len(a))),
        i_B=Cat(b, Const(0, 16 - len(b))),
        i_C=Const(0, 16),
        i_D=Const(0, 16),
        **{f"i_OLOAD{side}": clear if adds else 0 for side in ("TOP", "BOT")},
        **{f"i_OHOLD{side}": hold if adds else 0 for side in ("TOP", "BOT")},
        **{f"i_{pin}": 0 for pin in _SB_MAC16_OFF},
        o_O=wide,
    )
    return [wide[16 * i : 16 * i + 16] for i in range(len(a) // 8)]


def times(value, factor: int):
    """``value * factor`` in shifts, sums and differences: no tool makes a DSP block of it."""
    total, shift = Const(0), 0
    while factor:
        if factor & 1:
            # A run of ones costs one difference
            digit = 2 - (factor & 3)
            total = total + (value << shift) if digit == 1 else total - (value << shift)
            factor -= digit
        factor >>= 1
        shift += 1
    return total


class TreeMultiplier(wiring.Component):
    """Product of two numbers in a pipelined tree of adders, one adder between registers.

    Written as rows and sums so that no tool spends a DSP block on it: those belong to the array.
    A new pair of operands may come every cycle.

    Parameters
    ----------
    a_shape, b_shape : shape
        Shapes of the operands, signed or unsigned. ``b`` (at least 2 bits) selects the rows: give
        the narrow one.

    Attributes
    ----------
    latency : int
        Cycles from operands to product, ``ceil(log2(len(b)))``.

    Ports
    -----
    a : In(a_shape)
    b : In(b_shape)
    o : Out(len(a) + len(b) bits, signed if a or b is)
    """

    def __init__(self, *, a_shape, b_shape):
        a_shape, b_shape = Shape.cast(a_shape), Shape.cast(b_shape)
        if a_shape.width < 1:
            raise ValueError(f"a must have at least 1 bit, not {a_shape.width}")
        if b_shape.width < 2:
            raise ValueError(f"b must have at least 2 bits, not {b_shape.width}")
        self.latency = self.cycles(b_bits=b_shape.width)
        super().__init__(
            {
                "a": In(a_shape),
                "b": In(b_shape),
                "o": Out(Shape(a_shape.width + b_shape.width, a_shape.signed or b_shape.signed)),
            }
        )

    @staticmethod
    def cycles(*, b_bits: int) -> int:
        """Latency for a ``b`` of so many bits."""
        return tree_cycles(b_bits)

    def elaborate(self, platform):
        m = Module()
        bits, b = len(self.b), self.b.as_unsigned()
        signed_b = Shape.cast(self.b.shape()).signed
        parts: list[tuple[Value, int]] = [(Mux(b[i], self.a, 0), i) for i in range(bits)]
        # Stages 1..latency: neighbours meet; the sign row of b is subtracted.
        for level in range(self.latency):
            sums = []
            for i in range(0, len(parts), 2):
                low, shift = parts[i]
                negative = signed_b and level == 0
                if i + 1 < len(parts):
                    high = parts[i + 1][0] << (parts[i + 1][1] - shift)
                    last = negative and i + 1 == bits - 1
                    value = low - high if last else low + high
                else:
                    value = -low if negative and i == bits - 1 else low
                total = Signal(value.shape(), name=f"sum{level + 1}_{i // 2}", reset_less=True)
                m.d.sync += total.eq(value)
                sums.append((total, shift))
            parts = sums
        m.d.comb += self.o.eq(parts[0][0])
        return m
