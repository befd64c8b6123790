"""Waveforms of an engine behind a bus.

Pixels and accesses to registers are recorded: the parts that the Verilog has are simulated for a
few cycles, and what they do is drawn. Decision, state and weights are orders of accesses, with
what comes between them left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator

from hw.bus.axi import AxiLiteSlave
from hw.bus.bank import Bank
from hw.bus.registers import WORD, RegisterMap, largest
from hw.bus.stream import PixelSource
from hw.bus.wishbone import WishboneSlave
from hw.kit.waves import Wave

VALUE = 0x12345678
_ACCESSED = {True: "STOP_THRESHOLD", False: "ID"}  # written, read
_LONGEST = 60  # cycles of a recording


class Recorder:
    """Lanes of signals, a letter a cycle.

    Parameters
    ----------
    lanes : mapping of str to (Signal, Signal or None, int)
        What is recorded, by its name; of a value, in which cycles it counts, and hexadecimal
        digits. A bit has None.
    """

    def __init__(self, lanes: Mapping[str, tuple[Signal, Signal | None, int]]):
        self.signals = lanes
        self.lanes = {name: {"name": name, "wave": "", "data": []} for name in lanes}
        self.before: dict[str, object] = {}

    def cycle(self, ctx) -> None:
        """What stands before the next edge."""
        for name, (signal, counts, digits) in self.signals.items():
            lane, now = self.lanes[name], ctx.get(signal)
            if counts is None:
                letter = str(now)
            elif ctx.get(counts):
                letter, now = "=", f"{now:0{digits}X}"
            else:
                letter = now = "x"
            if now == self.before.get(name):
                letter = "."
            elif letter == "=":
                lane["data"].append(now)
            lane["wave"] += letter
            self.before[name] = now

    def wave(self, title: str) -> Wave:
        cycles = max(len(lane["wave"]) for lane in self.lanes.values())
        lanes = [{"name": "clk", "wave": "p" + "." * (cycles - 1)}, *self.lanes.values()]
        plain = [{k: v for k, v in lane.items() if v != []} for lane in lanes]
        return {"signal": plain, "head": {"text": title}}


def _run(design: Module, bench: Callable) -> None:
    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def _behind(slave: wiring.Component, registers: RegisterMap) -> Module:
    m = Module()
    m.submodules.slave, m.submodules.bank = slave, bank = slave, Bank(registers)
    wiring.connect(m, slave.port, bank.port)
    return m


def _axi(registers: RegisterMap, write: bool) -> Wave:
    slave = AxiLiteSlave(registers.address_bits)
    bus, place = slave.bus, registers[_ACCESSED[write]].offset
    channels = (("aw", "addr"), ("w", "data"), ("b", "resp")) if write else ()
    channels = channels or (("ar", "addr"), ("r", "data"))
    lanes = {}
    for channel, payload in channels:
        valid = getattr(bus, f"{channel}valid")
        for part in ("valid", "ready"):
            lanes[f"s_axi_{channel}{part}"] = getattr(bus, channel + part), None, 0
        digits = {"addr": 3, "data": 8, "resp": 1}[payload]
        lanes[f"s_axi_{channel}{payload}"] = getattr(bus, channel + payload), valid, digits
    seen = Recorder(lanes)

    async def bench(ctx):
        ready = bus.bready if write else bus.rready
        answer = bus.bvalid if write else bus.rvalid
        asks = [getattr(bus, f"{channel}valid") for channel, _ in channels[:-1]]
        accepts = [getattr(bus, f"{channel}ready") for channel, _ in channels[:-1]]
        ctx.set(ready, 1)
        seen.cycle(ctx)
        await ctx.tick()
        ctx.set(bus.awaddr if write else bus.araddr, place)
        ctx.set(bus.wdata, VALUE)
        ctx.set(bus.wstrb, 15)
        for each in asks:
            ctx.set(each, 1)
        for _ in range(_LONGEST):
            seen.cycle(ctx)
            done = ctx.get(answer)
            taken = [ctx.get(one) for one in accepts]
            await ctx.tick()
            for each, was in zip(asks, taken, strict=True):
                if was:
                    ctx.set(each, 0)
            if done:
                break
        else:
            raise RuntimeError("no answer from the bus")
        seen.cycle(ctx)

    _run(_behind(slave, registers), bench)
    return seen.wave("A register is written" if write else "A register is read")


def _wishbone(registers: RegisterMap, write: bool) -> Wave:
    slave = WishboneSlave(registers.address_bits)
    bus, place = slave.bus, registers[_ACCESSED[write]].offset // WORD
    lanes = {f"wb_{name}": (getattr(bus, name), None, 0) for name in ("cyc", "stb", "we")}
    lanes["wb_adr"] = bus.adr, bus.stb, 2
    data = (bus.dat_w, bus.stb) if write else (bus.dat_r, bus.ack)
    lanes["wb_dat_w" if write else "wb_dat_r"] = *data, 8
    lanes["wb_ack"] = bus.ack, None, 0
    seen = Recorder(lanes)

    async def bench(ctx):
        seen.cycle(ctx)
        await ctx.tick()
        for signal, value in (
            *((bus.cyc, 1), (bus.stb, 1), (bus.we, int(write)), (bus.adr, place)),
            *((bus.dat_w, VALUE), (bus.sel, 15)),
        ):
            ctx.set(signal, value)
        for _ in range(_LONGEST):
            seen.cycle(ctx)
            done = ctx.get(bus.ack)
            await ctx.tick()
            if done:
                break
        else:
            raise RuntimeError("no answer from the bus")
        for signal in (bus.cyc, bus.stb, bus.we):
            ctx.set(signal, 0)
        seen.cycle(ctx)

    _run(_behind(slave, registers), bench)
    return seen.wave("A register is written" if write else "A register is read")


def _pixels(in_channels: int, spacing: int, delay: int) -> Wave:
    """Two lines of three pixels; the second one waits for room, its master waits a cycle, too."""
    source = PixelSource(in_channels=in_channels, spacing=spacing, delay=delay)
    bus = source.stream
    digits = 2 * in_channels
    seen = Recorder(
        {
            "s_axis_tvalid": (bus.tvalid, None, 0),
            "s_axis_tready": (bus.tready, None, 0),
            "s_axis_tdata": (bus.tdata, bus.tvalid, digits),
            "s_axis_tuser": (bus.tuser, None, 0),
            "s_axis_tlast": (bus.tlast, None, 0),
        }
    )
    line = 3
    pixels = [(0x10101 * n & (1 << 8 * in_channels) - 1) for n in range(2 * line)]

    async def bench(ctx):
        ctx.set(source.room.frame, 1)
        at, waits, quiet = 0, 1, 0
        for cycle in range(_LONGEST):
            valid = at < len(pixels) and not waits
            ctx.set(bus.tvalid, int(valid))
            ctx.set(bus.tdata, pixels[at] if valid else 0)
            ctx.set(bus.tuser, int(valid and at == 0))
            ctx.set(bus.tlast, int(valid and at % line == line - 1))
            # the second line's row has room after a while
            ctx.set(source.room.row, int(cycle > line * spacing + 2 * delay + 6))
            seen.cycle(ctx)
            if valid and ctx.get(bus.tready):
                at, waits = at + 1, int(at + 1 == line)
            else:
                waits = 0
            quiet += at == len(pixels)
            await ctx.tick()
            if quiet > 1:
                break
        else:
            raise RuntimeError("pixels are left")

    _run(source, bench)
    return seen.wave("A frame's first line; its second waits until there is room")


def _order(title: str, *accesses: str, irq: str = "") -> Wave:
    """Accesses to registers one after the other, with what comes between them left out.

    irq : a letter for the time before, each access and its end.
    """
    lanes = [
        {"name": "clk", "wave": "p|" + "p.....|" * len(accesses)},
        {"name": "registers", "wave": "x|" + "=....x|" * len(accesses), "data": list(accesses)},
    ]
    if irq:
        pairs = zip(irq[1::2], irq[2::2], strict=True)
        lanes.append(
            {"name": "irq", "wave": f"{irq[0]}|" + "".join(f"{a}....{b}|" for a, b in pairs)}
        )
    return {"signal": lanes, "head": {"text": title}}


def bus_waves(bus: str, in_channels: int, spacing: int, delay: int) -> dict[str, Wave]:
    """The waveforms of an engine behind a bus by their names.

    Parameters
    ----------
    bus : str
        axi or wishbone.
    in_channels : int
        3 or 1.
    spacing, delay : int
        As `PixelSource` has them.
    """
    registers = largest()
    access = _axi if bus == "axi" else _wishbone
    return {
        "pixels": _pixels(in_channels, spacing, delay),
        "write": access(registers, True),
        "read": access(registers, False),
        "row": _order(
            "A row group is answered; writing its bit takes the interrupt back",
            *("read INTERRUPT: 2", "read ROW_LOGIT", "write INTERRUPT: 2"),
            irq="01....0",
        ),
        "decision": _order(
            "A frame is decided",
            *("read INTERRUPT: 1", "read DECISION", "write INTERRUPT: 1"),
            irq="01....0",
        ),
        "state": _order(
            "A word of the state: STATUS.state_valid says when, it is whole if ROWS stands still",
            *("write STATE_SELECT", "read STATUS", "read STATE_DATA", "read ROWS"),
        ),
        "load": _order(
            "Weights: the first word waits until the engine is between frames, STATUS.loading",
            *("write LOAD_DATA", "read STATUS", "write LOAD_DATA", "read WEIGHTS_DIGEST"),
        ),
    }
