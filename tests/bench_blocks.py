"""Blocks under test between flat vectors, and scenarios that run on two simulators alike.

A *scenario* is a generator that yields the inputs of a cycle, a dictionary (what it leaves out is
0), and gets that cycle's outputs back, those that follow the inputs at once included::

    def scenario(seed):
        out = yield {"sum": 5}
        assert out["value"] == 7

Inputs and outputs are named like the block's ports (`pixels__valid`: a member of one with a
signature); a port with a layout is one number (`pack`, `unpack`). The input `reset` puts the block
back to its start. `on_verilator` runs scenarios in cocotb, `on_amaranth` in Amaranth's own
simulator, where a block that is altered needs no build.
"""

import gc
import importlib
import itertools
import os
from collections.abc import Generator, Iterable, Mapping

import cocotb
from amaranth.hdl import Module, ResetInserter, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge, Timer

from sim import runner
from sim.cell_models import INCLUDES, MODELS, OURS

# For blocks that are made of an FPGA's cells.
CELLS = {
    "sources": [*MODELS["ice40"], *MODELS["ecp5"], OURS / "mult9x9.v"],
    "flags": INCLUDES,
}

Scenario = Generator[dict[str, int], "Outputs", None]


def pack(values, bits: int) -> int:
    """Numbers of `bits` bits to one, the first lowest."""
    word = 0
    for place, value in enumerate(values):
        word |= (int(value) & ((1 << bits) - 1)) << (bits * place)
    return word


def unpack(word: int, bits: int, count: int, signed: bool = False) -> list[int]:
    """The other way round."""
    values = [(word >> (bits * place)) & ((1 << bits) - 1) for place in range(count)]
    return [v - (1 << bits) if signed and v >> (bits - 1) else v for v in values]


def pack_struct(layout, values: Mapping[str, int]) -> int:
    """Fields by name to the number that a port of an Amaranth layout takes."""
    word = 0
    for name, value in values.items():
        field = layout[name]
        width = Shape.cast(field.shape).width
        assert -(1 << width) < value < 1 << width, f"{name} = {value} takes more than {width} bits"
        word |= (value & ((1 << width) - 1)) << field.offset
    return word


def unpack_struct(layout, word: int) -> dict[str, int]:
    """The other way round."""
    found = {}
    for name, field in layout:
        shape = Shape.cast(field.shape)
        found[name] = unpack(word >> field.offset, shape.width, 1, shape.signed)[0]
    return found


class Outputs:
    """A cycle's outputs by name, taken from the flat vector when asked for."""

    def __init__(self, word: int, places: Mapping[str, list]):
        self.word, self.places = word, places

    def __getitem__(self, name: str) -> int:
        offset, width, signed = self.places[name]
        return unpack(self.word >> offset, width, 1, signed)[0]


class Rack(wiring.Component):
    """Blocks side by side, each with its inputs in one vector and its outputs in another."""

    def __init__(self, blocks: Mapping[str, wiring.Component]):
        self.blocks = dict(blocks)
        self.places: dict[str, dict] = {}
        ports: dict[str, object] = {}
        for name, block in self.blocks.items():
            inputs, outputs, used = {"reset": [0, 1, False]}, {}, [1, 0]
            for path, member, _ in block.signature.flatten(block):
                shape = Shape.cast(member.shape)
                way = 0 if member.flow == In else 1
                port = "__".join(map(str, path))
                (outputs if way else inputs)[port] = [used[way], shape.width, shape.signed]
                used[way] += shape.width
            self.places[name] = {"i": inputs, "o": outputs}
            ports |= {f"{name}_i": In(used[0]), f"{name}_o": Out(max(1, used[1]))}
        super().__init__(ports)

    def elaborate(self, platform):
        m = Module()
        for name, block in self.blocks.items():
            given, taken = getattr(self, f"{name}_i"), getattr(self, f"{name}_o")
            reset = Signal(name=f"{name}_reset")
            m.d.comb += reset.eq(given[0])
            m.submodules[name] = ResetInserter({"sync": reset})(block)
            for path, member, signal in block.signature.flatten(block):
                port, places = "__".join(map(str, path)), self.places[name]
                signal = Value.cast(signal)
                if member.flow == In:
                    offset, width, _ = places["i"][port]
                    m.d.comb += signal.eq(given[offset : offset + width])
                else:
                    offset, width, _ = places["o"][port]
                    m.d.comb += taken[offset : offset + width].eq(signal)
        return m


def encode(inputs: Mapping[str, int], places: Mapping[str, list]) -> int:
    word = 0
    for name, value in inputs.items():
        offset, width, _ = places[name]
        value = int(value)
        assert -(1 << width) < value < 1 << width, f"{name} = {value} takes more than {width} bits"
        word |= (value & ((1 << width) - 1)) << offset
    return word


