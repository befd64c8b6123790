"""Sums and choices that use the whole of an FPGA's cells, where synthesis does not.

An ECP5's CCU2C adds two functions of four inputs each, a LUT for two bits. Yosys only maps plain
sums to it: what is gated or cleared before costs a LUT more for each bit. Four slices choose one of
16 bits with 8 LUTs and the multiplexers behind these; Yosys takes 15 LUTs. Elsewhere all of these
are plain expressions.
"""

from amaranth.hdl import Cat, Const, Instance, Module, Mux, Signal, signed

# LUT inputs A, B, C, D count from bit 0. Low four bits: the carry that is made where the sum bit
# does not pass one on.
_ROWS = 0x7888  # (A & B) + (C & D)
_ROWS_LESS = 0x8777  # ~(A & B) + (C & D)
_CLEARED = 0xA6AA  # A + (B unless C); D = 1
_EITHER = 0x555A  # A + (C | D)


def _chain(m: Module, name: str, table: int, inputs: dict, width: int, carry: int = 0):
    """`width` bits of CCU2C cells; inputs: A, B, C, D to a value of as many bits, or one bit."""
    total = Signal(width + width % 2, name=name)
    bit = Const(carry, 1)
    for k in range(0, width, 2):
        ports = {f"o_S{j}": total[k + j] for j in (0, 1)}
        for pin, value in inputs.items():
            for j in (0, 1):
                i = 0 if len(value) == 1 else min(k + j, len(value) - 1)
                ports[f"i_{pin}{j}"] = value[i]
        following = Signal(name=f"{name}_carry{k}")
        m.submodules[f"{name}_cell{k}"] = Instance(
            "CCU2C",
            p_INIT0=Const(table, 16),
            p_INIT1=Const(table, 16),
            p_INJECT1_0="NO",
            p_INJECT1_1="NO",
            i_CIN=bit,
            o_COUT=following,
            **ports,
        )
        bit = following
    return total[:width]


def rows(m: Module, x, low, high, width: int, cells: str, name: str, less: bool = False):
    """low * x + high * 2 * x, or low * x - high * 2 * x: two rows of a product.

    Parameters
    ----------
    x : value, signed
    low, high : value, 1 bit
    width : int
        Bits of the sum, enough for it: two more than those of `x`.
    less : bool
        `high` counts negatively.

    Returns
    -------
    value, signed(width)
    """
    if cells != "ecp5":
        first, second = Mux(low, x, 0), Mux(high, x, 0) << 1
        total = Signal(signed(width), name=name)
        m.d.comb += total.eq(first - second if less else first + second)
        return total
    # the row that is complemented comes first; a carry makes it negative
    shifted, same = Cat(0, x), Cat(x, x[-1])
    inputs = {"A": shifted, "B": high, "C": same, "D": low}
    table = _ROWS_LESS if less else _ROWS
    return _chain(m, name, table, inputs, width, int(less)).as_signed()


def cleared(m: Module, term, total, clear, width: int, cells: str, name: str):
    """term + (0 if clear else total): an accumulator's next value, signed(width)."""
    if cells != "ecp5":
        return (term + Mux(clear, 0, total))[:width].as_signed()
    inputs = {"A": term, "B": total, "C": clear, "D": Const(1, 1)}
    return _chain(m, name, _CLEARED, inputs, width).as_signed()


def with_either(m: Module, a, c, d, width: int, cells: str, name: str):
    """a + (c | d), all signed; signed(width)."""
    c, d = (Cat(v, v[-1].replicate(width - len(v))) for v in (c, d))
    if cells != "ecp5":
        return (a + (c | d).as_signed())[:width].as_signed()
    inputs = {"A": a, "B": Const(0, 1), "C": c, "D": d}
    return _chain(m, name, _EITHER, inputs, width).as_signed()


def choose(m: Module, values: list, index, cells: str, name: str):
    """values[index], values of one width; anything if there is none with that index."""
    levels = len(index)
    if cells != "ecp5" or not 2 <= levels <= 4:
        for i in range(levels):
            values = [
                Mux(index[i], values[k + 1], values[k]) if k + 1 < len(values) else values[k]
                for k in range(0, len(values), 2)
            ]
        return values[0]
    values = values + [values[-1]] * ((1 << levels) - len(values))
    chosen = Signal(len(values[0]), name=name)
    for bit, out in enumerate(chosen):
        nets = [value[bit] for value in values]
        for level in range(levels):
            pairs = list(zip(nets[::2], nets[1::2], strict=True))
            nets = [Signal(name=f"{name}_{bit}_{level}_{k}") for k in range(len(pairs))]
            for k, ((low, high), net) in enumerate(zip(pairs, nets, strict=True)):
                cell = (
                    Instance(
                        "LUT4",
                        p_INIT=Const(0xCACA, 16),  # B if C else A
                        i_A=low,
                        i_B=high,
                        i_C=index[level],
                        i_D=0,
                        o_Z=net,
                    ),
                    Instance("PFUMX", i_ALUT=high, i_BLUT=low, i_C0=index[level], o_Z=net),
                    Instance("L6MUX21", i_D0=low, i_D1=high, i_SD=index[level], o_Z=net),
                )[min(level, 2)]
                m.submodules[f"{name}_{bit}_{level}_{k}_cell"] = cell
        m.d.comb += out.eq(nets[0])
    return chosen
