"""What Yosys makes of memories that may give anything while a word is written."""

import json

import pytest
from amaranth.back import rtlil, verilog
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from rich.console import Console

from boards import tools
from boards.rtlil import allow_collisions
from hw.common import NO_COLLISION
from hw.generate import plain_names
from hw.parallel.head_lane import HeadLane


class Two(wiring.Component):
    """Two memories; the first has `attrs`."""

    address: In(8)
    write_address: In(8)
    en: In(1)
    value: In(8)
    read: Out(16)

    def __init__(self, attrs):
        self.attrs = attrs
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        for i, attrs in enumerate((self.attrs, {})):
            memory = m.submodules[f"memory{i}"] = Memory(shape=8, depth=256, init=[], attrs=attrs)
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.addr.eq(self.write_address),
                write.en.eq(self.en),
                write.data.eq(self.value),
                read.addr.eq(self.address),
                self.read[8 * i : 8 * i + 8].eq(read.data),
            ]
        return m


def luts(text, folder) -> int:
    """LUTs and block RAMs that Yosys makes of it for iCE40."""
    (folder / "top.il").write_text(text)
    (folder / "top.ys").write_text("read_rtlil top.il\nsynth_ice40 -top top -json top.json\n")
    tools.run([*tools.tool("yosys"), "top.ys"], folder, "log", Console(quiet=True), "synthesis")
    cells = json.loads((folder / "top.json").read_text())["modules"]["top"]["cells"].values()
    kinds = [cell["type"] for cell in cells]
    assert sum(kind.startswith("SB_RAM40") for kind in kinds) == 2
    return kinds.count("SB_LUT4")


@pytest.mark.parametrize("attrs, fewer", [(NO_COLLISION, True), ({}, False)])
def test_allow_collisions(attrs, fewer, tmp_path):
    """A memory with the mark loses the logic behind its bits; others, and texts, stay."""
    text = rtlil.convert(Two(attrs), name="top", emit_src=False)
    marked = allow_collisions(text)
    changed = [b for a, b in zip(text.split("\n"), marked.split("\n"), strict=True) if a != b]
    assert [line.split() for line in changed] == (
        [["parameter", "\\COLLISION_X_MASK", "1'1"]] if fewer else []
    )
    if fewer:  # a multiplexer a bit
        assert luts(marked, tmp_path) <= luts(text, tmp_path) - 8


@pytest.mark.parametrize("back, read", [(rtlil, "rtlil"), (verilog, "verilog")])
def test_plain_names(back, read, tmp_path):
    """Yosys cannot take a lane as Amaranth names it (if it can one day, this is not needed)."""
    text = back.convert(HeadLane(pixels=3, channels=1, acc_bits=20), name="top", emit_src=False)
    assert "\\operand[0] " in text and "\\operand.0 " in plain_names(text)
    script = f"read_{read} top.txt\nsynth_ecp5 -nodsp -top top\n"
    (tmp_path / "top.ys").write_text(script)
    command = [*tools.tool("yosys"), "top.ys"]
    for name, version in (("plain.log", plain_names(text)), ("brackets.log", text)):
        (tmp_path / "top.txt").write_text(version)
        if name == "plain.log":
            tools.run(command, tmp_path, name, Console(quiet=True), "synthesis")
        else:
            with pytest.raises(RuntimeError, match="count_id"):
                tools.run(command, tmp_path, name, Console(quiet=True), "synthesis")


def test_names_stay_apart():
    assert plain_names(r"wire \a[1] \b.1 \c[0][2] x[3]") == r"wire \a.1 \b.1 \c.0.2 x[3]"
    with pytest.raises(ValueError) as caught:
        plain_names(r"wire \a[1] \a.1")
    assert str(caught.value) == r"names must stay apart, but \a[1] would be \a.1, which is there"
