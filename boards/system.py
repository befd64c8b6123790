"""A board's whole design: clocks, camera, engine, host link, outputs."""

from dataclasses import replace
from math import ceil

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import ResetSynchronizer

from boards import fit, pins
from boards.board import Board
from boards.camera.front import CameraFront
from boards.camera.sccb import SccbMaster
from boards.clocks import pll_of
from boards.event_system import EventSystem
from boards.flash import WAKE_SECONDS, FlashLoader, spi_divisor
from boards.held import Held
from boards.host_system import CAMERA_COUNTERS, HostSystem
from boards.outputs.output import Taps
from boards.uart import baud_divisor
from hw.top import Rasca

CLOCK_TIMEOUT_MS = 20
"""A camera whose clock stops for so long (at least) has stopped. Its pixels may pause for twice as
long, which they do between lines and at both ends of a frame (docs/cameras.md)."""


class System(wiring.Component):
    """`HostSystem` between a board's pins.

    Without a camera on the board, pixels come from the host only. Pins are asked of the platform,
    so that the component has no ports of its own.

    Systems of one board for two clocks differ in the PLL, the UART's divisor (`boards.held`), and
    in the table of a camera that is paced; in parameters of cells after synthesis, all three.
    Whatever else is counted are times that must last at least so long: they are counted in cycles
    of the fastest clock, `limit_hz`, and last longer with a slower one.

    Parameters
    ----------
    board : Board
    rasca : hw.top.Rasca
    """

    def __init__(self, *, board: Board, rasca: Rasca):
        self.board, self.rasca = board, rasca
        self.ice40 = board.device.family == "ice40"
        self.pll = pll_of(board, board.clock_hz)
        self.limit_hz = max(board.device.limit_hz, self.pll.output_hz)
        flash = None
        if board.weights == "loaded":
            flash = FlashLoader(
                length=rasca.engine.loader.load_bytes,
                config=rasca.config_digest,
                divisor=spi_divisor(self.limit_hz),
                wake_cycles=int(self.limit_hz * WAKE_SECONDS),
            )
        self.flash = flash
        self.host = (EventSystem if board.events_only else HostSystem)(
            rasca=rasca,
            divisor=Held(
                cycles=baud_divisor(clock_hz=self.pll.output_hz, baud=board.baud),
                most=ceil(self.limit_hz / board.baud),
                cells=board.device.family,
            ),
            flash=flash,
        )
        self.camera = self._built()
        if self.camera is not None:
            model = rasca.plan.model
            self.front = CameraFront(
                sensor=self.camera.sensor,
                height=model.image_height,
                width=model.image_width,
                binning=self.binning,
                channels=model.in_channels,
                timeout=int(self.limit_hz * CLOCK_TIMEOUT_MS / 1000),
                spacing=rasca.plan.rules.pixel_spacing,
            )
        super().__init__({})

    @property
    def binning(self) -> int:
        """Sensor pixels that make one, each way."""
        sensor, model = self.board.camera.sensor, self.rasca.plan.model
        return max(
            b
            for b in (1, 2)
            if b * model.image_height <= sensor.height and b * model.image_width <= sensor.width
        )

    @property
    def camera_frames_per_second(self) -> float | None:
        """What the camera gives with the clock that the board has for it; None without one."""
        if self.camera is None:
            return None
        found = self.camera.sensor.frames_per_second
        if self.camera.paced is not None:  # set up for that very clock
            return found
        return found * self.pll.second_hz / self.camera.clock_hz

    def _built(self):
        """The board's camera as this network wants it, and as its module is built."""
        board, camera = self.board, self._paced()
        if camera is None:
            return None
        sensor = camera.sensor.as_built(
            low_byte_first=board.camera_low_byte_first, falling=board.camera_falling
        )
        return replace(camera, sensor=sensor)

    def _paced(self):
        """The camera so slow that the engine keeps up with it."""
        board, camera = self.board, self.board.camera
        if camera is not None and camera.grey and self.rasca.plan.model.in_channels == 1:
            camera = camera.grey
        if camera is None or camera.paced is None:
            return camera
        lines = self.rasca.plan.model.rows_per_group * self.binning * self.pll.output_hz
        return camera.paced(
            mclk_hz=board.camera_clock_hz or self.pll.second_hz,
            line_seconds=self.rasca.plan.camera_period / lines,
        )

    def elaborate(self, platform):
        m = Module()
        board, host = self.board, self.host
        clock, camera_clock, oscillator = self._clocks(m, platform)
        m.submodules.host = host
        if board.camera is not None:
            self._camera(m, platform, camera_clock)
        if self.flash is not None:
            spi = platform.request("spi_flash_1x", 0, dir="-")
            m.d.comb += host.spi.miso.eq(pins.read(m, "flash_miso", spi.cipo))
            pins.drive(m, "flash_clock", spi.clk, host.spi.clock)
            pins.drive(m, "flash_select", spi.cs, ~host.spi.select)
            pins.drive(m, "flash_mosi", spi.copi, host.spi.mosi)
            for name in ("wp", "hold"):
                pins.drive(m, f"flash_{name}", getattr(spi, name), 0)
        uart = platform.request(*board.uart, dir="-")
        if not board.events_only or any(output.asks for output in board.outputs):
            m.d.comb += host.rx.eq(pins.read(m, "rx", uart.rx))
        pins.drive(m, "tx", uart.tx, host.tx)
        taps = self._taps(m, platform, oscillator)
        for output in board.outputs:
            output.add_to(m, taps)
        clock.attrs["keep"] = 1  # under this name
        platform.add_clock_constraint(clock, self.limit_hz)
        return m

    def _taps(self, m, platform, oscillator):
        """What outputs are offered."""
        host, plan, board = self.host, self.rasca.plan, self.board
        seen = self.camera is not None
        return Taps(
            board=board,
            plan=plan,
            weights=self.rasca.weights,
            platform=platform,
            free=fit.free_blocks(board, plan),
            limit_hz=self.limit_hz,
            oscillator=oscillator,
            sensor=self.camera.sensor if seen else None,
            binning=self.binning if seen else 1,
            pixels=self.front.o if seen else None,
            row=host.row,
            decision=host.decision,
            toggles=host.toggles,
            weights_ok=host.weights_ok,
            camera_failed=host.camera.failed,
            state=None if board.events_only else host.state,
            packets=host.packets,
            asked=host.asked,
            colour=host.colour,
        )

    def _clocks(self, m, platform):
        m.domains.sync = ClockDomain()
        if self.ice40:
            return self._ice40_clocks(m, platform)
        source = pins.read(m, "clk", platform.request(self.board.oscillator, dir="-"))
        clock, second, locked = (Signal(name=n) for n in ("clock", "second_clock", "locked"))
        self.pll.add_to(m, source, (clock, second), locked)
        m.d.comb += ClockSignal().eq(clock)
        m.submodules.reset = ResetSynchronizer(~locked, domain="sync")
        return clock, second, source

    def _ice40_clocks(self, m, platform):
        clock, second, locked = (Signal(name=n) for n in ("clock", "second_clock", "locked"))
        pad = self.board.oscillator != "SB_HFOSC"
        if pad:
            source = platform.request(self.board.oscillator, dir="-").io
        else:
            source = Signal(name="oscillator")
            m.submodules.oscillator = Instance(
                "SB_HFOSC",
                p_CLKHF_DIV={48e6: "0b00", 24e6: "0b01", 12e6: "0b10"}[self.board.oscillator_hz],
                i_CLKHFEN=1,
                i_CLKHFPU=1,
                o_CLKHF=source,
            )
        self.pll.add_to(m, source, clock, locked, pad=pad)
        m.d.comb += ClockSignal().eq(clock)
        m.submodules.reset = ResetSynchronizer(~locked, domain="sync")
        if self.pll.second_div > 1:
            half = self.pll.second_div // 2
            count = Signal(range(max(2, half)))
            m.d.sync += count.eq(count + 1)
            with m.If(count == half - 1):
                m.d.sync += [count.eq(0), second.eq(~second)]
        else:
            m.d.comb += second.eq(clock)
        return clock, second, None

    def _camera(self, m, platform, clock):
        host, camera = self.host, self.camera
        front = m.submodules.camera = self.front
        master = m.submodules.set_up = SccbMaster(
            table=camera.table,
            device=camera.device,
            clock_hz=int(self.limit_hz),
            register_bytes=camera.register_bytes,
            acknowledge=camera.acknowledge,
        )
        started, start = Signal(), Signal()
        m.d.sync += [started.eq(1), start.eq(~started)]
        port = platform.request("camera", dir="-")
        pclk = pins.read(m, "pclk", port.pclk)
        for name in ("vsync", "href", "data"):
            m.d.comb += getattr(front, name).eq(pins.read(m, name, getattr(port, name)))
        if self.board.camera_clock_hz is None:  # else the module's oscillator drives that wire
            pins.drive(m, "camera_clock", port.clock, clock)
        m.d.comb += [
            front.pclk.eq(pclk),
            master.scl_i.eq(pins.open_drain(m, "scl", port.scl, master.scl_oe)),
            master.sda_i.eq(pins.open_drain(m, "sda", port.sda, master.sda_oe)),
            master.start.eq(start),
            host.camera.toggles.eq(Cat(getattr(front.counts, n)[0] for n in CAMERA_COUNTERS)),
            host.camera.ready.eq(master.done & ~master.error),
            host.camera.failed.eq(master.error),
        ]
        wiring.connect(m, front.o, host.camera.pixels)
        for name, level in camera.fixed.items():
            pins.drive(m, name, getattr(port, name), level)
        pclk.attrs["keep"] = 1
        # the same for all clocks of the engine: a paced camera's is no faster than what it is fed
        paced_hz = self.board.camera_clock_hz or camera.clock_hz
        platform.add_clock_constraint(
            pclk, camera.sensor.clock_hz if camera.paced is None else paced_hz
        )
