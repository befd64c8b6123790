"""A lane: P pixels times C channels, output stationary."""

from math import ceil

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw import timing
from hw.common import fan_out
from hw.multiplier import Multipliers

# Pixels that share one copy of the registers that command all sums: fewer than that crosses the
# device in a cycle of 10 ns.
SHARING = {"ecp5": 5}


class HeadLane(wiring.Component):
    """P x C multipliers and accumulators, and the drain registers behind them.

    Each cycle one word of P activations meets C weights (convolution, Table 1; equations 1-13).
    After a walk the sums move to the drain registers (`transfer`) and leave as C serial streams of
    P sums while the next walk runs.

    Bit-exact model: the sums inside golden.head_lane.conv.

    Parameters
    ----------
    pixels, channels : int
        P and C.
    acc_bits : int
        Width of a sum, signed; wide enough for every layer's worst case.
    shares_pair : bool
        The drain has one more position, taken from the neighbour (see `extra`).
    cells : str
        Kind of multiplier, see hw.multiplier.
    dsps : int or None
        DSP cells for it, likewise.

    Ports
    -----
    operand : in, P bytes, signed
    weights : in, C bytes, signed, valid with `operand`
    valid, first : in, `lead` before the product of `operand` (which is its multiplier's latency
        after it): it counts; it begins a sum
    transfer : in, `lead` before the sums are complete (`timing.MULTIPLY` after the last operand)
    extra : in, C sums: position P of the drain, the pixel that pairs with position P - 1
    head : out, C sums, the first one in the cycle after they move, then one a cycle
    lowest : out, C sums of pixel 0 (the neighbour's `extra`)
    """

    latency = timing.MULTIPLY
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
    ):
        self.pixels, self.channels, self.acc_bits = pixels, channels, acc_bits
        self.shares_pair, self.cells = shares_pair, cells
        self.multipliers = Multipliers(count=pixels * channels, kind=cells, dsps=dsps)
        assert self.latency == self.multipliers.latency + 1
        sums = data.ArrayLayout(signed(acc_bits), channels)
        super().__init__(
            {
                "operand": In(data.ArrayLayout(signed(8), pixels)),
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
        for c in range(self.channels):
            previous = self.extra[c] if self.shares_pair else None
            for p in reversed(range(self.pixels)):
                part = c * ceil(self.pixels / together) + p // together
                valid, first, transfer = valids[part], firsts[part], transfers[part]
                # Stages 1, 2: product; Stage 3: sum
                i = c * self.pixels + p
                m.d.comb += [
                    multipliers.a[i].eq(self.operand[p]),
                    multipliers.b[i].eq(self.weights[c]),
                ]
                product = multipliers.product[i]
                total = Signal(signed(self.acc_bits), name=f"sum{c}_{p}", reset_less=True)
                drain = Signal(signed(self.acc_bits), name=f"drain{c}_{p}", reset_less=True)
                with m.If(valid):
                    m.d.sync += total.eq(Mux(first, 0, total) + product)
                if p == self.pixels - 1 and self.shares_pair:
                    beyond = Signal(signed(self.acc_bits), name=f"drain{c}_extra", reset_less=True)
                    with m.If(transfer):
                        m.d.sync += beyond.eq(previous)
                    previous = beyond
                with m.If(transfer):
                    m.d.sync += drain.eq(total)
                if previous is not None:
                    with m.Else():
                        m.d.sync += drain.eq(previous)
                previous = drain
                if p == 0:
                    m.d.comb += [self.head[c].eq(drain), self.lowest[c].eq(total)]
        return m
