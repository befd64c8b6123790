"""Single faults at random in blocks, and who finds them: `rasca mutate`. See docs/verification.md.

A fault is one operator, one constant or one condition of a block's hardware (whatever has a
parameter or a variable `m`) that is another. It is looked for by the block's properties
(sim.prove.catalogue), for a few cycles, then by the block's tests. A seed makes the same faults.
"""

import ast
import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from rich.console import Console

from golden import files
from golden.errors import bad_input
from sim import runner
from sim.prove import mutants, solver
from sim.prove.catalogue import PROPERTIES

OUTPUT = runner.BUILD / "prove"
DEPTH, LIMIT = 40, 20
"""Cycles and seconds in which a property is to find a fault."""
TEST_LIMIT, PATIENCE = 120, 1200
"""Seconds of the processor for a block's tests, and seconds in all: a fault that makes them hang is
found, and a machine that does other things as well finds none."""
BLOCKS = {
    "boards.camera.crossing": "test_crossing.py",
    "boards.camera.framer": "test_framer.py",
    "boards.camera.dvp": "test_dvp.py",
    "boards.camera.sccb": "test_sccb.py",
    "boards.uart": "test_uart.py",
    "hw.frames": "test_frames.py",
    "hw.line_buffer": "test_line_buffer_parts.py test_line_buffer.py",
    "hw.loader": "test_loader.py",
    "hw.host_read": "test_host_read.py",
    "hw.bus.axi": "test_bus_parts.py",
    "hw.bus.wishbone": "test_bus_parts.py",
    "hw.arithmetic.requant": "test_requant.py",
    "hw.parallel.gate": "test_gate.py",
    "hw.serial.array": "test_serial_starts.py::test_amaranth test_serial.py::test_array",
    "hw.serial.starts": "test_serial_starts.py::test_amaranth",
    "hw.serial.unit": "test_serial.py::test_unit test_serial.py::test_unit_pools",
    "hw.serial.window": "test_serial_window.py::test_amaranth",
    "hw.serial.store": (
        "test_serial_parts.py::test_operands test_serial_parts.py::test_writer "
        "test_serial_parts.py::test_pool test_serial_store.py::test_constants "
        "test_serial_store.py::test_counter test_serial_store.py::test_amaranth"
    ),
    "boards.link.parser": "test_link.py::test_parser test_link.py::test_parser_refuses",
    "boards.link.copier": (
        "test_link.py::test_copier test_link.py::test_events_go_first "
        "test_link.py::test_a_packet_is_of_one_event test_link.py::test_state_bytes "
        "test_link.py::test_frames_are_counted_to_256 test_link.py::test_memory "
        "test_link.py::test_an_older_fault_goes_first test_link.py::test_a_hello_is_of_one_moment "
        "test_link.py::test_a_channel_that_nobody_wants_is_given_up"
    ),
    "boards.link.counters": (
        "test_link.py::test_counters_while_they_leave test_link.py::test_counters"
    ),
    "boards.link.sender": "test_link.py::test_sender",
    "boards.link.replay": (
        "test_link.py::test_replay_of_lines test_link.py::test_replay_of_settings_and_weights"
    ),
    "boards.camera.fifo": (
        "test_crossing_fifo.py::test_random test_crossing_fifo.py::test_every_cycle"
    ),
    "boards.flash": (
        "test_flash.py::test_bytes test_flash.py::test_wake test_flash.py::test_image "
        "test_event_system.py::test_weights_and_camera test_flash.py::test_contents"
    ),
    "boards.event_system": "test_event_system.py",
    "boards.link.events": (
        "test_link.py::test_events test_link.py::test_class_byte "
        "test_link.py::test_events_in_their_order"
    ),
    "boards.outputs.preview": "test_preview.py",
    "boards.video.activation": "test_video.py::test_activation test_video.py::test_slopes",
    "boards.video.screen": "test_video.py::test_scoreboard test_video.py::test_screen",
    "boards.video.timing": "test_video.py::test_timing",
    "boards.video.tmds": "test_video.py::test_tmds",
    "hw.arithmetic.activation": "test_activation.py",
    "hw.arithmetic.carry": "test_carry.py",
    "hw.arithmetic.multiplier": "test_multiplier.py",
    "hw.bus.bank": "test_registers.py test_bus_parts.py",
    "hw.bus.load": (
        "test_bus_parts.py test_bus.py::test_weights_are_loaded "
        "test_bus.py::test_a_load_and_a_frame_at_once"
    ),
    "hw.bus.stream": (
        "test_bus_parts.py test_bus.py::test_photographs "
        "test_bus.py::test_a_load_and_a_frame_at_once"
    ),
    "hw.bus.events": "test_bus_parts.py test_bus.py::test_photographs test_bus.py::test_faults",
    "hw.bus.state": (
        "test_bus_parts.py::test_the_windows_word_is_the_one_asked_for_last "
        "test_bus.py::test_photographs"
    ),
    "hw.bus.top": (
        "test_bus.py::test_faults test_bus.py::test_weights_are_loaded "
        "test_bus.py::test_a_load_and_a_frame_at_once test_bus.py::test_photographs"
    ),
    "hw.pool": "test_pool.py",
    "hw.room": "test_room.py",
    "hw.sleep": "test_sleep.py",
    "hw.weight_sram": "test_weight_sram.py",
    "hw.sequencer": "test_sequencer_parts.py test_sequencer.py test_sleep.py",
    "hw.parallel.attention": (
        "test_parallel_parts.py::test_state_copy test_parallel_parts.py::test_attention "
        "test_parallel_parts.py::test_attention_of_a_frame_that_is_dropped"
    ),
    "hw.parallel.channel_unit": "test_channel_unit.py",
    "hw.parallel.classifier": (
        "test_classifier_parts.py test_classifier.py test_classes.py::test_answers "
        "test_classes.py::test_load"
    ),
    "hw.parallel.head_lane": "test_head_lane.py",
    "hw.parallel.maps": "test_maps.py",
    "hw.parallel.operands": "test_operands_unit_control.py",
    "hw.parallel.unit_control": "test_operands_unit_control.py",
    "hw.parallel.packer": "test_store_parts.py test_store.py",
    "hw.parallel.places": "test_store_parts.py test_store.py",
    "hw.parallel.turns": "test_store_parts.py test_store.py",
    "hw.parallel.store": "test_store_parts.py test_store.py",
    "hw.parallel.parts": (
        "test_parallel_parts.py test_engine.py::test_random_gaps "
        "test_engine.py::test_dropped_in_each_cycle_of_a_walk "
        "test_parts.py::test_the_low_power_record"
    ),
    "hw.parallel.window": "test_parallel_parts.py",
    "hw.parallel.softmax": "test_softmax.py",
    "hw.serial.classifier": (
        "test_classifier.py test_classes.py::test_answers test_classes.py::test_load"
    ),
}
"""Their modules, and the files of their tests; or tests of these, the quick ones first."""

