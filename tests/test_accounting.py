"""The authors' figures, exactly; our own beside them."""

import json
import subprocess
import sys

import pytest

from golden.config import PRESETS
from sim.study import accounting
from sim.study.accounting import account, ratios
from tests.command import invoke

KEYS = (
    "preset parameters peak_elements ops weights_kb peak_kb ops_m array_macs on_chip_bytes".split()
)


@pytest.mark.parametrize(
    "name, parameters, peak, operations, printed",
    [
        ("vww_210x240", 47_033, 7_920, 56_335_340, ("47.03", "7.92", "56.34")),
        ("vww_210x240_banded", 54_593, 7_920, 61_098_140, ("54.59", "7.92", "61.10")),
        ("vww_105x120", 31_775, 3_600, 9_705_603, ("31.77", "3.60", "9.71")),
        ("vww_105x120_banded", 36_383, 3_600, 10_382_979, ("36.38", "3.60", "10.38")),
    ],
)
def test_the_authors_table(name, parameters, peak, operations, printed):
    found = account(PRESETS[name])
    assert (found.parameters, found.peak_elements, found.ops) == (parameters, peak, operations)
    shown = tuple(f"{value:.2f}" for value in (found.weights_kb, found.peak_kb, found.ops_m))
    assert shown == printed
    assert found.as_printed is True


def test_array_macs():
    wanted = {
        "vww_210x240": 55_248_480,
        "vww_105x120": 9_480_240,
        "vww_210x240_full": 61_712_280,
        "vww_105x120_banded": 10_305_792,
    }
    assert {name: account(PRESETS[name]).array_macs for name in wanted} == wanted


def test_hard_limits():
    """60 M operations and 60 KB of weights and peak: as released they fit, with attention not."""
    fits = {name: account(config) for name, config in PRESETS.items()}
    assert fits["vww_210x240"].macs_fit and fits["vww_210x240"].memory_fits
    assert not fits["vww_210x240_banded"].macs_fit
    assert not fits["vww_210x240_banded"].memory_fits
    assert fits["vww_105x120_full"].macs_fit and fits["vww_105x120_full"].memory_fits
    assert fits["vww_105x120"].chip_fits is None
    assert account(PRESETS["vww_105x120"], {"total": 60_000}).chip_fits is True
    assert account(PRESETS["vww_105x120"], {"total": 60_001}).chip_fits is False


def test_the_papers_ratios():
    base = account(PRESETS["vww_210x240"])
    assert ratios(base, base) == {"peak": (15.9, 24.3), "weights": (5.3, 12.9)}
    small = ratios(account(PRESETS["vww_105x120"]), base)
    assert small["peak"] == pytest.approx((15.9 * 2.2, 24.3 * 2.2))


@pytest.mark.parametrize("name", ["vww_105x120", "vww_210x240"])
def test_on_chip_bytes_come_from_the_hardware(name):
    found = accounting.chip_bytes(PRESETS[name])
    assert found["total"] == sum(value for key, value in found.items() if key != "total")
    assert found["weights"] <= found["total"] <= 60_000
    # All weights and the rows of pixels are on the chip, whatever else is.
    config = PRESETS[name]
    assert found["weights"] >= sum(layer.taps * layer.out_channels for layer in config.layers)
    assert found["line_buffer"] >= 5 * 3 * config.image_width


def test_golden_loads_no_hardware():
    code = (
        "import golden.train, golden.evaluate, golden.visualise, sys;"
        "print([m for m in sys.modules if m.split('.')[0] in ('hw', 'sim', 'amaranth')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_json(monkeypatch):
    chip = {"weights": 1, "total": 1}
    monkeypatch.setattr(accounting, "chip_bytes", lambda config: dict(chip))
    result = invoke("accounting", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert [one["preset"] for one in found] == list(PRESETS)
    assert all(list(one) == KEYS for one in found)
    assert all(one["on_chip_bytes"] == chip for one in found)
    monkeypatch.setattr(accounting, "chip_bytes", lambda config: None)
    found = json.loads(invoke("accounting", "--json").stdout)
    assert all(one["on_chip_bytes"] is None for one in found)


def test_json_file(monkeypatch, tmp_path):
    """A table for people, the same list for programs."""
    monkeypatch.setattr(accounting, "chip_bytes", lambda config: None)
    result = invoke("accounting", "-o", str(tmp_path / "a.json"))
    assert "as printed" in result.stdout
    wanted = invoke("accounting", "--json").stdout
    assert (tmp_path / "a.json").read_text() == wanted
    result = invoke("accounting", "-o", str(tmp_path / "none/a.json"))
    assert result.exit_code == 2 and "expected an existing folder" in result.stderr


def test_table(monkeypatch):
    monkeypatch.setattr(accounting, "chip_bytes", lambda config: None)
    text = invoke("accounting").stdout
    line = next(line for line in text.splitlines() if line.startswith(" vww_210x240_banded"))
    assert "54.59" in line and "61.10" in line and "61,712,280" in line
    assert "not counted" in line and " NO " not in text
    assert "15.9x" not in text.split("The paper")[0] and "15.9-24.3x" in text and "4.2x" in text
