"""FPGA families: what their tools are called and told, and what their cells hold.

A family is a row of `FAMILIES`. Beside it there are its multipliers (hw.arithmetic.multiplier),
its PLL (boards.clocks), and what only one family's cells can do (boards.carries, boards.outreg).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boards import carries, gowin, outreg, reclock

if TYPE_CHECKING:
    from boards.board import Device

TOP = "rasca"
"""The top module, and what all files of a build are called."""
ROUTED = "routed.json"
"""What nextpnr-ecp5 writes of a routed design: cells and where they are; large, and not kept."""
DELAYS = f"{TOP}.sdf"
"""nextpnr's delays of all wires, where the report is not enough."""
Netlist = dict[str, Any]
"""As Yosys' JSON has it."""
Words = list[str]


@dataclass(frozen=True, kw_only=True)
class Lut:
    """A lookup table of four inputs: its cell, the table's parameter, inputs, output."""

    cell: str
    table: str
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of FPGAs and its tools.

    Attributes
    ----------
    synthesis : str
        Yosys' command; {top} and {json} are the module and the file.
    place, pack : str
        Names of the tools, see boards.tools.
    constraints, result, bitstream : str
        Endings of the files with the pins, of what nextpnr leaves, of what is packed of it.
    used : mapping of str to (mapping of str to int)
        By lut, ff, dsp, bram, spram: cells of nextpnr's report, and how many each counts for.
    uncounted : tuple of (str, str)
        Cells that nextpnr does not count, and how types of the netlist's begin that are such.
    untimed : str
        Type of cells whose times nextpnr does not know; "" where it knows all.
    untimed_ns : float
        Of a period, what must be left beside a wire to or from such a cell: a guess on the safe
        side, for its set-up or output and what is behind it (the array's sum).
    frequency : bool
        nextpnr is told one frequency for all clocks: nets have other names after synthesis, and
        constraints do not reach them.
    table : Lut
    lut_multipliers : bool
        Where DSP blocks are short, LUTs multiply.
    logic_programs : bool
        Memories that ask for it are made of LUTs (hw.plan.memory.Memory.logic).
    lut_limit : float
        Of a device's LUTs; above it, routing fails or takes hours.
    lut_ram_words : int
        Up to which a memory becomes LUT RAM.
    weighs_lut_ram : bool
        A larger one does, too, where synthesis finds that cheaper (boards.fit.blocks).
    block_ram : tuple of (int, int)
        (words, bits) of a block.
    bytes_beside : bool
        Several words of a memory may lie beside each other in a block's, of four bytes of 9 bits.
    luts, preview_luts, camera_bram, system_bram : (mapping of str to) int
        What boards.fit counts: LUT4s of an engine, and of a preview; block RAMs of a camera, and of
        the host link.
    """

    synthesis: str
    place: str
    pack: str
    constraints: str
    result: str
    bitstream: str
    used: Mapping[str, Mapping[str, int]]
    uncounted: tuple[tuple[str, str], ...] = ()
    untimed: str = ""
    untimed_ns: float = 0.0
    frequency: bool
    table: Lut
    lut_multipliers: bool = False
    logic_programs: bool = False
    lut_limit: float = 0.9
    lut_ram_words: int
    weighs_lut_ram: bool = False
    block_ram: tuple[tuple[int, int], ...]
    bytes_beside: bool = False
    luts: Mapping[str, int]
    preview_luts: int
    camera_bram: int
    system_bram: int = 0
    fold: Callable[[Netlist], str] | None = None
    """Changes a netlist after synthesis, in place; says in words what it has done."""
    device_words: Callable[[Device], Words]
    """nextpnr's options for a device."""
    file_words: Callable[[str], Words]
    """nextpnr's options for constraints, which lie in that folder, and result."""
    more_words: Words
    """nextpnr's options at the end: what it leaves besides."""
    pack_words: Callable[[Device], Words]
    configure: Callable[[Path, Netlist, reclock.Changes], bool] | None = None
    """Changes parameters of cells in the result in a folder; whether it could."""

    def counts(self, report: dict[str, Any], netlist: Netlist) -> dict[str, Any]:
        """nextpnr's report, and in it what it does not count, of the netlist."""
        for name, begin in self.uncounted:
            cells = netlist["modules"][TOP]["cells"].values()
            number = sum(cell["type"].startswith(begin) for cell in cells)
            report["utilization"][name] = {"used": number}
        return report

    def untimed_cells(self, netlist: Netlist) -> set[str]:
        """Names of the cells whose times nextpnr does not know."""
        cells = netlist["modules"][TOP]["cells"].items()
        return {name for name, cell in cells if cell["type"] == self.untimed}

    def utilisation(self, report: Mapping[str, Any]) -> dict[str, int]:
        """By lut, ff, dsp, bram, spram, how many of these a routed design takes."""
        there = report["utilization"]
        return {
            key: sum(each * int(there.get(cell, {"used": 0})["used"]) for cell, each in of.items())
            for key, of in self.used.items()
        }


def _fold_ecp5(netlist: Netlist) -> str:
    carries.tidy(netlist)
    return f"{outreg.fold(netlist)['bits']} flip-flops are output registers of block RAMs"


def _configure_ecp5(folder: Path, netlist: Netlist, changed: reclock.Changes) -> bool:
    place = folder / f"{TOP}.config"
    text = reclock.configuration(place.read_text(), folder / ROUTED, netlist, changed)
    if text is not None:
        place.write_text(text)
    return text is not None


def _fold_gowin(netlist: Netlist) -> str:
    found = gowin.simple(netlist)
    return f"{found['simple']} block RAMs have a port that writes and one that reads"


def _configure_gowin(folder: Path, netlist: Netlist, changed: reclock.Changes) -> bool:
    place = folder / f"{TOP}.{_ROUTED_GOWIN}"
    routed = json.loads(place.read_text())
    if not reclock.rewrite(routed, netlist, changed):
        return False
    place.write_text(json.dumps(routed))
    return True


_ROUTED_GOWIN = "routed.json"
_BLOCKS_18K = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))

