"""HDMI: what the camera sees and what the network makes of it, on a screen."""

from dataclasses import dataclass
from typing import ClassVar

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import connect

from boards import fit
from boards.clocks import Ecp5Pll
from boards.outputs.output import Room, Taps
from boards.video.display import Display
from golden.screen import Layout
from golden.video import VGA, Mode
from hw.interfaces import Decision, RowEvent

_LUT = 1900
"""Alone, of what Yosys makes of it: 1,404 tables, 191 carry cells, 12 LUT RAMs."""
_HEAT_BLOCKS = 1
"""Bars, font and text lie in LUTs."""


@dataclass(frozen=True, kw_only=True)
class Hdmi:
    """A DVI picture at differential pins; no sound, nothing read of the screen.

    The picture is kept as it comes where block RAMs suffice, else each second row and pixel.

    Attributes
    ----------
    resource : (str, int)
        With subsignals `clk` and `d`: blue, green, red.
    mode : Mode
        Its pixel clock and five times that are made of the oscillator by a PLL of its own.
    """

    resource: tuple[str, int] = ("hdmi", 0)
    mode: Mode = VGA
    default: bool = False
    name: ClassVar[str] = "hdmi"
    asks: ClassVar[bool] = False

    def room(self, board, plan, free: int) -> Room:
        """ValueError without a camera or read-back, and where no picture fits."""
        if board.camera is None:
            raise ValueError(f"{board.name} has no camera to see with: leave OUTPUTS=hdmi away")
        if board.events_only or board.device.family != "ecp5":
            raise ValueError(f"OUTPUTS=hdmi must go to an ECP5 with read-back, not {board.name}")
        blocks = self._blocks(self.layout(plan, free))
        if blocks > free:
            raise ValueError(
                f"OUTPUTS=hdmi must find {blocks} block RAMs left on {board.name}, not {free}"
            )
        return Room(lut=_LUT, bram=blocks)

    @staticmethod
    def _blocks(layout: Layout) -> int:
        bits = 8 if layout.model.in_channels == 1 else 9
        return fit.blocks(layout.rows * layout.columns, bits, "ecp5") + _HEAT_BLOCKS

    def layout(self, plan, free: int) -> Layout:
        """As much of the picture as there is room for; free: block RAMs."""
        fine, coarse = (Layout(mode=self.mode, model=plan.model, step=step) for step in (1, 2))
        return fine if self._blocks(fine) <= free else coarse

    def add_to(self, m: Module, taps: Taps) -> None:
        model, engine = taps.plan.model, taps.plan.engine
        self._clocks(m, taps)
        m.submodules.display = display = Display(
            layout=self.layout(taps.plan, taps.free),
            weights=taps.weights,
            pixels=engine.pixels,
            counters=len(taps.toggles),
        )
        connect(m, taps.pixels, display.pixels)
        connect(m, display.state, taps.state)
        m.d.comb += display.toggles.eq(taps.toggles)
        for name, signature in (("row", RowEvent), ("decision", Decision)):
            for member in signature(model.class_count).members:
                source, sink = (getattr(getattr(x, name), member) for x in (taps, display))
                pairs = zip(sink, source, strict=True) if member == "logits" else [(sink, source)]
                m.d.comb += [a.eq(b) for a, b in pairs]
        port = taps.platform.request(*self.resource, dir="-")
        for i, (name, pin) in enumerate(
            (("blue", port.d[0]), ("green", port.d[1]), ("red", port.d[2]), ("clock", port.clk))
        ):
            buffer = io.DDRBuffer("o", pin, o_domain="shift")
            m.submodules[f"pin_hdmi_{name}"] = buffer
            m.d.comb += Cat(buffer.o[0], buffer.o[1]).eq(display.pairs[i])

    def _clocks(self, m, taps):
        """Domains `video` and `shift`."""
        fast, slow, locked = (Signal(name=f"video_{n}") for n in ("shift", "pixel", "locked"))
        pll = Ecp5Pll.find(
            input_hz=taps.board.oscillator_hz,
            output_hz=5 * self.mode.clock_hz,
            second_hz=self.mode.clock_hz,
        )
        if pll.second_div != 5 * pll.output_div:
            raise ValueError(f"no PLL setting makes a clock and five times it near {self.mode}")
        pll.add_to(m, taps.oscillator, (fast, slow), locked, name="video_pll")
        m.domains.video = ClockDomain()
        m.domains.shift = ClockDomain(reset_less=True)
        m.d.comb += [ClockSignal("video").eq(slow), ClockSignal("shift").eq(fast)]
        m.submodules.video_reset = ResetSynchronizer(~locked, domain="video")
        for clock, hertz in ((fast, pll.output_hz), (slow, pll.second_hz)):
            clock.attrs["keep"] = 1
            taps.platform.add_clock_constraint(clock, hertz)
