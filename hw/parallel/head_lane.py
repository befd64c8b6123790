"""A lane: P pixels times C channels, output stationary."""

from math import ceil

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.arithmetic.carry import choose, cleared
from hw.arithmetic.multiplier import REGISTERS, Multipliers
from hw.common import fan_out
from hw.plan.latency import PARALLEL

# Pixels that share one copy of the registers that command all sums: fewer than that crosses the
# device in a cycle of 10 ns.
SHARING = {"ecp5": 5, "gowin": 5}


class HeadLane(wiring.Component):
    """P x C multipliers and accumulators, and the drain registers behind them.

    Each cycle one word of P activations meets C weights (convolution, Table 1; equations 1-13).
    After a walk the sums move to the drain registers (`transfer`), of which C multiplexers make
    serial streams of P sums while the next walk runs.

    Bit-exact model: the sums inside golden.array.convolve.

    Parameters
    ----------
    pixels, channels : int
        P and C.
    acc_bits : int
        Width of a sum, signed; wide enough for every layer's worst case.
    shares_pair : bool
        The drain has one more position, taken from the neighbour (see `extra`).
    cells : str
        Kind of multiplier, see hw.arithmetic.multiplier.
    dsps : int or None
        DSP cells for it, likewise.
    operand_bits : int
        Of an operand, signed; 8 with `registers`.
    registers : int
        Of a product, likewise; without any, sums to which a pixel that is 0 adds nothing are not
        clocked: each pixel's have an enable of their own.
    packed : bool
        A DSP cell makes the products of a pixel with the weights of two channels.

    Attributes
    ----------
    latency : int
        Operand -> sum.

    Ports
    -----
    operand : In(signed(operand_bits)), an array of P
    weights : In(signed(8)), an array of C, with `operand`
    valid, first : In(1)
        The product counts; it begins a sum: `lead` before the product of `operand` (which is its
        multiplier's latency after it).
    transfer : In(1)
        `lead` before the sums are complete (`latency` after the last operand).
    extra : In(signed(acc_bits)), an array of C
        Position P of the drain, the pixel that pairs with position P - 1.
    head : Out(signed(acc_bits)), an array of C
        The first one `drain` after the transfer, then one a cycle.
    lowest : Out(signed(acc_bits)), an array of C
        Sums of pixel 0 (the neighbour's `extra`).
    """

    drain = PARALLEL.drain
    lead = 1

    def __init__(
        self,
        *,
        pixels: int,
        channels: int,
        acc_bits: int,
        shares_pair: bool = False,
        cells: str = "generic",
        dsps: int | None = None,
        operand_bits: int = 8,
        registers: int = REGISTERS,
        packed: bool = False,
    ):
        self.pixels, self.channels, self.acc_bits = pixels, channels, acc_bits
        self.shares_pair, self.cells = shares_pair, cells
        pairs = None
        if packed:
            pairs = [
                (c * pixels + p, (c + 1) * pixels + p)
                for c in range(0, channels - 1, 2)
                for p in range(pixels)
            ]
        self.rests = not registers
        self.multipliers = Multipliers(
            count=pixels * channels,
            kind=cells,
            dsps=dsps,
            registers=registers,
            a_bits=operand_bits,
            pairs=pairs,
        )
        self.latency = self.multipliers.latency + 1
        sums = data.ArrayLayout(signed(acc_bits), channels)
        super().__init__(
            {
                "operand": In(data.ArrayLayout(signed(operand_bits), pixels)),
                "weights": In(data.ArrayLayout(signed(8), channels)),
                "valid": In(1),
                "first": In(1),
                "transfer": In(1),
                "extra": In(sums),
                "head": Out(sums),
                "lowest": Out(sums),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.multipliers = multipliers = self.multipliers
        together = SHARING.get(self.cells, self.pixels)
        count = self.channels * ceil(self.pixels / together)
        valids, firsts, transfers = (
            fan_out(m, getattr(self, name), count, self.cells, name)
            for name in ("valid", "first", "transfer")
        )
        # which sum leaves: copies for each channel, for the same reason
        positions = self.pixels + self.shares_pair
        position, following = Signal(range(positions)), Signal(range(positions))
        m.d.comb += following.eq(
            Mux(transfers[0], 0, Mux(position == positions - 1, position, position + 1))
        )
        m.d.sync += position.eq(following)
        bits = [
            fan_out(m, bit, self.channels, self.cells, f"position{i}")
            for i, bit in enumerate(following)
        ]
        for c in range(self.channels):
            drains = []
            for p in range(self.pixels):
                part = c * ceil(self.pixels / together) + p // together
                valid, first, transfer = valids[part], firsts[part], transfers[part]
                # Stages 1, 2 (packed: 3, without registers: none): product; then the sum
                i = c * self.pixels + p
                m.d.comb += [
                    multipliers.a[i].eq(self.operand[p]),
                    multipliers.b[i].eq(self.weights[c]),
                ]
                product = multipliers.product[i]
                total = Signal(signed(self.acc_bits), name=f"sum{c}_{p}", reset_less=True)
                drain = Signal(signed(self.acc_bits), name=f"drain{c}_{p}", reset_less=True)
                adds = valid
                if self.rests:
                    adds = valid & (first | self.operand[p].any())
                with m.If(adds):
                    m.d.sync += total.eq(
                        cleared(m, product, total, first, self.acc_bits, self.cells, f"next{c}_{p}")
                    )
                with m.If(transfer):
                    m.d.sync += drain.eq(total)
                drains.append(drain)
                if p == 0:
                    m.d.comb += self.lowest[c].eq(total)
            if self.shares_pair:
                beyond = Signal(signed(self.acc_bits), name=f"drain{c}_extra", reset_less=True)
                with m.If(transfer):
                    m.d.sync += beyond.eq(self.extra[c])
                drains.append(beyond)
            head = Signal(signed(self.acc_bits), name=f"head{c}", reset_less=True)
            place = Cat(bit[c] for bit in bits)
            m.d.sync += head.eq(choose(m, drains, place, self.cells, f"chosen{c}"))
            m.d.comb += self.head[c].eq(head)
        return m
