"""Camera models at the pins: VSYNC, HREF, PCLK and data of a sensor, good and bad.

A `Sensor` (boards.camera) says how a sensor's pins move. `expose` makes a frame of a picture; its
methods make it misbehave; `pins` lines frames up to one word a PCLK period, which the benches
play: into Amaranth's simulator (`drive`, `simulate`) or, at full size, through sim/camera_tb.sv
(`play`). What comes out of the front end can be played on to the engine (`schedule`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from boards.camera.crossing import COUNTERS
from boards.camera.sensor import Sensor
from golden.camera import UNITS
from sim import camera, runner

CLOCK, VSYNC, HREF = 1, 2, 4
"""Bits of a period's word: PCLK has an edge, and the two pins (as levels); data from bit 8."""


def encode(image: np.ndarray, pixel_format: str) -> np.ndarray:
    """[lines, pixels, 3] bytes as a sensor's bytes, [lines, bytes]; U, V of even pixels."""
    red, green, blue = np.moveaxis(np.asarray(image).astype(np.int64), 2, 0)
    if UNITS[pixel_format] == 2:
        word = red >> 3 << 11 | green >> 2 << 5 | blue >> 3
        two = [word >> 8, word & 255][:: 1 if pixel_format == "rgb565" else -1]
        return np.stack(two, -1).reshape(len(image), -1).astype(np.uint8)
    y = np.clip(np.rint(0.299 * red + 0.587 * green + 0.114 * blue), 0, 255).astype(np.uint8)
    if pixel_format == "grey8":
        return y
    u = np.clip(np.rint(128 - 0.168736 * red - 0.331264 * green + 0.5 * blue), 0, 255)
    v = np.clip(np.rint(128 + 0.5 * red - 0.418688 * green - 0.081312 * blue), 0, 255)
    u, v = (x.astype(np.uint8)[:, ::2] for x in (u, v))
    order = [y[:, ::2], u, y[:, 1::2], v]
    if pixel_format == "uyvy":
        order = [order[i] for i in (1, 0, 3, 2)]
    return np.stack(order, -1).reshape(len(image), -1)


def nibbles(data: np.ndarray, sensor: Sensor) -> np.ndarray:
    """Bytes of a line as what the data pins show clock by clock."""
    if sensor.data_bits == 8:
        return data
    places = np.arange(0, 8, sensor.data_bits)
    if sensor.msb_first:
        places = places[::-1]
    return (data[:, None] >> places & (1 << sensor.data_bits) - 1).reshape(-1)


@dataclass(frozen=True)
class Exposure:
    """One frame: its lines of bytes, and what goes wrong with its synchronisation.

    vsync: None without the VSYNC before it; else after so many of its lines (0 is right).
    stops: (clock of the frame, periods): there PCLK stands still, and the pins with it.
    end: the frame breaks off at this clock, None for never.
    """

    lines: tuple[np.ndarray, ...]
    vsync: int | None = 0
    stops: tuple[tuple[int, int], ...] = field(default=())
    end: int | None = None

    def short_line(self, line: int, missing: int) -> Exposure:
        """A line lacks its last bytes."""
        return self._with(line, self.lines[line][:-missing])

    def long_line(self, line: int, extra: int) -> Exposure:
        """A line repeats its first bytes at its end."""
        return self._with(line, np.concatenate([self.lines[line], self.lines[line][:extra]]))

    def without_lines(self, count: int) -> Exposure:
        """The last lines are missing."""
        return replace(self, lines=self.lines[: len(self.lines) - count])

    def more_lines(self, count: int) -> Exposure:
        """The first lines come once more at the end."""
        return replace(self, lines=self.lines + self.lines[:count])

    def without_vsync(self) -> Exposure:
        return replace(self, vsync=None)

    def late_vsync(self, lines: int) -> Exposure:
        """VSYNC comes only with this line, while lines go on."""
        return replace(self, vsync=lines)

    def stop(self, clock: int, periods: int) -> Exposure:
        """PCLK stands still there, then goes on."""
        return replace(self, stops=(*self.stops, (clock, periods)))

    def cut(self, clock: int) -> Exposure:
        """Nothing more comes of the frame: the sensor starts afresh."""
        return replace(self, end=clock)

    def _with(self, line: int, data: np.ndarray) -> Exposure:
        return replace(self, lines=(*self.lines[:line], data, *self.lines[line + 1 :]))


