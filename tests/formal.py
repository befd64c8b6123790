"""What Yosys finds in a netlist by looking at it. Proofs are sim.prove's."""

import subprocess
import sys

from amaranth.back import rtlil


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
