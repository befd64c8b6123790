"""First differences, and how the log of memory writes becomes maps."""

import numpy as np
import pytest

from golden.config import ModelConfig
from golden.expected import MISSING, Difference, Expected, Judge, JudgedRow, first_difference
from sim.compare import MapLog
from sim.session import gone_early

CONFIG = ModelConfig(
    name="tiny",
    image_height=10,
    image_width=32,
    heads=1,
    head_channels=(1, 1, 1, 1),
    state_channels=2,
)
PIXELS = 3
STAGES = {"early": (2, 4), "gru.state": (2, 2)}


def locate(operation, bank, address):
    """Operation 0 writes `early`, two words a channel; operation 1 the state. Address 9: no map."""
    if address == 9:
        return None
    if operation == 0:
        return "early", bank, 3 * address, min(3, 4 - 3 * address)
    return "gru.state", bank, 0, 2


def word(*values):
    return int.from_bytes(bytes(value % 256 for value in values), "little")


def line(operation, banks, address, *words):
    data = sum(part << (8 * PIXELS * bank) for bank, part in enumerate(words))
    return f"w 1f {operation:x} {banks:x} {address:x} {data:012x}\n"


GOOD = [
    line(0, 3, 0, word(1, 2, 3), word(-5, -6, -7)),
    line(0, 3, 1, word(4, 99, 99), word(-8, 99, 99)),
    line(1, 1, 0, word(10, 11, 0), 0),
    line(1, 2, 0, 0, word(-128, 127, 0)),
]
EARLY = [[1, 2, 3, 4], [-5, -6, -7, -8]]
STATE = [[10, 11], [-128, 127]]


def log(tmp_path, lines, **options):
    path = tmp_path / "log"
    path.write_text("".join(lines))
    return MapLog(path, locate, STAGES, PIXELS, 2, **options)


def test_maps_of_a_row_group(tmp_path):
    maps = log(tmp_path, ["f 3\n", "g 3\n", *GOOD, "r 9\n"])
    found = maps.take().stages
    assert list(found) == ["early", "gru.state"]
    assert found["early"].tolist() == EARLY and found["gru.state"].tolist() == STATE
    assert maps.unknown == 0


def test_the_next_group_may_have_begun_before_the_event(tmp_path):
    ahead = line(0, 3, 0, word(7, 7, 7), word(7, 7, 7))
    maps = log(tmp_path, ["f 3\n", *GOOD, ahead, "r 9\n", *GOOD[1:], "r 19\n"])
    assert maps.take().stages["early"].tolist() == EARLY
    assert maps.take().stages["early"].tolist() == [[7, 7, 7, 4], [7, 7, 7, -8]]


def test_an_aborted_pass_is_dropped(tmp_path):
    begun = line(0, 1, 0, word(9, 9, 9), 0)
    maps = log(tmp_path, ["f 3\n", *GOOD, begun, "r 9\n", "f 30\n", *GOOD[1:], "r 39\n"])
    maps.take()
    found = maps.take().stages["early"]
    assert found.tolist() == [[MISSING] * 3 + [4], [MISSING] * 3 + [-8]]


def test_a_log_that_grows(tmp_path):
    maps = log(tmp_path, ["f 3\n", *GOOD, "r "])
    assert maps.take().complete
    with maps.path.open("a") as file:
        file.write("".join(["9\n", *GOOD, "r 19\n"]))
    assert not maps.take().stages  # the first event's own line was cut: it ends here
    assert maps.take().stages["early"].tolist() == EARLY


def test_steps_starts_and_words_of_no_map(tmp_path):
    lines = ["s 0 0\n", "s 1 0\n", "f 3\n", "g 3\n", line(0, 1, 9, 0, 0), *GOOD, "g 13\n", "r 14\n"]
    maps = log(tmp_path, [*lines, "s 0 12\n", "s 1 5\n", "f 23\n", "g 23\n"])
    maps.take()
    maps.finish()
    assert maps.steps == [[0, 0], [12, 5]]
    assert maps.groups == [[], [3, 13], [23]]
    assert maps.unknown == 1


def test_attention_rows_get_their_band(tmp_path):
    path = tmp_path / "log"
    path.write_text("k 1 0 3 0504030201\na 2 0 3 0504030201\nr 3\n")
    sizes = {"attention0.score": (5, 5), "attention0.weights": (5, 5)}
    maps = MapLog(path, locate, sizes, 5, 2, banded=True)
    maps.finish()
    found = maps.passes[-1].stages
    assert found["attention0.score"][3].tolist() == [0, 2, 3, 4, 5]
    assert found["attention0.weights"][3].tolist() == [1, 2, 3, 4, 5]


def test_first_difference_goes_channel_by_channel():
    golden = np.array([[1, 2, 3], [4, 5, 6]])
    found = golden.copy()
    assert first_difference("x", golden, found, frame=0, row_group=1) is None
    found[1, 0], found[0, 2] = 7, MISSING
    wrong = first_difference("x", golden, found, frame=0, row_group=1)
    assert (wrong.channel, wrong.column, wrong.expected, wrong.simulated) == (0, 2, 3, None)
    assert str(wrong) == (
        "frame 0, row group 1, stage x, channel 0, column 2: "
        "the golden model has 3, nothing was written"
    )
    found[0, 2] = 3
    wrong = first_difference("x", golden, found, frame=0, row_group=1)
    assert str(wrong).endswith("column 0: the golden model has 4, the engine has 7")
    assert wrong.as_dict()["simulated"] == 7