def expose(sensor: Sensor, image: np.ndarray) -> Exposure:
    """A good frame of [height, width, 3] bytes."""
    image = np.asarray(image)
    if image.shape != (sensor.height, sensor.width, 3) or image.dtype != np.uint8:
        raise ValueError(
            f"an image must be {sensor.height} x {sensor.width} x 3 bytes, "
            f"not {image.shape} {image.dtype}"
        )
    return Exposure(tuple(encode(image, sensor.pixel_format)))


def no_camera(periods: int) -> np.ndarray:
    """No clock, pins low."""
    return np.zeros(periods, dtype=np.uint16)


def frame_pins(sensor: Sensor, exposure: Exposure) -> np.ndarray:
    """VSYNC, back porch, lines, front porch; one word a PCLK period."""
    spans = [max(sensor.line_clocks, len(nibbles(d, sensor)) + 2) for d in exposure.lines]
    before = sensor.vsync_clocks + sensor.back_clocks
    starts = before + np.cumsum([0, *spans])
    last = sensor.front_clocks
    if spans:  # the last line's blanking is the front porch's part
        last -= spans[-1] - len(nibbles(exposure.lines[-1], sensor))
    words = np.zeros(int(starts[-1]) + last, dtype=np.uint16)
    words |= CLOCK
    for start, data in zip(starts, exposure.lines, strict=False):
        shown = nibbles(data, sensor).astype(np.uint16)
        words[start : start + len(shown)] |= HREF | shown << 8
    if exposure.vsync is not None:
        at = 0 if exposure.vsync == 0 else int(starts[exposure.vsync])
        words[at : at + sensor.vsync_clocks] |= VSYNC
    if sensor.gated:
        words[(words & HREF) == 0] &= ~np.uint16(CLOCK)
    words ^= (0 if sensor.vsync_high else VSYNC) | (0 if sensor.href_high else HREF)
    for clock, periods in sorted(exposure.stops, reverse=True):
        still = np.full(periods, words[clock] & ~np.uint16(CLOCK))
        words = np.concatenate([words[:clock], still, words[clock:]])
    return words[: exposure.end]


