"""boards.results: the table of all builds."""

import json

import pytest

from boards import results
from boards.build import boards
from golden.config import PRESETS
from tests.command import invoke


def project(tmp_path, summaries):
    (tmp_path / "docs/results").mkdir(parents=True)
    page = "# Builds\n<!-- bitstreams:begin -->\nold\n<!-- bitstreams:end -->\nafter\n"
    (tmp_path / "docs/results.md").write_text(page)
    for found in summaries:
        name = f"bitstream_{found['board']}_{found['preset']}.json"
        (tmp_path / "docs/results" / name).write_text(json.dumps(found))
    return ["--root", str(tmp_path)]


def test_page_of_the_kept_builds(tmp_path):
    found = results.kept(results.ROOT / results.KEPT)
    words = project(tmp_path, found)
    done = invoke("bitstreams", *words, "--page-only")
    assert done.exit_code == 0, done.output
    text = (tmp_path / "docs/results.md").read_text()
    assert "old" not in text and text.endswith("after\n")
    for line in found:
        assert f"| `{line['board']}` | {line['device']} | `{line['preset']}` |" in text
        assert f"| **{line['frames_per_second_clock']:,.1f}** |" in text
        assert f"| {line['frames_per_second']:,.1f} |" in text


def test_the_shipped_page_is_of_the_shipped_files():
    shipped = (results.ROOT / results.PAGE).read_text()
    assert results.table(results.kept(results.ROOT / results.KEPT)) in shipped


def test_kept_builds_are_of_boards_that_exist_and_met_their_timing():
    known = boards()
    for found in results.kept(results.ROOT / results.KEPT):
        assert found["board"] in known and found["preset"] in PRESETS
        assert found["timing_met"] and found["lut"] <= found["lut_available"]
        rounded = 0.05 + 0.005e6 / found["cycles_frame"]  # both figures
        assert found["frames_per_second"] == pytest.approx(
            found["fmax_mhz"] * 1e6 / found["cycles_frame"], abs=rounded
        )


def check_clock(found):
    """What a build ships is what it reached, less the PLL's steps; its board begins there."""
    board = boards()[found["board"]]
    wanted = found["clock_mhz"] * (1 + board.oscillator_error)
    assert 0.95 * found["fmax_mhz"] <= wanted <= found["fmax_mhz"]
    if found["preset"] == board.preset:
        assert board.clock_hz / 1e6 == pytest.approx(found["clock_mhz"], abs=0.001)
        assert board.seed == int(max(found["seeds"], key=found["seeds"].get))


BUILDS = {
    f"{one['board']} {one['preset']}": one for one in results.kept(results.ROOT / results.KEPT)
}


@pytest.mark.parametrize("found", BUILDS.values(), ids=BUILDS)
def test_a_kept_build_ships_what_it_carries(found):
    if "clock_carried_mhz" not in found:
        pytest.skip("built when a board had one clock; make bitstreams builds it anew")
    check_clock(found)


def test_another_clock_is_seen():
    found = BUILDS["ulx3s-12f vww_210x240"]
    for share in (0.94, 0.99, 1.01):
        with pytest.raises(AssertionError):
            check_clock(found | {"clock_mhz": share * found["fmax_mhz"]})


def test_a_failed_board_is_named_and_the_others_go_on(tmp_path, monkeypatch):
    ran = []

    def run(command):
        board = command[command.index("--board") + 1]
        preset = command[command.index("--preset") + 1]
        ran.append(board)
        if board == "ulx3s":
            return type("Done", (), {"returncode": 1})
        made = results.kept(results.ROOT / results.KEPT)[0] | {"board": board, "preset": preset}
        place = tmp_path / "builds" / board / preset
        place.mkdir(parents=True)
        (place / "summary.json").write_text(json.dumps(made))
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(results.subprocess, "run", run)
    words = [*project(tmp_path, []), "--board", "ulx3s", "--board", "ulx3s-25f"]
    done = invoke("bitstreams", *words, "--folder", str(tmp_path / "builds"))
    assert done.exit_code == 1 and "failed: ulx3s vww_210x240" in done.output
    assert ran[0] == "ulx3s" and ran[-1] == "ulx3s-25f"
    assert "`ulx3s-25f`" in (tmp_path / "docs/results.md").read_text()


def test_unknown_board(tmp_path):
    done = invoke("bitstreams", *project(tmp_path, []), "--board", "arty")
    assert done.exit_code == 2 and "board must be one of" in done.output
