"""Proofs with Yosys' own SAT solver: assertions of a module hold in every cycle, by induction."""

import subprocess
import sys

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Module


def prove(m: Module, inputs, depth: int, *, tmp_path, bounded: bool = False) -> str:
    """An empty text where all assertions hold for ever, else what Yosys says.

    Parameters
    ----------
    m : Module
        With `Assert` and `Assume`; its registers begin as after a reset.
    inputs : sequence of Signal
        Free in every cycle.
    depth : int
        Cycles of the induction.
    bounded : bool
        They are to hold for so many cycles after the reset only.
    """
    m.domains.sync = sync = ClockDomain(reset_less=True)
    kind = "-tempinduct-baseonly" if bounded else "-tempinduct"
    file = tmp_path / "proof.il"
    file.write_text(rtlil.convert(m, ports=[sync.clk, *inputs], emit_src=False))
    steps = [
        f"read_rtlil {file}",
        "hierarchy -auto-top",
        "proc",
        "flatten",
        "chformal -lower",
        "opt",
        "async2sync",
        "dffunmap",
        "opt_clean",
        f"sat -verify -prove-asserts -set-assumes {kind} -maxsteps {depth}",
    ]
    return yosys(steps)


def paths(component, outputs, inputs, *, tmp_path) -> str:
    """An empty text where nothing goes from inputs to outputs in a cycle, else what Yosys says.

    Parameters
    ----------
    component : wiring.Component
    outputs, inputs : str
        Patterns of names of ports, such as `bus__*ready`.
    """
    file = tmp_path / "paths.il"
    file.write_text(rtlil.convert(component, emit_src=False))
    steps = [
        f"read_rtlil {file}",
        "proc",
        "flatten",
        "opt_clean",
        f"select -assert-min 1 o:{outputs}",
        f"select -assert-min 1 i:{inputs}",
        f"select -assert-none o:{outputs} %ci*:-$dff,$sdff,$dffe,$sdffe i:{inputs} %i",
    ]
    return yosys(steps)


def yosys(steps) -> str:
    script = (
        f"from pyosys import libyosys as ys; d = ys.Design();[ys.run_pass(p, d) for p in {steps!r}]"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    return "" if done.returncode == 0 else (done.stdout + done.stderr)[-3000:]
