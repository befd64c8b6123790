"""boards/camera: each signal on its own pin, clocks on clock pins, docs up to date."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from boards.camera import pages, wiring

# of iCE40UP5K-SG48, and of ECP5 BG381 behind the ULX3S' GP0, GN0, GP1, GN1, GP12, GN12
CLOCK_PINS = {
    "ulx3s": {"B11", "C11", "A10", "A11", "G3", "F3"},
    "upduino": {"35", "37", "20", "44"},
    "icebreaker": {"35", "37", "20", "44"},
}


@pytest.mark.parametrize("name", wiring.WIRINGS)
def test_wirings(name):
    w, connectors = wiring.WIRINGS[name], pages.boards()[name]
    sites = {signal: wiring.site(w, signal, connectors) for signal in w.pins}
    assert len(set(sites.values())) == len(sites) and set(w.labels) == set(w.pins)
    assert sites["pclk"] in CLOCK_PINS[name]
    assert w.data_bits == (8 if name == "ulx3s" else 4)
    if name == "upduino":  # what is printed there is the FPGA's pin
        assert sites == w.labels
    if name == "ulx3s":
        for signal, label in w.labels.items():
            assert (
                label == ("GP" if w.pins[signal][1][-1] == "+" else "GN") + w.pins[signal][1][:-1]
            )


def test_documents(tmp_path):
    page, copy = (pages.DOCS / "cameras.md").read_text(), tmp_path / "cameras.md"
    copy.write_text(page)
    pages.refresh(copy)
    assert copy.read_text() == page
    assert (pages.DOCS / "ov7670_ulx3s.svg").read_text() == pages.drawing()
    assert not re.search(r"[^\x00-\x7f]", pages.drawing())


def test_drawing():
    """Every pin of the module has one wire."""
    names = [name for pair in pages.MODULE for name in pair]
    assert {n.upper() for n in wiring.ULX3S_OV7670.pins} | set(wiring.ULX3S_OV7670.fixed) == {
        *names
    }
    root = ElementTree.fromstring(pages.drawing())
    assert sum(e.tag.endswith("path") for e in root.iter()) == len(names)


@pytest.mark.parametrize("text", ["", "<!-- ulx3s:begin -->\n<!-- ulx3s:"])
def test_marks(text, tmp_path):
    page = tmp_path / "cameras.md"
    page.write_text(text)
    with pytest.raises(ValueError, match="must hold the lines <!-- ulx3s:begin --> and"):
        pages.refresh(page)
    assert page.read_text() == text
