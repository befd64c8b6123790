"""boards/outputs: what a board may show, and the way to the UART that an output shares."""

import re
from dataclasses import replace
from math import ceil
from pathlib import Path
from types import SimpleNamespace

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from rich.console import Console

from boards import build, fit, reclock
from boards.outputs.lamps import Lamps
from boards.outputs.output import PacketStream
from boards.switches import take_turns
from boards.system import System
from golden.config import preset
from golden.random_weights import random_weights
from hw.interfaces import Decision
from hw.plan import compile_program
from hw.top import Rasca
from tests.command import refused
from tests.test_boards import TINY


class Turns(wiring.Component):
    """take_turns between two sources and a stand-in for the UART."""

    own: In(PacketStream())
    other: In(PacketStream())
    busy: In(1)
    valid: Out(1)
    data: Out(8)
    ready: In(1)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += Signal().eq(1)
        take_turns(m, self.own, self.busy, self.other, self)
        return m


def test_turns():
    """Packets of two sources, of 1..4 bytes, as fast as they can: none is broken, none waits for
    more than one of the other's."""
    dut, taken = Turns(), []

    async def testbench(ctx):
        left = {"own": 0, "other": 0}
        sent = {"own": 0, "other": 0}
        for cycle in range(600):
            for name, stream in (("own", dut.own), ("other", dut.other)):
                idle = left[name] == 0
                # the link begins a packet a cycle before its first byte, and rests between two
                if idle and (name == "other" or cycle % 4 == 3):
                    left[name] = 1 + sent[name] % 4
                ctx.set(stream.valid, left[name] > 0 and not (idle and name == "own"))
                ctx.set(stream.last, left[name] == 1)
                ctx.set(stream.data, (name == "other") << 7 | sent[name] % 32 << 2 | left[name] - 1)
            ctx.set(dut.busy, left["own"] > 0)
            ctx.set(dut.ready, cycle % 3 == 0)
            if cycle % 3 == 0 and ctx.get(dut.valid):
                taken.append(ctx.get(dut.data))
            for name, stream in (("own", dut.own), ("other", dut.other)):
                if ctx.get(stream.valid) and ctx.get(stream.ready):
                    left[name] -= 1
                    sent[name] += left[name] == 0
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()
    packets, place = [], 0
    while place < len(taken) - 4:
        length = (taken[place] & 3) + 1
        packet = taken[place : place + length]
        assert [byte & 3 for byte in packet] == list(range(length))[::-1]
        assert len({byte >> 2 for byte in packet}) == 1  # of one source, of one packet
        packets.append(packet[0] >> 7)
        place += length
    runs = "".join(map(str, packets))
    assert len(packets) > 50 and "000" not in runs and "111" not in runs


@pytest.mark.parametrize("stop", [0, 1])
def test_lamps(stop):
    """The person's is lit by the stop class, whichever it is, and by no lost frame; the fault's by
    what is wrong."""
    decision = Decision(2).create()
    weights_ok, failed = Signal(init=1), Signal()
    ports = {"person": io.SimulationPort("o", 1), "fault": io.SimulationPort("o", 1)}
    taps = SimpleNamespace(
        limit_hz=8,
        decision=decision,
        plan=SimpleNamespace(model=SimpleNamespace(stop_index=stop)),
        weights_ok=weights_ok,
        camera_failed=failed,
        platform=SimpleNamespace(request=lambda name, number, dir: ports[name]),
    )
    m = Module()
    Lamps(person=("person", 0), fault=("fault", 0)).add_to(m, taps)

    async def testbench(ctx):
        lit = [ports[name].o for name in ("person", "fault")]
        for index, status in ((stop, 0), (1 - stop, 0), (stop, 0), (0, 1), (stop, 0), (0, 2)):
            ctx.set(decision.index, index)
            ctx.set(decision.status, status)
            ctx.set(decision.valid, 1)
            await ctx.tick()
            ctx.set(decision.valid, 0)
            await ctx.tick()
            found = [ctx.get(lamp) for lamp in lit]
            assert found == [index == stop and not status, status == 1], (index, status)
        ctx.set(weights_ok, 0)
        assert ctx.get(ports["fault"].o)
        ctx.set(weights_ok, 1)
        ctx.set(failed, 1)
        assert ctx.get(ports["fault"].o)

    simulator = Simulator(m)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()


