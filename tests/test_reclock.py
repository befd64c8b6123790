"""boards/reclock.py: a routed design gets the numbers of another clock."""

import json
from copy import deepcopy

import pytest

from boards import reclock

RTLIL = """\
module \\rasca.host.transmitter
  cell \\LUT4 \\reload0
    parameter \\INIT 16'0000000000000000
    connect \\Z \\reload [0]
  end
end
module \\rasca
  attribute \\FREQUENCY_PIN_CLKOP "75"
  cell \\EHXPLLL \\pll
    parameter \\CLKFB_DIV 3
    parameter \\CLKOP_CPHASE 7
  end
  cell $meminit_v2 $1
    connect \\DATA 8'00000001
  end
end
"""
OTHER = (
    RTLIL.replace("16'0000000000000000", "16'1111111111111111")
    .replace('"75"', '"104"')
    .replace("DIV 3", "DIV 25")
    .replace("CPHASE 7", "CPHASE 4")
)
CHANGED = {
    "host.transmitter.reload0": {"INIT": "1" * 16},
    "pll": {"CLKFB_DIV": f"{25:032b}", "CLKOP_CPHASE": f"{4:032b}"},
}
NETLIST = {
    "modules": {
        "LUT4": {"cells": {}},
        "rasca": {
            "cells": {
                "host.transmitter.reload0": {"type": "LUT4", "parameters": {"INIT": "0" * 16}},
                "pll": {
                    "type": "EHXPLLL",
                    "parameters": {"CLKI_DIV": "1", "CLKFB_DIV": "11", "CLKOP_CPHASE": "111"},
                },
                "ram": {"type": "DP16KD", "parameters": {}},
            }
        },
    }
}
CONFIG = """\
.tile R3C4:PLC2
arc: A B
word: SLICEB.K0.INIT 0000000000000000
word: SLICEB.K1.INIT 0000000000000000

.tile R3C40:PLC2
word: SLICEB.K1.INIT 0000000000000000

.tile_group MIB_R50C2:PLL0_LL MIB_R50C3:BANKREF8
word: CLKFB_DIV 0000010
word: CLKOP_CPHASE 0000111
"""
SHIPPED = (
    CONFIG.replace(
        "K1.INIT 0000000000000000\n\n.tile R3C40", "K1.INIT 1111111111111111\n\n.tile R3C40"
    )
    .replace("CLKFB_DIV 0000010", "CLKFB_DIV 0011000")
    .replace("CPHASE 0000111", "CPHASE 0000100")
)


def test_changes():
    assert reclock.changes(RTLIL, RTLIL) == {}
    assert reclock.changes(RTLIL, OTHER) == CHANGED
    for other in (
        OTHER.replace("00000001", "00000011"),  # contents of a memory
        OTHER.replace("\\reload [0]", "\\reload [1]"),
        OTHER.replace("\\LUT4", "\\LUT5"),
        OTHER.replace("parameter \\CLKFB_DIV", "parameter \\CLKI_DIV"),
        OTHER + "\n",
    ):
        assert reclock.changes(RTLIL, other) is None


def routed(folder, bel="X4/Y3/SLICEB.K1"):
    cells = {
        "host.transmitter.reload0": {
            "type": "TRELLIS_COMB",
            "attributes": {"NEXTPNR_BEL": bel},
            "connections": {},
        },
        "last": {"attributes": {"NEXTPNR_BEL": "X1/Y1/SLICEA.K0"}, "connections": {}},
    }
    design = {"settings": {}, "cells": cells, "netnames": {"host.transmitter.reload0": {}}}
    place = folder / "routed.json"
    place.write_text(json.dumps({"modules": {"top": design}}, indent=2))
    return place


def test_configuration(tmp_path):
    assert reclock.configuration(CONFIG, routed(tmp_path), NETLIST, CHANGED) == SHIPPED
    netlist = json.loads(json.dumps(NETLIST))
    reclock.apply(netlist, CHANGED)
    cells = netlist["modules"]["rasca"]["cells"]
    assert cells["pll"]["parameters"]["CLKFB_DIV"] == f"{25:032b}"
    assert cells["pll"]["parameters"]["CLKI_DIV"] == "1"
    assert cells["host.transmitter.reload0"]["parameters"]["INIT"] == "1" * 16


@pytest.mark.parametrize(
    "changed",
    [
        {"ram": {"INITVAL_00": "0" * 320}},
        {"pll": {"CLKOS2_DIV": f"{1:032b}"}},
        {"pll": {"CLKI_DIV": f"{2:032b}"}},  # which the configuration does not have
        {"host.transmitter.reload0": {"INIT": "0" * 15 + "1"}},  # its inputs may be exchanged
    ],
)
def test_what_is_placed_and_routed_again(changed, tmp_path):
    assert reclock.configuration(CONFIG, routed(tmp_path), NETLIST, changed) is None


def test_a_table_that_is_not_where_it_should_be(tmp_path):
    """Nothing is changed in part."""
    elsewhere = routed(tmp_path, "X5/Y3/SLICEB.K1")
    assert reclock.configuration(CONFIG, elsewhere, NETLIST, CHANGED) is None
    other = json.loads(json.dumps(NETLIST))  # nor where something else is before
    other["modules"]["rasca"]["cells"]["pll"]["parameters"]["CLKFB_DIV"] = "100"
    assert reclock.configuration(CONFIG, routed(tmp_path), other, CHANGED) is None
    other = json.loads(json.dumps(NETLIST))
    other["modules"]["rasca"]["cells"]["host.transmitter.reload0"]["parameters"]["INIT"] = "1" * 16
    assert reclock.configuration(CONFIG, routed(tmp_path), other, CHANGED) is None
    unplaced = routed(tmp_path, "X5/Y3/EBR0")
    with pytest.raises(RuntimeError, match="no place of the lookup table host.transmitter.reload0"):
        reclock.configuration(CONFIG, unplaced, NETLIST, CHANGED)


def test_a_routed_netlist():
    """Gowin: parameters lie in the netlist that nextpnr leaves; anything unexpected stays."""
    cells = NETLIST["modules"]["rasca"]["cells"]
    routed = {"modules": {"top": {"cells": deepcopy(cells)}}}
    assert reclock.rewrite(routed, NETLIST, CHANGED)
    found = routed["modules"]["top"]["cells"]
    assert found["host.transmitter.reload0"]["parameters"] == {"INIT": "1" * 16}
    assert found["pll"]["parameters"] == {"CLKI_DIV": "1"} | CHANGED["pll"]
    assert found["ram"] == cells["ram"]
    assert not reclock.rewrite(routed, NETLIST, CHANGED)  # is no longer what the netlist says
    for cell, change in (
        ("pll", {"type": "OTHER"}),
        ("host.transmitter.reload0", {"parameters": {"INIT": "0" * 15 + "1"}}),
    ):
        routed = {"modules": {"top": {"cells": deepcopy(cells)}}}
        routed["modules"]["top"]["cells"][cell] |= change
        before = deepcopy(routed)
        assert not reclock.rewrite(routed, NETLIST, CHANGED) and routed == before
    assert not reclock.rewrite({"modules": {"top": {"cells": {}}}}, NETLIST, CHANGED)
    half = CHANGED | {"host.transmitter.reload0": {"INIT": "1" + "0" * 15}}  # not constant
    assert not reclock.rewrite({"modules": {"top": {"cells": deepcopy(cells)}}}, NETLIST, half)