def expected(**changes):
    trace = {"early": np.array([EARLY]), "gru.state": np.array([STATE])}
    values = {
        "computed": (0,),
        "state": np.array([STATE]),
        "logits": np.array([[-3, 5]]),
        "decision": 1,
        "trace": trace,
    }
    return Expected(**{**values, **changes})


ROW = {
    "kind": "row",
    "cycle": 9,
    "row_group": 0,
    "logits": [-3, 5],
    "state": f"{word(10, 11, 77):06x} {word(-128, 127, 77):06x}",
}
DECISION = {
    "kind": "decision",
    "cycle": 10,
    "label": 1,
    "logits": [-3, 5],
    "rows_used": 1,
    "status": 0,
}


def judge(tmp_path, wanted, row=ROW, decision=DECISION, lines=GOOD):
    maps = log(tmp_path, ["f 3\n", *lines, "r 9\n"])
    found = Judge(CONFIG, PIXELS, [wanted], maps)
    found.take({"kind": "frame", "cycle": 3})
    compared = found.take(row)
    assert isinstance(compared, JudgedRow)
    found.take(decision)
    return found, compared


def test_all_equal(tmp_path):
    found, row = judge(tmp_path, expected())
    assert found.first is None and row.difference is None
    assert row.compared == 8 + 4 + 4 + 2  # maps, state through the port, logits
    assert found.frames[0].decision["label"] == 1


def test_maps_are_judged_in_the_order_of_computation(tmp_path):
    bad = [line(0, 3, 0, word(1, 2, 0), word(-5, -6, -7)), *GOOD[1:]]
    found, row = judge(tmp_path, expected(state=np.array([[[0, 0], [0, 0]]])), lines=bad)
    assert row.difference == found.first
    assert found.first == Difference(
        frame=0, row_group=0, stage="early", channel=0, column=2, expected=3, simulated=0
    )


@pytest.mark.parametrize(
    "wanted, stage",
    [
        ({"state": np.array([[[10, 11], [-128, 126]]])}, "state"),
        ({"logits": np.array([[-3, 6]])}, "logits"),
        ({"decision": 0}, "decision.label"),
        ({"status": 2}, "decision.status"),
        ({"computed": (1,), "logits": np.array([[0, 0], [-3, 5]])}, "row_group"),
    ],
)
def test_every_part_is_judged(tmp_path, wanted, stage):
    found, _ = judge(tmp_path, expected(**wanted))
    assert found.first.stage == stage


def test_words_that_came_too_late_are_not_compared(tmp_path):
    """Those that the next row group had begun to write over; all others are."""
    late = ROW | {"state": ROW["state"].split()[0] + " -"}
    other = np.array([[[10, 11], [0, 0]]])
    found, row = judge(tmp_path, expected(state=other), row=late)
    assert found.first is None and row.compared == 8 + 4 + 2 + 2
    assert row.state.tolist() == [[10, 11], [MISSING, MISSING]]
    found, _ = judge(tmp_path, expected(state=other + 1), row=late)
    assert (found.first.stage, found.first.channel, found.first.column) == ("state", 0, 0)
    found, _ = judge(tmp_path, expected(state=other))  # in time
    assert (found.first.stage, found.first.channel, found.first.column) == ("state", 1, 0)


def test_how_long_a_state_stays(tmp_path):
    """From a row event to the next write of the state, that of the row group that comes then."""

    def at(cycle, operation):
        return line(operation, 1, 0, 0, 0).replace("w 1f", f"w {cycle:x}")

    lines = ["f 1\n", at(9, 0), at(18, 1), "r 19\n", at(20, 0), at(27, 1), at(28, 1), "r 40\n"]
    maps = log(tmp_path, lines)
    judged = Judge(CONFIG, PIXELS, [None], maps)
    judged.take({"kind": "frame", "cycle": 3})
    for group, cycle in enumerate((19, 40)):
        judged.take(ROW | {"row_group": group, "cycle": cycle})
    assert maps.stays == [27 - 19, None]
    assert gone_early(judged, 8) is None
    assert gone_early(judged, 9) == Difference(
        frame=0, row_group=0, stage="state.stays", channel=0, column=0, expected=9, simulated=8
    )


def test_too_few_row_groups(tmp_path):
    more = {"computed": (0, 1), "logits": np.array([[-3, 5], [-3, 5]])}
    found, _ = judge(tmp_path, expected(**more))
    assert found.first.stage == "decision.rows_used"


def test_a_frame_without_expectation_is_not_compared(tmp_path):
    found, row = judge(tmp_path, None)
    assert row.compared == 0 and found.first is None


def test_a_decision_about_a_frame_that_never_began(tmp_path):
    found = Judge(CONFIG, PIXELS, [], None)
    assert found.take({**DECISION, "status": 2}) is None
    assert found.stray[0]["status"] == 2
    with pytest.raises(ValueError, match="row event at cycle 9 outside any frame"):
        found.take(ROW)
