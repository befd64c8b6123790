"""From a bench to a verdict: Yosys makes an and-inverter graph of it, ABC decides.

Both come with pip's pyosys.
"""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Assert, ClockDomain, Module, Value

from boards.tools import YOSYS_SHARE
from sim.prove.bench import Bench

LIMIT = 600
"""Seconds that a solver is given by itself."""


class Unsolved(Exception):
    """The tools failed, or came to no end."""


@dataclass(frozen=True)
class Verdict:
    """What became of a bench.

    Attributes
    ----------
    holds : bool
    depth : int
        Cycles after the reset at which the first assertion fails; where all hold: cycles looked at
        (bounded), or frames of the invariant (pdr).
    seconds : float
    """

    holds: bool
    depth: int
    seconds: float


def netlist(bench: Bench, never: str | None = None) -> str:
    """RTLIL of a bench; `never`: and that this of `Bench.reach` is never so."""
    m = Module()
    m.submodules.bench = bench.m
    if never is not None:
        m.d.comb += Assert(~Value.cast(bench.reach[never]).bool())
    m.domains.sync = sync = ClockDomain(reset_less=True)
    return rtlil.convert(m, ports=[sync.clk, *bench.free], emit_src=False)


LOWER = (
    "hierarchy -auto-top",
    "proc",
    "flatten",
    "memory_map -formal",
    "chformal -lower",
)
GATES = (
    "opt",
    "async2sync",
    "dffunmap",
    "opt_clean",
    "setundef -undriven -anyseq",
    "techmap",
    "opt -fast -nodffe -nosdff",
    "dffunmap",
    "aigmap",
    "opt_clean",
)


def yosys(steps, folder: Path) -> str:
    """Runs Yosys' commands in a process of its own; returns what it says.

    Raises
    ------
    Unsolved
        With its last lines.
    """
    script = folder / "steps.ys"
    script.write_text("\n".join(steps) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "boards.yosys", str(script)], capture_output=True, text=True
    )
    if done.returncode:
        raise Unsolved((done.stdout + done.stderr)[-2000:])
    return done.stdout


def graph(bench: Bench, folder: Path, never: str | None = None) -> Path:
    """The and-inverter graph of a bench, as an AIGER file."""
    source, file = folder / "bench.il", folder / "bench.aig"
    source.write_text(netlist(bench, never))
    steps = [f"read_rtlil {source}"]
    if bench.verilog:
        (folder / "cells.v").write_text(bench.verilog)
        steps += [f"read_verilog {folder / 'cells.v'}"]
    if never is not None:  # the others are hard, and were decided by another method
        steps += ["chformal -assert -remove top.bench"]
    steps += LOWER
    yosys([*steps, *GATES, f"write_aiger -B -zinit {file}"], folder)
    return file


def abc(file: Path, commands: str, limit: float = LIMIT) -> str:
    """What ABC says of a graph."""
    program = YOSYS_SHARE.parent / "yosys-abc"
    script = f"read_aiger {file}; fold; strash; {commands}"
    try:
        done = subprocess.run(
            [str(program), "-c", script],
            capture_output=True,
            text=True,
            timeout=limit,
            cwd=file.parent,
        )
    except subprocess.TimeoutExpired:
        raise Unsolved(f"no answer within {limit:g} s") from None
    return done.stdout + done.stderr


def decide(bench: Bench, method: str, depth: int = 0, limit: float = LIMIT) -> Verdict:
    """Whether all assertions of a bench hold.

    Parameters
    ----------
    bench : Bench
    method : str
        One of sim.prove.catalogue.METHODS.
    depth : int
        Cycles, of "bounded" and "unrolled".
    limit : float
        Seconds.

    Raises
    ------
    Unsolved
        No answer, or the tools failed.
    """
    return _solve(bench, None, method, depth, limit)


def reached(
    build: Callable[[], Bench], depth: int = 600, limit: float = LIMIT
) -> dict[str, int | None]:
    """In which cycle what is to be possible first is, None where not within so many cycles."""
    found, bench = {}, build()
    for name in tuple(bench.reach):
        # a bench is elaborated once
        now, bench = bench or build(), None
        verdict = _solve(now, name, "bounded", depth, limit)
        found[name] = None if verdict.holds else verdict.depth
    return found


def _solve(bench, name, method, depth, limit) -> Verdict:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        file = graph(bench, Path(folder), name)
        if method == "pdr":
            said = abc(file, "pdr", limit)
            frames = re.search(r"Invariant F\[(\d+)\]", said)
            holds = "Property proved" in said
            depth = int(frames[1]) if frames else 0
        elif method == "bounded":
            said = abc(file, f"bmc3 -F {depth}", limit)
            looked = re.search(r"No output asserted in (\d+) frames", said)
            all_states = "Explored all reachable states" in said
            holds = all_states or bool(looked and int(looked[1]) >= depth)
        else:
            said = abc(file, f"frames -i -F {depth}; orpos; iprove", limit)
            holds = "UNSATISFIABLE" in said
            if not holds and "SATISFIABLE" in said:
                return Verdict(holds=False, depth=depth, seconds=time.monotonic() - began)
    failed = re.search(r"was asserted in frame (\d+)", said)
    if not holds and not failed:
        raise Unsolved(said[-1000:])
    depth = depth if holds else int(failed[1])
    return Verdict(holds=holds, depth=depth, seconds=time.monotonic() - began)