def test_names():
    """Those of the board's file: lamps always, others when named; blanks or commas between."""
    for text, names in (("", []), ("preview", ["preview"]), (" preview ,", ["preview"])):
        board = build.find_board("ulx3s-12f", text)
        assert [output.name for output in board.outputs] == ["lamps", *names]
    text = "outputs of icebreaker must be one of preview, not 'hdmi'"
    with pytest.raises(ValueError, match=text):
        build.find_board("icebreaker", "hdmi")
    with pytest.raises(ValueError, match="outputs of ulx3s must be one of preview, hdmi, not 'sc"):
        build.find_board("ulx3s", "screen")
    with pytest.raises(ValueError, match="outputs of icebreaker must be one of .*, not 'screen'"):
        build.find_board("icebreaker", "screen")
    with pytest.raises(ValueError, match="outputs of orangecrab must be left away, not 'preview'"):
        build.find_board("orangecrab", "preview")
    words = ("--board", "orangecrab", "--outputs", "preview")
    said = "outputs of orangecrab must be left away, not 'preview'"
    assert said in refused("bitstream", *words)


@pytest.mark.parametrize("name", ["icebreaker", "ulx3s-12f"])
def test_room(name):
    """What an output takes is counted before a build."""
    board, seeing = build.find_board(name), build.find_board(name, "preview")
    model = preset("vww_105x120")
    plan = compile_program(model, fit.configure(board, model, None))
    less, more = fit.whole(board, plan), fit.whole(seeing, plan)
    assert more.lut > less.lut
    assert more.bram - less.bram == {"icebreaker": 1, "ulx3s-12f": 0}[name]


PLAIN = replace(TINY, channel_attention=False)


def design(name, outputs, hz=None, **fields):
    """A board's files with a tiny network."""
    board = build.find_board(name, outputs)
    board = replace(board, clock_hz=hz or board.clock_hz)
    model = replace(PLAIN, **fields)
    engine = fit.configure(board, model, "4,1,2")
    weights = random_weights(model, 1)
    return build.files_of(board, Rasca(model, engine, weights, readback=not board.events_only))


@pytest.mark.parametrize(
    "name, outputs, clocks",
    [("ulx3s-12f", "hdmi,preview", (75e6, 106e6)), ("icebreaker", "preview", (24e6, 45e6))],
)
def test_designs(name, outputs, clocks):
    """Pins and clocks of the screen are told to the tools; with all outputs, too, the designs of
    two clocks differ in parameters only, and that of the oscillator's PLL for the screen in none.
    """
    (_, first), (_, second) = (design(name, outputs, hz) for hz in clocks)
    changed = reclock.changes(first["rasca.il"], second["rasca.il"])
    assert changed and "video_pll" not in changed
    if "hdmi" in outputs:
        lpf = first["rasca.lpf"]
        for name in ("hdmi_0__d__p[0]", "hdmi_0__d__p[2]", "hdmi_0__clk__p"):
            assert f'LOCATE COMP "{name}" SITE "A1' in lpf and f'"{name}" IO_TYPE=LVCMOS33D' in lpf
        assert 'NET "video_shift" 125000000.0 HZ' in lpf
        assert 'NET "video_pixel" 25000000.0 HZ' in lpf
        assert "ODDRX1F" in first["rasca.il"]
    else:
        assert any("preview.stride" in cell for cell in changed)
        assert "uart_0__rx" in first["rasca.pcf"]