_OTHER = {
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}


UNBUILT = "cannot be built"


@dataclass(frozen=True)
class Mutant:
    """A fault.

    Attributes
    ----------
    block : str
        Module.
    line : int
    was, now : str
        The expression, and what stands in its place.
    """

    block: str
    line: int
    was: str
    now: str


def _faults(node: ast.expr) -> Iterator[ast.expr]:
    """What may stand in place of an expression."""
    if isinstance(node, ast.BinOp) and type(node.op) in _OTHER:
        yield ast.BinOp(node.left, _OTHER[type(node.op)](), node.right)
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in _OTHER and len(node.ops) == 1:
        yield ast.Compare(node.left, [_OTHER[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        yield node.operand
    elif isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        if name == "Mux":
            yield ast.Call(node.func, [node.args[0], node.args[2], node.args[1]], [])
        elif name in ("m.If", "m.Elif"):
            yield ast.Call(node.func, [ast.UnaryOp(ast.Invert(), node.args[0])], [])
        elif name.endswith(".eq") and isinstance(node.args[0], ast.Constant):
            other = ast.Constant(int(not node.args[0].value))
            yield ast.Call(node.func, [other], [])


def _hardware(tree: ast.Module) -> Iterator[ast.AST]:
    """The functions that build hardware."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            names = {arg.arg for arg in node.args.args}
            if node.name == "elaborate" or "m" in names:
                yield node


def all_of(block: str) -> list[tuple[Mutant, str]]:
    """Every fault of a block with the module's text that has it, in the order of the lines."""
    text = mutants.source(block)
    lines = text.encode().splitlines(keepends=True)
    starts = [sum(map(len, lines[:i])) for i in range(len(lines))]
    found: dict[Mutant, str] = {}
    for function in _hardware(ast.parse(text)):
        for node in ast.walk(function):
            if not isinstance(node, ast.expr):
                continue
            for other in _faults(node):
                begin = starts[node.lineno - 1] + node.col_offset
                end = starts[node.end_lineno - 1] + node.end_col_offset
                was = text.encode()[begin:end].decode()
                now = ast.unparse(ast.fix_missing_locations(other))
                changed = text.encode()[:begin] + f"({now})".encode() + text.encode()[end:]
                mutant = Mutant(block, node.lineno, " ".join(was.split()), now)
                found.setdefault(mutant, changed.decode())
    return sorted(found.items(), key=lambda one: one[0].line)


def drawn(blocks: list[str], count: int, seed: int) -> list[tuple[Mutant, str]]:
    """As many faults of each block as of the next one, or one more."""
    rng = random.Random(seed)
    piles = [rng.sample(found, len(found)) for found in map(all_of, blocks)]
    turns = [pile[i] for i in range(max(map(len, piles))) for pile in piles if i < len(pile)]
    return turns[:count]


def by_properties(mutant: Mutant, text: str) -> str | None:
    """The property that finds a fault; `UNBUILT` of one that is no hardware."""
    try:
        module = mutants.changed(mutant.block, text)
    except Exception:  # whatever the changed text does
        return UNBUILT
    for one in PROPERTIES:
        if one.module != mutant.block:
            continue
        try:
            bench = one.build(module)
            method = "unrolled" if one.method == "unrolled" else "bounded"
            depth = one.depth if method == "unrolled" else DEPTH
            if not solver.decide(bench, method, depth, LIMIT).holds:
                return one.name
        except solver.Unsolved:
            continue
        except Exception:  # Amaranth's, of many kinds
            return UNBUILT
    return None


PLUGIN = "sim.prove.mutated"
"""pytest's plugin that puts the fault in."""


def by_tests(mutant: Mutant, text: str) -> bool:
    """Whether the block's tests find a fault."""
    kept = OUTPUT / "mutant.py"
    files.write(kept, text)
    environment = os.environ | {"RASCA_MUTANT": mutant.block, "RASCA_MUTANT_TEXT": str(kept)}
    tests = [f"tests/{name}" for name in BLOCKS[mutant.block].split()]
    words = ("-x", "-q", "-p", "no:cacheprovider", "-p", PLUGIN, *tests)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words],
            cwd=files.ROOT,
            env=environment,
            capture_output=True,
            timeout=PATIENCE,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (TEST_LIMIT, TEST_LIMIT)),
        )
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def main(
    count: Annotated[int, typer.Option(help="faults")] = 20,
    seed: Annotated[int, typer.Option(help="of the faults that are drawn")] = 0,
    block: Annotated[str | None, typer.Option(help="part of the blocks' names")] = None,
) -> None:
    """Puts single faults into blocks and tells which ones neither proof nor test finds."""
    console = Console(highlight=False, soft_wrap=True)
    with bad_input():
        if count < 1:
            raise ValueError(f"count must be at least 1, not {count}")
        if seed < 0:
            raise ValueError(f"seed must be at least 0, not {seed}")
        blocks = [name for name in BLOCKS if block is None or block in name]
        if not blocks:
            raise ValueError(f"expected part of a block's name, not {block!r}")
        if not (files.ROOT / "tests").is_dir():
            raise ValueError("expected a checkout with its tests, not an installation")
        files.check_folder(OUTPUT)
        OUTPUT.mkdir(parents=True, exist_ok=True)
    rows = []
    for mutant, text in drawn(blocks, count, seed):
        by = by_properties(mutant, text)
        found = "none" if by == UNBUILT else by and "proof"
        if by is None and by_tests(mutant, text):
            found, by = "test", BLOCKS[mutant.block]
        rows.append(asdict(mutant) | {"found": found, "by": by})
        says = by or "NOT FOUND"
        files.write(OUTPUT / "mutants.json", json.dumps(rows, indent=1) + "\n")
        console.print(
            f"{mutant.block}:{mutant.line}  {mutant.was[:60]}  ->  {mutant.now[:60]}  {says}"
        )
    for name in blocks:
        mine = [row for row in rows if row["block"] == name and row["found"] != "none"]
        ways = [sum(row["found"] == way for row in mine) for way in ("proof", "test", None)]
        if mine:
            console.print(
                f"{name:24} {len(mine)} faults: proofs {ways[0]}, tests {ways[1]}, "
                f"not found {ways[2]}"
            )
