"""boards.timing: what nextpnr's report says, on one that is made up."""

import pytest

from boards import timing

CLOCK, OTHER = "posedge $glbnet$engine.clk", "posedge $glbnet$pclk"
FLOP = "_TRELLIS_FF_Q_3_DI_LUT4_Z"


def net(driver, cell, port, delay, event=CLOCK, end=CLOCK):
    found = {"cell": cell, "port": port, "event": end, "delay": [delay / 2, delay]}
    return {"driver": driver, "event": event, "endpoints": [found]}


REPORT = {
    "fmax": {
        "$glbnet$engine.clk": {"achieved": 104.9, "constraint": 150.0018},
        "$glbnet$pclk": {"achieved": 90.0, "constraint": 12.00004},
    },
    "detailed_net_timings": [
        net("m.weights.0.0", "m.lane0.output_TRELLIS_FF_Q_7", "M", 9.1),
        net("m.weights.1.0", f"m.lane1.output{FLOP}", "DI", 9.5),
        net("m.walk.left_LUT4_Z", "m.lane1.output_TRELLIS_FF_Q", "CE", 8.4),
        net("m.walk.left[3]_LUT4_Z", "m.way.back.0.1", "ADB12", 8.6),
        net("m.walk.left_LUT4_Z", "m.way.back.0.1", "ADB3", 8.5),
        net("m.a_SB_LUT4_O", "m.walk.left_SB_DFFESR_Q_D_SB_LUT4_O_LC", "I2", 5.0),
        net("m.a$nextpnr", "m.walk.op_end_DFFLC", "I0", 4.0),
        net("m.a", "m.b__12", "LSR", 3.0),
        net("pin", "m.late", "DI", 99.0, event="<async>"),
        net("m.c", "camera.late", "DI", 99.0, event=OTHER, end=OTHER),
    ],
    "critical_paths": [
        {
            "from": CLOCK,
            "to": CLOCK,
            "path": [
                {"from": {"cell": "m.table.0.0"}, "to": {"cell": "m.x"}},
                {"from": {"cell": "m.x"}, "to": {"cell": f"m.lane1.output{FLOP}"}},
            ],
        }
    ],
}


def test_slowest_classes():
    """By signal and kind of pin, without indices; only what begins and ends in the engine's."""
    found = timing.slowest(REPORT, 150e6, 100e6)
    assert [(one["to"], one["pin"], one["count"], one["delay_ns"]) for one in found] == [
        ("m.lane.output", "D", 2, 9.5),
        ("m.way.back", "ADB", 2, 8.6),
        ("m.lane.output", "enable", 1, 8.4),
        ("m.walk.left", "D", 1, 5.0),
        ("m.walk.op_end", "D", 1, 4.0),
    ]
    assert found[0]["slack_ns"] == 0.5
    # where the path begins, that of the others where its last cell is
    assert [one["from"] for one in found[:2]] == ["m.table", "m.walk.left"]
    (last,) = timing.slowest(REPORT, 150e6, 100e6, most=6)[5:]
    assert (last["to"], last["pin"]) == ("m.b", "reset")


def test_clocks():
    assert timing.engine_fmax(REPORT, 150e6) == 104.9
    assert timing.met(REPORT, 150e6, 104.9e6, 0) and not timing.met(REPORT, 150e6, 105e6, 0)
    assert not timing.met(REPORT, 150e6, 100e6, 0.1) and timing.met(REPORT, 150e6, 95e6, 0.1)
    slow = REPORT | {"fmax": REPORT["fmax"] | {"$glbnet$pclk": {"achieved": 9, "constraint": 12}}}
    assert not timing.met(slow, 150e6, 50e6, 0)
    # an iCE40's clocks are all asked for the same: the slowest counts as the engine's
    both = {
        "fmax": {"a": {"achieved": 40, "constraint": 48}, "b": {"achieved": 30, "constraint": 48}}
    }
    assert timing.engine_fmax(both, 48e6) == 30
    assert timing.met(both, 48e6, 30e6, 0) and not timing.met(both, 48e6, 31e6, 0)


@pytest.mark.parametrize(
    "cell, name",
    [
        ("host.steps_TRELLIS_FF_Q_57", "host.steps"),
        ("host.lane0.words.3.0", "host.lane.words"),
        ("a.w_data_TRELLIS_FF_Q_21_DI_CCU2C_S1$CCU2_COMB1", "a.w_data"),
        ("camera.crossing.$signal$53_TRELLIS_FF_Q", "camera.crossing"),
        ("a.answer__logits__1_TRELLIS_FF_Q_5", "a.answer__logits"),
        ("$1", "$1"),
    ],
)
def test_signal(cell, name):
    assert timing.signal(cell) == name


def test_pins():
    """From pins and to them, what lies between two clocks or within one left out."""

    def way(start, end, *delays):
        return {"from": start, "to": end, "path": [{"delay": delay} for delay in delays]}

    paths = [
        way(CLOCK, CLOCK, 9),
        way("<async>", OTHER, 1.5, 2.804),
        way(CLOCK, "<async>", 12),
        way(OTHER, CLOCK, 4),
        way("<async>", "<async>", 7),
    ]
    assert timing.pin_delays({"critical_paths": paths}) == [
        {"from": "pins", "to": "pclk", "delay_ns": 4.3},
        {"from": "engine.clk", "to": "pins", "delay_ns": 12},
    ]
    assert timing.pin_delays({}) == []


def test_hold():
    """As nextpnr 0.11 says it; it says nothing where there are none."""
    assert timing.hold_violations("Info: Program finished normally.\n") == 0
    assert timing.hold_violations("Info: 3 Hold/min time violations (showing 10 worst):\n") == 3


SDF = r"""
        (INTERCONNECT m.b_DFF_Q/Q m.lane\[0\].dsp3/A4 (700:700:812) (700:700:812))
        (INTERCONNECT m.b_DFF_Q_1/Q m.lane\[0\].dsp4/A4 (900:900:900) (900:900:900))
        (INTERCONNECT m.lane\[0\].dsp3/DOUT15 m.sum_ALU_SUM/I0 (2099:2099:2099) (1:1:1))
        (INTERCONNECT m.sum_ALU_SUM/COUT m.sum_ALU_SUM_1/CIN (9999:9999:9999) (1:1:1))
        (IOPATH CLK Q (5000:5000:5000) (5000:5000:5000))
"""


def test_wires_of_cells_without_times():
    """Those to and from such cells, the longest of each; no others."""
    assert timing.untimed(SDF, {"m.lane[0].dsp3"}) == {"to_ns": 0.81, "from_ns": 2.1}
    both = timing.untimed(SDF, {"m.lane[0].dsp3", "m.lane[0].dsp4"})
    assert both == {"to_ns": 0.9, "from_ns": 2.1}
    assert timing.untimed(SDF, {"m.other"}) == {"to_ns": 0, "from_ns": 0}


@pytest.mark.parametrize(
    "cell, name",
    [
        ("m.walk.left_DFFRE_Q_3_D_ALU_SUM", "m.walk.left"),
        ("m.walk.left[3]_LUT2_F_1", "m.walk.left"),
        ("m.walk.left_MUX2_LUT5_O", "m.walk.left"),
        ("m.walk.left_DFF_Q_passthrough_lut$", "m.walk.left"),
    ],
)
def test_names_of_gowins_cells(cell, name):
    assert timing.signal(cell) == name
