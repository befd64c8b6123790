"""The cocotb bench of the engine: steers sim/tb.sv and writes what it sees, one JSON line each.

It judges nothing. `sim.session` makes its arguments, reads its records while it runs, and compares
them with the golden model. Pixels, state reads and the log of map writes are done by sim/tb.sv
alone, so Python wakes only once an event.

Records (``kind``): ``frame`` (first walk step), ``row`` (logits and the whole state, words in hex),
``decision``, and at last ``end`` (counters). Every record has its ``cycle``.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer, ValueChange, with_timeout

from sim import runner

PERIOD = 10  # ns
POLL = 256  # cycles between two looks whether the run is over
FRAME, ROW, DECISION = 1, 2, 4
COUNTERS = ("overrun", "truncated", "line", "restart", "dropped")


@cocotb.test()
async def bench_frames(dut: Any) -> None:
    """Plays the schedule to its end (or as far as is asked) and records the events."""
    given = runner.arguments()
    with Path(given["records"]).open("w") as file:

        def record(**fields: Any) -> None:
            file.write(json.dumps(fields) + "\n")
            file.flush()

        Clock(dut.clk, PERIOD, unit="ns", impl="gpi").start()
        dut.rst.value = 1
        await Timer(4 * PERIOD, unit="ns")
        dut.rst.value = 0
        await RisingEdge(dut.clk)
        if given["load"] is not None:
            await load(dut, Path(given["load"]).read_bytes())
        if given["free_frames"] == 0:
            set_thresholds(dut, given)
        watcher = cocotb.start_soon(watch(dut, given, record))
        dut.play.value = 1
        await finish(dut, given, watcher)
        watcher.cancel()
        counts = {name: int(getattr(dut, f"count_{name}").value) for name in COUNTERS}
        record(
            kind="end",
            cycle=int(dut.cycle.value),
            busy=int(dut.busy.value),
            counts=counts,
            weights_digest=int(dut.weights_digest.value),
            load_error=int(dut.load_error.value),
        )


async def watch(dut: Any, given: dict[str, Any], record: Callable[..., None]) -> None:
    """Records each event; returns once enough frames have begun and all before them are decided,
    or enough row groups are answered."""
    seen, frames, groups, decisions = 0, 0, 0, 0
    while True:
        while seen == int(dut.event_count.value):
            await ValueChange(dut.event_count)
        at = seen % 64
        seen += 1
        kind, cycle = int(dut.event_kind[at].value), int(dut.event_cycle[at].value)
        if kind & FRAME:
            frames += 1
            record(kind="frame", cycle=cycle)
        if kind & ROW:
            logits = numbers(dut.event_row_logits[at])
            group = int(dut.event_row[at].value)
            stays = given["state_stays"]
            state = await read_state(dut, None if stays is None else cycle + stays)
            record(kind="row", cycle=cycle, row_group=group, logits=logits, state=state)
            groups += 1
        if kind & DECISION:
            decisions += 1
            record(
                kind="decision",
                cycle=cycle,
                label=int(dut.event_class[at].value),
                logits=numbers(dut.event_logits[at]),
                rows_used=int(dut.event_rows_used[at].value),
                status=int(dut.event_status[at].value),
            )
            if decisions == given["free_frames"]:
                set_thresholds(dut, given)
        if 0 < given["frame_starts"] <= min(frames, decisions + 1):
            return
        if 0 < given["row_groups"] <= groups:
            return


async def read_state(dut: Any, until: int | None) -> str:
    """All words of the state, word by word, hex digits of each with byte 0 last; "-" for one that
    came when the next row group's were being written, or for all if the last one came after the
    cycle `until`."""
    dut.read_go.value = 1
    await ValueChange(dut.reads_done)
    dut.read_go.value = 0
    digits, late = len(dut.state_image[0]) // 4, int(dut.state_late.value)
    if until is not None and int(dut.cycle.value) > until:
        late = -1
    return " ".join(
        "-" if late >> place & 1 else f"{int(word.value):0{digits}x}"
        for place, word in enumerate(dut.state_image)
    )


async def finish(dut: Any, given: dict[str, Any], watcher: Any) -> None:
    """Waits until the watcher is content, or all is played, the engine idle and no event new."""
    quiet, events = 0, -1
    while not watcher.done():
        await Timer(POLL * PERIOD, unit="ns")
        now = int(dut.event_count.value)
        idle = dut.played.value and not dut.busy.value and not dut.reading.value
        quiet = quiet + 1 if idle and now == events else 0
        events = now
        if quiet >= given["quiet_polls"]:
            return
        cycle = int(dut.cycle.value)
        assert cycle < given["limit"], f"not finished after {cycle} cycles"
    watcher.result()


async def load(dut: Any, data: bytes) -> None:
    """Sends a weights image through the loader port."""
    for index, byte in enumerate(data):
        dut.load_valid.value = 1
        dut.load_data.value = byte
        dut.load_last.value = index == len(data) - 1
        await RisingEdge(dut.clk)
        while not dut.load_ready.value:
            await RisingEdge(dut.clk)
    dut.load_valid.value = 0
    dut.load_last.value = 0
    await with_timeout(RisingEdge(dut.clk), 10 * PERIOD, "ns")


def set_thresholds(dut: Any, given: dict[str, Any]) -> None:
    """Early termination as asked; None leaves it off."""
    for name in ("stop", "skip"):
        threshold = given[f"{name}_threshold"]
        getattr(dut, f"{name}_enable").value = threshold is not None
        getattr(dut, f"{name}_threshold").value = threshold or 0


def numbers(handle: Any) -> list[int]:
    """Signed numbers of 32 bits, the first lowest."""
    word, count = int(handle.value), len(handle.value) // 32
    found = [word >> 32 * i & 0xFFFFFFFF for i in range(count)]
    return [number - (number >> 31 << 32) for number in found]