def on_amaranth(block: wiring.Component, scenario: Scenario) -> int:
    """Runs a scenario on one block in Amaranth's simulator; returns the cycles it took."""
    rack = Rack({"block": block})
    places = rack.places["block"]
    cycles = 0

    async def testbench(ctx):
        nonlocal cycles
        try:
            inputs = next(scenario)
            while True:
                ctx.set(rack.block_i, encode(inputs, places["i"]))
                out = Outputs(ctx.get(rack.block_o), places["o"])
                await ctx.tick()
                cycles += 1
                inputs = scenario.send(out)
        except StopIteration:
            return

    simulator = Simulator(rack)
    simulator.add_clock(1e-8)
    simulator.add_testbench(testbench)
    simulator.run()
    return cycles


def on_verilator(blocks: Mapping[str, wiring.Component], jobs, sources=(), flags=()) -> None:
    """Builds a rack and runs (block, scenario function, arguments) jobs on it, each from reset.

    sources, flags: Verilog files of cells that the blocks are made of, and Verilator's options.

    The functions are looked up by name in the simulator's process; arguments go through JSON.
    """
    # cocotb would have pytest rewrite all of torch at each start, which takes seven seconds
    os.environ.setdefault("COCOTB_REWRITE_ASSERTION_FILES", "")
    rack = Rack(blocks)
    build = runner.build(rack, public=False, sources=sources, flags=flags)
    listed = [
        {
            "block": name,
            "module": function.__module__,
            "function": function.__name__,
            "arguments": arguments,
        }
        for name, function, arguments in jobs
    ]
    runner.run(build, "tests.bench_blocks", arguments={"places": rack.places, "jobs": listed})


@cocotb.test()
async def bench_scenarios(dut):
    """The jobs that `on_verilator` was given: those of a block in turn, the blocks side by side."""
    given = runner.arguments()
    gc.freeze()  # what is imported by now stays; looking at it again and again takes half the time
    dut.rst.value = 1
    for level in (0, 1, 0, 1):
        dut.clk.value = level
        await Timer(1, "ns")
    dut.rst.value = 0
    queues: dict[str, list] = {}
    for job in given["jobs"]:
        queues.setdefault(job["block"], []).append(job)
    running = {}
    while queues or running:
        dut.clk.value = 0
        for name in [name for name in queues if name not in running]:
            job = queues[name].pop(0)
            queues = {name: jobs for name, jobs in queues.items() if jobs}
            function = getattr(importlib.import_module(job["module"]), job["function"])
            running[name] = {
                "scenario": function(**job["arguments"]),
                "cycles": -1,
                "inputs": {"reset": 1},
                "i": getattr(dut, f"{name}_i"),
                "o": getattr(dut, f"{name}_o"),
                "places": given["places"][name],
                "title": f"{job['function']} on {name}",
                "before": None,
            }
        for state in running.values():
            word = encode(state["inputs"], state["places"]["i"])
            if word != state["before"]:
                state["i"].value = state["before"] = word
        await Timer(1, "ns")
        dut.clk.value = 1
        for name, state in list(running.items()):
            state["cycles"] += 1
            out = Outputs(int(state["o"].value), state["places"]["o"])
            try:
                state["inputs"] = state["scenario"].send(out if state["cycles"] else None)
            except StopIteration:
                dut._log.info(f"{state['title']}: {state['cycles']} cycles")
                del running[name]
        await Timer(1, "ns")


def stream(latency: int, inputs, expected, compare) -> Scenario:
    """A pipeline's scenario: one input a cycle, each answer exactly `latency` cycles later.

    compare(out, expected, index) asserts.
    """
    inputs, expected = list(inputs), list(expected)
    assert len(inputs) == len(expected) and inputs
    for cycle in itertools.count():
        out = yield inputs[cycle] if cycle < len(inputs) else {}
        if cycle >= latency:
            compare(out, expected[cycle - latency], cycle - latency)
        if cycle == len(inputs) + latency - 1:
            return


def broken_off(scenarios: Iterable[Scenario], cycles: Iterable[int]) -> Scenario:
    """So many cycles of each scenario, then a reset, of which the next one must not notice."""
    for scenario, count in zip(scenarios, cycles, strict=True):
        inputs = next(scenario)
        for _ in range(count):
            out = yield inputs
            inputs = scenario.send(out)
        yield inputs | {"reset": 1}


async def begin(dut, *zero) -> None:
    """For a bench of a single block: clock, three cycles of reset; these inputs at 0."""
    for handle in zero:
        handle.value = 0
    dut.rst.value = 1
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    for _ in range(3):
        await RisingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