def pins(sensor: Sensor, exposures: Sequence[Exposure], trail: int = 2) -> np.ndarray:
    """All frames, and after them the VSYNC of a frame of which only `trail` lines come."""
    blank = np.zeros(sensor.active_clocks * sensor.data_bits // 8, dtype=np.uint8)
    after = frame_pins(sensor, Exposure((blank,) * trail))
    return np.concatenate([frame_pins(sensor, e) for e in exposures] + [after])


def write(path: Path, words: np.ndarray) -> None:
    """Text file that sim/camera_tb.sv plays: runs of equal words, count (decimal), word (hex)."""
    edges = np.flatnonzero(np.diff(words.astype(np.int64), prepend=-1))
    counts = np.diff(edges, append=len(words))
    rows = zip(counts.tolist(), words[edges].tolist(), strict=True)
    path.write_text("".join(f"{count} {word:x}\n" for count, word in rows))


async def drive(
    ctx, words, period, pclk, vsync, href, data, seen=lambda: None, falling=False
) -> None:
    """Plays words on signals in Amaranth's simulator: pins change at PCLK's falling edge.

    seen: called after each rising edge.
    falling: the other way round, for a receiver that reads at the falling edge.
    """
    for word in words.tolist():
        ctx.set(pclk, falling)
        ctx.set(vsync, word >> 1 & 1)
        ctx.set(href, word >> 2 & 1)
        ctx.set(data, word >> 8)
        await ctx.delay(period / 2)
        ctx.set(pclk, (word & 1) ^ falling)
        if word & 1:
            seen()
        await ctx.delay(period / 2)
    ctx.set(pclk, falling)


Event = tuple[int, Any, dict[str, int]]
"""Cycle; "end" or a pixel (red, green, blue, sof, eol); the counters at that time."""


def members(pixels: Any) -> tuple[Any, ...]:
    """Red, green, blue, sof and eol of hw.interfaces.Pixels; of a grey one luma three times."""
    colours = [getattr(pixels, name) for name in pixels.signature.colours]
    return (*(colours * 3)[:3], pixels.sof, pixels.eol)


def simulate(front: Any, words: np.ndarray, period: float, after: int = 40) -> Any:
    """Plays words to a CameraFront in Amaranth's simulator, PCLK every `period` cycles of sync.

    Returns the events at its output, its counters, and `lost`, at the end.
    """
    from amaranth.sim import Simulator

    found: list[Event] = []
    state: dict[str, int] = {}

    async def pins_bench(ctx):
        await drive(
            ctx,
            words,
            period,
            *(front.pclk, front.vsync, front.href, front.data),
            falling=front.sensor.falling,
        )
        await ctx.tick().repeat(after)
        counts = ctx.get(front.counts)
        state.update({name: counts[name] for name in COUNTERS}, lost=ctx.get(front.lost))

    async def watch(ctx):
        cycle = 0
        out = front.o
        sampled = ctx.tick().sample(out.valid, out.frame_end, front.counts, *members(out))
        async for _, _, valid, end, counts, *pixel in sampled:
            if valid or end:
                event = "end" if end else tuple(pixel)
                found.append((cycle, event, {name: counts[name] for name in COUNTERS}))
            cycle += 1

    simulator = Simulator(front)
    simulator.add_clock(1)
    simulator.add_testbench(pins_bench)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    return found, state


BENCH = Path(__file__).with_name("camera_tb.sv")


def build(front: Any) -> runner.Build:
    """A CameraFront compiled for `play`."""
    text = runner.verilog(front, "front")
    grey = ["-DGREY"] if len(front.o.signature.colours) == 1 else []
    return runner.build(
        text,
        top="camera_tb",
        sources=[BENCH],
        # the bench makes both clocks: delays need C++'s coroutines
        flags=["--timing", "-CFLAGS", "-std=gnu++20 -fcoroutines", *grey],
        public=False,
    )


def play(built: runner.Build, words: np.ndarray, *, sync_ps: int, pclk_ps: int) -> Any:
    """Like `simulate`, in Verilator, for whole frames of real sensors."""
    with TemporaryDirectory(prefix="rasca-camera-") as temporary:
        pins_file, log = Path(temporary) / "pins.txt", Path(temporary) / "events.txt"
        write(pins_file, words)
        given = [f"+pins={pins_file}", f"+log={log}", f"+sync={sync_ps}", f"+pclk={pclk_ps}"]
        runner.run(built, "sim.camera_bench", plusargs=given)
        *lines, last = log.read_text().splitlines()
    found: list[Event] = []
    for line in lines:
        cycle, end, _, pixel, counts = (int(part, 16) for part in line.split())
        colours = (pixel & 255, pixel >> 8 & 255, pixel >> 16 & 255)
        event = "end" if end else (*colours, pixel >> 24 & 1, pixel >> 25)
        now = {name: counts >> 16 * i & 0xFFFF for i, name in enumerate(COUNTERS)}
        found.append((cycle, event, now))
    *counts, lost = (int(part) for part in last.split())
    return found, dict(zip(COUNTERS, counts, strict=True), lost=lost)


def schedule(events: Sequence[Event]) -> camera.Schedule:
    """What left the front end as what sim.session plays to the engine, in the same cycles."""
    rgb, flags, starts, lines = [], [], [], []
    for cycle, event, _ in events:
        if event == "end":
            rgb.append(0)
            flags.append(camera.FRAME_END)
            continue
        red, green, blue, sof, eol = event
        rgb.append(red << 16 | green << 8 | blue)
        flags.append(camera.VALID | camera.START * sof | camera.LINE_END * eol)
        if sof:
            starts.append(cycle)
            lines.append([])
        if eol:
            lines[-1].append(cycle)
    return camera.Schedule(
        cycle=np.array([cycle for cycle, *_ in events]),
        rgb=np.array(rgb),
        flags=np.array(flags),
        starts=tuple(starts),
        lines=tuple(tuple(ends) for ends in lines),
    )