FAMILIES = {
    "ecp5": Family(
        synthesis="synth_ecp5 -nodsp -top {top} -json {json}",
        place="nextpnr-ecp5",
        pack="ecppack",
        constraints="lpf",
        result="config",
        bitstream="bit",
        used={
            "lut": {"TRELLIS_COMB": 1},
            "ff": {"TRELLIS_FF": 1},
            "dsp": {"MULT18X18D": 1},
            "bram": {"DP16KD": 1},
        },
        frequency=False,
        table=Lut(cell="LUT4", table="INIT", inputs=tuple("ABCD"), output="Z"),
        lut_multipliers=True,
        lut_ram_words=32,
        block_ram=_BLOCKS_18K,
        bytes_beside=True,
        luts={"rest": 3700, "pixel": 102, "unit": 574, "dsp": 70, "shared": 106, "luts": 151},
        preview_luts=550,
        camera_bram=2,
        fold=_fold_ecp5,
        device_words=lambda device: [
            *(f"--{device.option}", "--package", device.package, "--timing-allow-fail"),
            *_density(device),
            *("--speed", device.speed),
        ],
        file_words=lambda there: ["--lpf", f"{there}/{TOP}.lpf", "--textcfg", f"{TOP}.config"],
        more_words=["--write", ROUTED],
        pack_words=lambda device: [f"{TOP}.config", f"{TOP}.bit", "--compress"],
        configure=_configure_ecp5,
    ),
    "ice40": Family(
        # a clock enable of few registers costs more time than the LUTs that it saves are worth
        synthesis="synth_ice40 -device u -dffe_min_ce_use 8 -top {top} -json {json}",
        place="nextpnr-ice40",
        pack="icepack",
        constraints="pcf",
        result="asc",
        bitstream="bin",
        used={
            "lut": {"ICESTORM_LC": 1},
            "ff": {"SB_DFF": 1},
            "dsp": {"ICESTORM_DSP": 1},
            "bram": {"ICESTORM_RAM": 1},
            "spram": {"ICESTORM_SPRAM": 1},
        },
        uncounted=(("SB_DFF", "SB_DFF"),),  # it counts logic cells only
        frequency=True,
        table=Lut(cell="SB_LUT4", table="LUT_INIT", inputs=("I0", "I1", "I2", "I3"), output="O"),
        logic_programs=True,
        lut_limit=1,
        lut_ram_words=0,
        block_ram=((2048, 2), (1024, 4), (512, 8), (256, 16)),
        luts={"rest": 6800, "pixel": 0, "unit": 1500, "dsp": 75, "shared": 0, "luts": 0},
        preview_luts=280,
        camera_bram=3,
        device_words=lambda device: [
            *(f"--{device.option}", "--package", device.package, "--timing-allow-fail"),
            *_density(device),
        ],
        file_words=lambda there: ["--pcf", f"{there}/{TOP}.pcf", "--asc", f"{TOP}.asc"],
        more_words=[],
        pack_words=lambda device: [f"{TOP}.asc", f"{TOP}.bin"],
    ),
    "gowin": Family(
        # products that are written as such stay in LUTs: the cells are the array's
        synthesis="synth_gowin -family gw2a -nodsp -top {top} -json {json}",
        place="nextpnr-himbaechel",
        pack="gowin_pack",
        constraints="cst",
        result=_ROUTED_GOWIN,
        bitstream="fs",
        used={
            "lut": {"LUT4": 1, "ALU": 1, "RAM16SDP4": 4},
            "ff": {"DFF": 1},
            "dsp": {"MULT9X9": 1},
            "bram": {"BSRAM": 1},
        },
        untimed="MULT9X9",
        untimed_ns=6.0,
        frequency=True,
        table=Lut(cell="LUT4", table="INIT", inputs=("I0", "I1", "I2", "I3"), output="F"),
        lut_ram_words=32,
        weighs_lut_ram=True,
        block_ram=_BLOCKS_18K,
        # an ECP5's parts, 1.63 times as many (a board with a tiny engine, packed), an array's 1.96
        # times (a whole one at 15,2,1)
        luts={"rest": 6000, "pixel": 199, "unit": 1123, "dsp": 139, "shared": 0, "luts": 0},
        preview_luts=900,
        camera_bram=2,
        system_bram=1,
        fold=_fold_gowin,
        device_words=lambda device: [
            *("--device", device.package, "--vopt", f"family={device.option}"),
            *("--timing-allow-fail", *_density(device)),
        ],
        file_words=lambda there: [
            *("--vopt", f"cst={there}/{TOP}.cst", "--write", f"{TOP}.{_ROUTED_GOWIN}")
        ],
        more_words=["--sdf", DELAYS],
        pack_words=lambda device: [
            *("-d", device.option, "-o", f"{TOP}.fs", f"{TOP}.{_ROUTED_GOWIN}")
        ],
        configure=_configure_gowin,
    ),
}


def _density(device: Device) -> Words:
    if device.density is None:
        return []
    return ["--placer-heap-beta", f"{device.density:g}"]
