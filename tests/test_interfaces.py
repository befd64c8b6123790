"""Interfaces: what is equal connects, and the names that the Verilog has."""

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring

from hw import interfaces
from hw.interfaces import Decision, Engine, Pixels, RowEvent, StateRead, flat_name

# the ports of a two-class engine since its first release; test benches and users rely on them
PORTS = """
pixel_valid pixel_red pixel_green pixel_blue pixel_sof pixel_eol frame_end
stop_enable stop_threshold skip_enable skip_threshold
row_valid row_group row_logit0 row_logit1
decision_valid decision_person decision_logit0 decision_logit1 decision_rows_used decision_status
count_dropped count_overrun count_truncated count_line count_restart
state_read state_channel state_word state_valid state_data
load_valid load_data load_last load_ready load_error weights_digest busy frame_start
""".split()


def names(**kwargs) -> set[str]:
    signature = Engine(**{"in_channels": 3, "classes": 2, "pixels": 4} | kwargs)
    paths = [path for path, *_ in signature.flatten(signature.create())]
    found = [flat_name(path, kwargs.get("classes", 2)) for path in paths]
    assert len(set(found)) == len(found)
    return set(found)


def test_names_of_the_verilog():
    assert names() == set(PORTS)
    colours = {"pixel_red", "pixel_green", "pixel_blue"}
    assert names(in_channels=1) == set(PORTS) - colours | {"pixel_luma"}
    more = {"row_logit2", "decision_logit2", "decision_class"}
    assert names(classes=3) == set(PORTS) - {"decision_person"} | more


@pytest.mark.parametrize(
    "signature",
    [
        Pixels(3),
        Pixels(1),
        interfaces.Thresholds(),
        RowEvent(3),
        Decision(2),
        interfaces.Counters(),
        StateRead(4),
        interfaces.LoadPort(),
    ],
)
def test_both_sides_connect(signature):
    m = Module()
    wiring.connect(m, signature.create(path=("a",)), signature.flip().create(path=("b",)))


def test_equal_ones():
    assert Pixels(3) == Pixels(3) and Pixels(3) != Pixels(1)
    assert Decision(3) == Decision(3) != Decision(2)
    assert RowEvent(2) != Decision(2)


def test_members_of_shapes():
    assert Pixels(1).colours == ("luma",) and "red" not in Pixels(1).members
    assert len(Decision(5).create().logits) == 5 and Decision(5).create().index.shape().width == 3
    assert len(StateRead(15).create().data) == 120
    assert interfaces.write_port(1, 8).addr_width == 0
    assert interfaces.write_port(5, 8).addr_width == 3
    for status in list(interfaces.Status)[1:]:
        assert interfaces.Counters.names[status] == status.name.lower()


def test_channels_that_no_network_has():
    with pytest.raises(ValueError, match="in_channels must be 1 or 3, not 2"):
        Pixels(2)
