"""A LiteX SoC with a Rasca engine: VexRiscv, memories, UART, and a DMA in the camera's place.

    python soc.py ENGINE.v FIRMWARE FOLDER COMPILER

writes FOLDER/soc.v with the firmware in its ROM. FIRMWARE is a folder with main.c, what it
includes, rasca.c and data.S. It runs in a venv of its own (requirements.txt); nothing of Rasca is
imported, only its Verilog is used:

    VexRiscv ──┬── ROM (program, weights, photograph), SRAM, UART, CSRs
      ▲        ├── DMA ──► lines and frames ──► s_axis ┐
      │        └── 0x9000_0000: wb ──────────────────── rasca_wishbone
      └──────────────────── interrupt ◄──────────────── irq
"""

import os
import subprocess
import sys
from pathlib import Path

import litex
from litex.build.generic_platform import Pins, Subsignal
from litex.build.io import CRG
from litex.build.sim import SimPlatform
from litex.gen import LiteXModule
from litex.soc.cores.dma import WishboneDMAReader
from litex.soc.integration import export
from litex.soc.integration.common import get_mem_data
from litex.soc.integration.soc import SoCRegion
from litex.soc.integration.soc_core import SoCCore
from litex.soc.interconnect import stream, wishbone
from litex.soc.interconnect.csr import AutoCSR, CSRStorage
from litex.soc.interconnect.csr_eventmanager import EventManager, EventSourceLevel
from migen import ClockSignal, If, Instance, ResetSignal, Signal

BASE = 0x9000_0000
"""Of the engine's registers, where VexRiscv does not cache."""
CLOCK_HZ = 100_000_000
VARIANT = "standard"
ROM_BYTES = 0x8_0000
PIXEL = [("data", 24)]
IO = [
    ("sys_clk", 0, Pins(1)),
    (
        "serial",
        0,
        *(
            Subsignal(f"{way}_{name}", Pins(bits))
            for way in ("source", "sink")
            for name, bits in (("valid", 1), ("ready", 1), ("data", 8))
        ),
    ),
]


class Camera(LiteXModule, AutoCSR):
    """Words of memory as pixels of a frame: AXI4-Stream video's `first` (TUSER) and `last`.

    `width` is a register that the CPU writes; a frame begins where the DMA is enabled.
    """

    def __init__(self, bus):
        self.dma = dma = WishboneDMAReader(bus, endianness="big", with_csr=True)
        self.width = CSRStorage(16, description="Pixels of a line.")
        self.source = source = stream.Endpoint(PIXEL)
        self.begins = begins = Signal()
        column = Signal(16)
        self.comb += [
            source.valid.eq(dma.source.valid),
            source.data.eq(dma.source.data),
            source.first.eq(begins),
            source.last.eq(column == self.width.storage - 1),
            dma.source.ready.eq(source.ready),
        ]
        self.sync += [
            If(source.valid & source.ready, begins.eq(0), column.eq(column + 1)),
            If(source.valid & source.ready & source.last, column.eq(0)),
            If(~dma.enable, begins.eq(1), column.eq(0)),
        ]


class Engine(LiteXModule, AutoCSR):
    """The Verilog of `make verilog BUS=wishbone`, with its interrupt as LiteX has it."""

    def __init__(self, pixels):
        self.bus = bus = wishbone.Interface(data_width=32, adr_width=30, addressing="word")
        self.ev = EventManager()
        self.ev.irq_line = EventSourceLevel(description="The engine's irq; it says why.")
        self.ev.finalize()
        self.specials += Instance(
            "rasca_wishbone",
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
            i_s_axis_tvalid=pixels.valid,
            o_s_axis_tready=pixels.ready,
            i_s_axis_tdata=pixels.data,
            i_s_axis_tuser=pixels.first,
            i_s_axis_tlast=pixels.last,
            i_wb_cyc=bus.cyc,
            i_wb_stb=bus.stb,
            i_wb_we=bus.we,
            i_wb_adr=bus.adr,
            i_wb_sel=bus.sel,
            i_wb_dat_w=bus.dat_w,
            o_wb_dat_r=bus.dat_r,
            o_wb_ack=bus.ack,
            o_wb_err=bus.err,
            o_irq=self.ev.irq_line.trigger,
        )


class SoC(SoCCore):
    def __init__(self, engine):
        platform = SimPlatform("SIM", [*IO], name="soc")
        platform.add_source(str(engine))
        super().__init__(
            platform,
            CLOCK_HZ,
            cpu_type="vexriscv",
            cpu_variant=VARIANT,
            integrated_rom_size=ROM_BYTES,
            uart_name="sim",
        )
        self.crg = CRG(platform.request("sys_clk"))
        memory = wishbone.Interface(data_width=32, adr_width=30, addressing="word")
        self.bus.add_master("camera", memory)
        self.camera = Camera(memory)
        self.engine = Engine(self.camera.source)
        region = SoCRegion(origin=BASE, size=0x1000, cached=False)
        self.bus.add_slave("engine", self.engine.bus, region)
        self.irq.add("engine")


def headers(soc, folder):
    """What firmware and linker are told of the SoC."""
    generated = folder / "generated"
    generated.mkdir(parents=True, exist_ok=True)
    (generated / "csr.h").write_text(export.get_csr_header(soc.csr_regions, soc.constants))
    (generated / "mem.h").write_text(export.get_mem_header(soc.mem_regions))
    (generated / "soc.h").write_text(export.get_soc_header(soc.constants))
    (folder / "regions.ld").write_text(export.get_linker_regions(soc.mem_regions))


def firmware(soc, source, folder, compiler):
    """The ROM's words: compiled, linked, as they stand in memory."""
    here, installed = Path(__file__).parent, Path(litex.__file__).parent
    cpu = installed / "soc" / "cores" / "cpu" / "vexriscv"
    flags = [*soc.cpu.gcc_flags.split(), "-Os", "-ffreestanding", "-nostdlib", "-Wall"]
    paths = (source, here, folder, cpu, installed / "soc" / "software" / "include")
    flags += [f"-I{path}" for path in paths]
    objects = []
    for path in (cpu / "crt0.S", here / "main.c", source / "rasca.c", source / "data.S"):
        objects.append(folder / f"{path.stem}.o")
        subprocess.run([compiler, *flags, "-c", path, "-o", objects[-1]], check=True)
    link = [f"-T{here / 'link.ld'}", f"-L{folder}", "-Wl,--build-id=none"]
    subprocess.run(
        [compiler, *flags, *link, *objects, "-lgcc", "-o", folder / "main.elf"], check=True
    )
    copy = compiler.removesuffix("gcc") + "objcopy"
    subprocess.run([copy, "-O", "binary", folder / "main.elf", folder / "main.bin"], check=True)
    return get_mem_data(str(folder / "main.bin"), endianness="little")


def main(engine, source, folder, compiler):
    """Writes soc.v and the memories' contents, and the names of the sources beside it."""
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    soc = SoC(Path(engine).resolve())
    soc.finalize()
    headers(soc, folder)
    soc.init_rom("rom", firmware(soc, Path(source).resolve(), folder, compiler))
    os.chdir(folder)
    soc.platform.get_verilog(soc, name="soc").write("soc.v")
    names = [str(path) for path, *_ in soc.platform.sources]
    (folder / "sources.txt").write_text("\n".join(["soc.v", *names, ""]))


if __name__ == "__main__":
    main(*sys.argv[1:])
