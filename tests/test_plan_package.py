"""hw.plan as a package: what it imports, how long it takes, that a plan is complete and frozen."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from pathlib import Path

import pytest

from boards import fit
from boards.build import boards
from golden.config import PRESETS, preset
from hw.plan import PARALLEL, SERIAL, EngineConfig, compile_program, default_shape
from hw.plan.latency import LATENCIES
from hw.plan.parts import PARTS

ALL = sorted(path.stem for path in Path("hw/plan").glob("[a-z]*.py"))


def test_plain_python():
    """Every module without the hardware language and the network library, in well under a second
    (0.1 s where nothing else runs, most of it numpy)."""
    text = (
        "import sys, time; began = time.process_time()\n"
        + "".join(f"import hw.plan.{name}\n" for name in ALL)
        + "taken = time.process_time() - began\n"
        + "print([m for m in ('amaranth', 'torch') if m in sys.modules], taken)"
    )
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    modules, seconds = found.stdout.rsplit(maxsplit=1)
    assert modules == "[]"
    assert float(seconds) < 0.8


def test_a_plan_is_complete_and_frozen():
    plan = compile_program(preset("vww_105x120"), EngineConfig.parse("8,1,2"))
    for name in ("cycles_per_row_group", "memories", "operations"):
        with pytest.raises((FrozenInstanceError, AttributeError)):
            setattr(plan, name, None)
    with pytest.raises(FrozenInstanceError):
        plan.operations[0].times = None
    assert isinstance(plan.operations, tuple) and plan.memories
    assert sum(memory.bytes for memory in plan.memories) > 30000
    assert {"requantise", "classifier"} <= {one["purpose"] for one in plan.multipliers_beside_array}


@pytest.mark.parametrize("name", boards())
def test_a_board_needs_no_hardware_to_know_what_fits(name):
    """`fit.need` of a plan as the compiler gives it."""
    board = boards()[name]
    model = preset(board.preset)
    plan = compile_program(model, fit.configure(board, model, None))
    need = fit.need(plan, board.device)
    assert need.bram > 0 and not need.short(board.device)


def test_every_preset_in_under_a_second():
    """Also the serial parts at 210x240, whose schedule took seconds."""
    script = (
        "import time\n"
        "from golden.config import PRESETS\n"
        "from hw.plan import *\n"
        "slow = 0\n"
        "for model in PRESETS.values():\n"
        "    for shape in (default_shape(model), EngineConfig.parse('8,1,2', parts='serial')):\n"
        "        began = time.process_time()\n"
        "        try:\n"
        "            compile_program(model, shape)\n"
        "        except ValueError:\n"
        "            pass\n"
        "        slow = max(slow, time.process_time() - began)\n"
        "print(slow)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert float(found.stdout) < 1


def test_latencies():
    """One name for a record of parts in all three places; what follows from the others does."""
    assert set(LATENCIES) == set(PARTS) == {"parallel", "serial", "packed", "low_power"}
    for latency in LATENCIES.values():
        assert is_dataclass(latency)
        text = "".join(kind.__doc__ for kind in type(latency).__mro__ if is_dataclass(kind))
        assert all(field.name in text for field in fields(latency))
        with pytest.raises(FrozenInstanceError):
            latency.row = 8
        later = replace(latency, window=latency.window + 1)
        assert later.transfer == latency.transfer + 1
    assert EngineConfig.parse("8,1,2", parts="serial").latency is SERIAL
    assert EngineConfig.parse("8,1,2").latency is PARALLEL
    known = "parallel, serial, packed or low_power"
    with pytest.raises(ValueError, match=f"parts must be {known}, not 'both'"):
        EngineConfig.parse("8,1,2", parts="both")


def test_default_shapes_have_a_plan():
    for model in PRESETS.values():
        assert compile_program(model, default_shape(model)).utilisation() > 0.5