def test_screens():
    """As much of the picture as there are block RAMs for; none where they do not suffice."""
    model = preset("vww_210x240")
    found = {}
    for name in ("ulx3s", "ulx3s-45f", "ulx3s-12f"):
        board = build.find_board(name, "hdmi")
        plan = compile_program(model, fit.configure(board, model, None))
        free = fit.free_blocks(board, plan)
        screen = board.outputs[-1]
        found[name] = (screen.layout(plan, free).step, screen.room(board, plan, free).bram)
    assert found == {
        "ulx3s": (1, 26),
        "ulx3s-45f": (1, 26),
        "ulx3s-12f": (2, 8),
    }
    with pytest.raises(ValueError, match="must find 8 block RAMs left on ulx3s-12f, not 7"):
        screen.room(board, plan, 7)
    with pytest.raises(ValueError, match="must go to an ECP5 with read-back, not icebreaker"):
        screen.room(build.find_board("icebreaker"), plan, 99)
    with pytest.raises(ValueError, match="orangecrab has no camera to see with"):
        screen.room(build.find_board("orangecrab"), plan, 99)
    # the 25F is full: it is said before anything is built
    board = build.find_board("ulx3s-25f", "hdmi")
    plan = compile_program(model, fit.configure(board, model, None))
    with pytest.raises(ValueError, match="does not fit LFE5U-25F: .* LUTs short .*15,2,2 fits"):
        build.check_fit(board, plan, Console(quiet=True))


def preview_row(name, preset_name):
    """A board's lines of the table in docs/boards_inside.md."""
    board, model = build.find_board(name, "preview"), preset(preset_name)
    engine = fit.configure(board, model, None)
    rasca = Rasca(model, engine, random_weights(model, 1), readback=not board.events_only)
    system = System(board=board, rasca=rasca)
    sender = board.outputs[-1].sender(
        SimpleNamespace(
            board=board,
            plan=rasca.plan,
            sensor=system.camera.sensor,
            binning=system.binning,
            free=fit.free_blocks(board, rasca.plan),
        )
    )
    rate, step = system.camera_frames_per_second, sender.stride.cycles
    for channels in sorted({1, sender.colours}):
        width = sender.piece // channels
        pieces = ceil(sender.columns / width)
        kind = "grey" if channels == 1 else "colour"
        yield (
            f"| `{name}`, `{preset_name}` | {board.baud:,} baud | {width} pixels, {kind} | "
            f"{pieces} | {step} | {rate:.1f} | {rate / pieces / step:.2f} |"
        )


def test_documented_rates():
    """The table of docs/boards_inside.md is what the boards' cameras and UARTs come to; the last
    three columns follow a board's clock, which builds move: within a quarter."""
    text = (Path(__file__).parent.parent / "docs" / "boards_inside.md").read_text()
    table = re.search(r"<!-- previews:begin -->\n(.*?)<!-- previews:end -->", text, re.S)[1]
    pairs = [(n, p) for n in ("icebreaker", "upduino") for p in ("vww_105x120_grey", "vww_210x240")]
    rows = [row for pair in (*pairs, ("ulx3s", "vww_210x240")) for row in preview_row(*pair)]
    said = table.splitlines()[2:]
    assert len(said) == len(rows)
    for one, other in zip(said, rows, strict=True):
        *words, stride, camera, rate = (part.strip() for part in one.strip("|").split("|"))
        *known, stride_, camera_, rate_ = (part.strip() for part in other.strip("|").split("|"))
        assert words == known
        parts = int(words[3]) * int(stride)
        rounded = 0.006 + 0.05 / parts  # both figures
        assert float(rate) == pytest.approx(float(camera) / parts, abs=rounded)
        for a, b in ((stride, stride_), (camera, camera_), (rate, rate_)):
            assert float(a) == pytest.approx(float(b), rel=0.25, abs=1), (one, other)
