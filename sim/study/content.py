"""The content of `make report`: every figure of report.json, from plan, cost and energy model.

docs/reports.md says what each key means. Nothing is drawn or written here.
"""

import contextlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any

from golden.config import ModelConfig
from hw.plan import Plan, compile_program
from hw.plan.cost import STALLS, Cost, LayerCost
from hw.plan.cost import cost as cost_of
from hw.plan.engine_config import config_digest
from hw.plan.parts import parts_of
from hw.plan.replay import EvenCamera, latency_at, releases, timeline
from sim.study import energy as energies
from sim.study.accounting import MOST_BYTES
from sim.study.energy import Technology, mac_pj
from sim.study.point import area_um2

PEERS = Path(__file__).with_name("peers.toml")
RATE = 30.0  # frames/s of the sensor, where none is given


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a report is about.

    Parameters
    ----------
    plan : Plan
    cost : Cost
        Of that plan.
    tech : Technology
    clock_mhz : float
        Above 0.
    rate : float or None
        The sensor's frames/s; None: 30, or the fastest there is.

    Raises
    ------
    ValueError
        With the rule and the value; a clock that is too slow for the rate.
    """

    plan: Plan
    cost: Cost
    tech: Technology
    clock_mhz: float
    rate: float | None = None

    def __post_init__(self):
        if self.rate is None:
            return
        need = self.slowest_clock_mhz(self.rate)
        if self.clock_mhz < need * (1 - 1e-9):
            raise ValueError(
                f"{self.rate:g} frames/s on {self.cost.shape} need a clock of at least "
                f"{ceil(100 * need) / 100:g} MHz, not {self.clock_mhz:g}"
            )

    @property
    def model(self) -> ModelConfig:
        return self.plan.model

    @property
    def cycles_sensor(self) -> float:
        """Fewest cycles from frame to frame: the engine's, or those of a sensor whose rows come
        evenly, the rows below the last row group included."""
        rows = self.model.image_height / self.model.rows_per_group
        return max(self.cost.cycles_frame, rows * self.cost.camera_period)

    def slowest_clock_mhz(self, rate: float) -> float:
        """The clock that just keeps up with a sensor of that rate."""
        return rate * self.cycles_sensor / 1e6

    @property
    def fastest_frames_per_s(self) -> float:
        return self.clock_mhz * 1e6 / self.cycles_sensor

    @property
    def frames_per_s(self) -> float:
        """The sensor's rate."""
        return min(RATE, self.fastest_frames_per_s) if self.rate is None else self.rate

    @property
    def period(self) -> int:
        """Cycles of a row group at the sensor's rate."""
        groups = self.model.image_height / self.model.rows_per_group
        cycles = int(self.clock_mhz * 1e6 / (self.frames_per_s * groups) + 1e-6)
        return max(cycles, self.cost.camera_period)


def slowest_clock(plan: Plan, cost: Cost, rate: float | None) -> float:
    """MHz of the slowest clock that keeps up with a sensor of that rate (None: 30 frames/s), the
    next hundredth above."""
    one = Study(plan=plan, cost=cost, tech=energies.technology(energies.names()[0]), clock_mhz=1.0)
    return ceil(100 * one.slowest_clock_mhz(rate or RATE) - 1e-6) / 100


# ---- layers ----


def accesses(cost: Cost) -> tuple[str, ...]:
    """Memories that are read or written, in their order."""
    return tuple(memory.name for memory in cost.memories if memory.reads or memory.writes)


def layer(study: Study, part: LayerCost, *, array: bool = True) -> dict[str, Any]:
    """A line of the tables: one steady row group of a layer or an operation."""
    cost, tech = study.cost, study.tech
    memories = {memory.name: memory for memory in cost.memories}
    moved = [
        sum(words * memories[name].bits / 8 for name, words in side.items())
        for side in (part.reads, part.writes)
    ]
    sram = sum(
        part.reads.get(name, 0) * tech.memory(memory).read_pj
        + part.writes.get(name, 0) * tech.memory(memory).write_pj
        for name, memory in memories.items()
    )
    found = {
        "name": part.name,
        "macs": part.macs,
        "cycles": part.cycles,
        "stalls": {cause: part.stalls.get(cause, 0) for cause in STALLS} if array else {},
        "utilisation": round(part.utilisation(cost.multipliers), 6) if array else None,
        "reads": dict(part.reads),
        "writes": dict(part.writes),
        "weights": part.weights,
        "bytes_read": round(moved[0]),
        "bytes_written": round(moved[1]),
        "bytes_per_cycle": round(sum(moved) / part.cycles, 3) if part.cycles else 0.0,
        "megabytes_per_s": round(sum(moved) / part.cycles * study.clock_mhz, 3)
        if part.cycles
        else 0.0,
        "sram_nj": round(sram / 1e3, 6),
    }
    if array:
        found["steps"] = part.steps
        found["products"] = part.slots
        found["mac_nj"] = round(part.slots * mac_pj(tech, cost) / 1e3, 6)
    return found


def row_group(study: Study) -> dict[str, Any]:
    """All of a steady row group: the layers, and the words of what works beside them."""
    cost = study.cost
    parts = (*cost.layers, *cost.beside)
    whole = LayerCost(
        name="row group",
        macs=cost.macs_row_group,
        cycles=cost.cycles_row_group,
        steps=sum(part.steps for part in cost.layers),
        stalls={cause: sum(part.stalls[cause] for part in cost.layers) for cause in STALLS},
        slots=cost.slots_row_group,
        reads=cost.reads_row_group,
        writes=cost.writes_row_group,
        weights=sum(part.weights for part in parts),
    )
    return layer(study, whole)


def row_groups(study: Study) -> list[dict[str, Any]]:
    """Each row group of a frame at the sensor's rate, microseconds from the frame's first pixel.

    The frame finds the engine idle, its pixels come evenly.
    """
    plan, cost, camera = study.plan, study.cost, EvenCamera(study.plan, study.period)
    k, last = study.model.rows_per_group, plan.operations[-1]
    ready = [camera.ready(row) for row in range(k * cost.row_groups)]
    written = int(plan.write_times(last).max()) - (last.last_step + 1)
    answer = cost.latency_cycles["frame"] - cost.latency_cycles["row_group"]
    found, now = [], 0
    for t in range(cost.row_groups):
        before = now
        first, now = plan.predict(ready, [t], start=now)
        row = k * t
        state = now + written
        arrived = camera.last(row + k - 1)
        found.append(
            {
                "row_group": t,
                "rows": [row, row + k - 1],
                "cycles": cost.cycles_row_group,
                "cycles_waiting": now - before - cost.cycles_row_group,
                "macs": cost.macs_row_group,
                "latency_cycles": state - arrived,
                "last_pixel_us": _us(study, arrived),
                "first_step_us": _us(study, first),
                "state_us": _us(study, state),
                "answer_us": _us(study, state + answer),
            }
        )
    return found


def _us(study: Study, cycles: float) -> float:
    return round(cycles / study.clock_mhz, 3)


# ---- memories ----


def memories(study: Study) -> list[dict[str, Any]]:
    """Every memory; reads and writes of a frame, and how busy its ports are in a row group."""
    cost = study.cost
    found = []
    for memory in cost.memories:
        each = cost.cycles_row_group * cost.row_groups * memory.count
        macro = study.tech.memory(memory)
        found.append(
            {
                "name": memory.name,
                "category": memory.category,
                "words": memory.words,
                "bits": memory.bits,
                "banks": memory.count,
                "ports": memory.ports,
                "bytes": memory.bytes,
                "reads": memory.reads,
                "writes": memory.writes,
                "read_port_busy": round(memory.reads / each, 6),
                "write_port_busy": round(memory.writes / each, 6),
                "megabytes_per_s": round(
                    (memory.reads + memory.writes)
                    * memory.bits
                    / 8
                    / (cost.cycles_row_group * cost.row_groups)
                    * study.clock_mhz,
                    3,
                ),
                "macro": f"{macro.high * macro.wide} x {macro.words}x{macro.bits}",
                "lives": memory.lives,
            }
        )
    return found


def maps(plan: Plan) -> list[dict[str, Any]]:
    """The address map of a bank of maps and state: who lives where, from which operation to which.

    `over`: maps that were in these words before.
    """
    bank = plan.engine.pixels * plan.engine.lanes
    every = sorted(plan.maps.values(), key=lambda m: (m.born, m.base))
    found = []
    for one in every:
        found.append(
            {
                "name": one.name,
                "part": one.holds,
                "base": one.base,
                "words": one.words,
                "bytes": one.words * bank,
                "born": plan.operations[one.born].name,
                "dies": plan.operations[one.dies].name
                if one.dies < len(plan.operations)
                else "next row group",
                "from": one.born,
                "to": min(one.dies, len(plan.operations) - 1),
                "over": [
                    other.name
                    for other in every
                    if other.dies < one.born
                    and other.base < one.base + one.words
                    and one.base < other.base + other.words
                ],
            }
        )
    return found


def lines(study: Study) -> list[dict[str, Any]]:
    """The rows of a row group in the line buffer, in cycles from the first one's first pixel,
    at the shortest period of an even camera: arriving, there, let go of.
    """
    plan, camera = study.plan, EvenCamera(study.plan, study.cost.camera_period)
    k, settled = study.model.rows_per_group, 3  # row groups after which nothing changes any more
    start = camera.pixel(k * settled, 0)
    steps = timeline(plan, camera.ready, range(settled + 1), frames=True, first=camera.first)
    return [
        {
            "row": row % k,
            "arrives": camera.pixel(row, 0) - start,
            "there": camera.ready(row) - start,
            "released": step.end - start,
            "by": step.op.name,
        }
        for row, step in releases(plan, steps)
        if row >= k * settled
    ]


# ---- energy ----


def energy(study: Study, clock_mhz: float, rate: float | None) -> dict[str, Any]:
    """A frame's energy at a clock and a rate (None: frames back to back)."""
    cost = study.cost
    parts = energies.parts(cost, study.tech, clock_mhz, rate)
    total = sum(part.energy for part in parts.values())
    frames = rate or clock_mhz * 1e6 / cost.cycles_frame

    def rounded(values: Mapping[str, float]) -> dict[str, float]:
        return {name: round(value, 4) for name, value in values.items()}

    low = {name: part.low for name, part in parts.items()}
    high = {name: part.high for name, part in parts.items()}
    return {
        "clock_mhz": round(clock_mhz, 4),
        "frames_per_s": round(frames, 4),
        "uj": rounded({**{name: part.energy for name, part in parts.items()}, "total": total}),
        "low_uj": rounded({**low, "total": sum(low.values())}),
        "high_uj": rounded({**high, "total": sum(high.values())}),
        "pj_per_mac": round(1e6 * total / cost.macs_frame, 4),
        "mw": round(total * frames / 1e3, 4),
        "mw_low": round(sum(low.values()) * frames / 1e3, 4),
        "mw_high": round(sum(high.values()) * frames / 1e3, 4),
    }


def saved_by_stopping(study: Study, energy_uj: Mapping[str, float]) -> float:
    """Energy of a frame that ends with its work: not leakage, memories that read in every cycle,
    and clocks but those of the engine and its classifier where they sleep."""
    cost, clock = study.cost, "registers and clock"
    goes_on = {clock, "leakage", "sram while waiting", "total"}
    goes_on |= {f"sram {memory.name}" for memory in cost.memories if memory.always_read}
    saved = sum(uj for name, uj in energy_uj.items() if name not in goes_on)
    if cost.running is not None:
        shares = clocks(study, study.clock_mhz, study.frames_per_s)
        ends = sum(one["share_of_clocked"] for one in shares if one["clock"] in WORKING)
        saved += energy_uj[clock] * ends
    return saved


WORKING = ("engine", "units", "classifier")
"""Clocks that run while a row group is worked on."""


def clocks(study: Study, clock_mhz: float, rate: float) -> list[dict[str, Any]]:
    """The clocks of an engine that sleeps, at a sensor's rate; none of one that never does."""
    cost, cycles = study.cost, clock_mhz * 1e6 / rate
    if cost.running is None:
        return []
    runs = {**cost.running(cycles), "always": cycles}
    reached = {"engine": cost.engine_reached, **energies.gating().reached}
    clocked = cost.register_cycles(cycles, reached)["clocked"]
    return [
        {
            "clock": name,
            "registers": bits,
            "running": round(runs[name] / cycles, 6),
            "reached": round(reached[name], 4),
            "share_of_clocked": round(bits * runs[name] * reached[name] / clocked, 6),
        }
        for name, bits in cost.clock_bits.items()
    ]


FASTER = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Multiples of the slowest clock that a report compares."""


def faster(study: Study) -> list[dict[str, Any]]:
    """What a faster clock than the slowest one costs, asleep between rows or not: a frame's energy
    at the sensor's rate."""
    rate, found = study.frames_per_s, []
    awake = replace(study.cost, running=None)
    slowest = study.slowest_clock_mhz(rate)
    others = [c for f in FASTER if abs((c := f * slowest) / study.clock_mhz - 1) > 0.01]
    for clock in sorted([*others, study.clock_mhz]):
        always = energies.energy(awake, study.tech, clock, rate)["total"]
        drawn = energies.energy(study.cost, study.tech, clock, rate)["total"]
        found.append(
            {
                "clock_mhz": round(clock, 4),
                "uj": round(drawn, 4),
                "mw": round(drawn * rate / 1e3, 4),
                "uj_never_asleep": round(always, 4),
                "frame_to_decision_us": round(
                    latency_at(study.plan, replace(study, clock_mhz=clock).period)[1] / clock, 3
                ),
            }
        )
    return found


def area(study: Study) -> dict[str, float]:
    """The cost model's estimate in um2: macros, logic from the flip-flops, their sum."""
    total = area_um2(study.cost, study.tech)
    logic = study.cost.register_bits * study.tech["logic_area"]
    return {
        "sram": round(total - logic, 1),
        "logic": round(logic, 1),
        "total": round(total, 1),
    }


def shapes(study: Study) -> list[dict[str, Any]]:
    """Other arrays for the same sensor, each at the slowest clock that keeps up, fewest
    multipliers first. `best`: no other one has both less power and less area.

    Of the same parts.
    """
    own = study.plan.engine
    every = {str(own): own}
    for pixels, channels, lanes in parts_of(own).compared(max(3, study.model.n)):
        with contextlib.suppress(ValueError):  # that cannot be
            engine = replace(own, pixels=pixels, channels=channels, lanes=lanes)
            every.setdefault(str(engine), engine)
    found = []
    for text, engine in every.items():
        try:
            plan = study.plan if engine is own else compile_program(study.model, engine)
        except ValueError:
            continue
        one = Study(plan=plan, cost=cost_of(plan), tech=study.tech, clock_mhz=study.clock_mhz)
        clock = one.slowest_clock_mhz(study.frames_per_s)
        drawn = energy(one, clock, study.frames_per_s)
        found.append(
            {
                "shape": text,
                "multipliers": engine.multipliers,
                "cycles_frame": one.cost.cycles_frame,
                "mac_utilisation": round(one.cost.mac_utilisation, 6),
                "slowest_clock_mhz": drawn["clock_mhz"],
                "energy_uj": drawn["uj"]["total"],
                "power_mw": drawn["mw"],
                "power_low_mw": drawn["mw_low"],
                "power_high_mw": drawn["mw_high"],
                "area_mm2": round(area(one)["total"] / 1e6, 4),
                "on_chip_bytes": one.cost.on_chip_bytes["total"],
            }
        )
    found.sort(key=lambda one: (one["multipliers"], one["cycles_frame"]))
    for one in found:
        one["best"] = not any(
            other["power_mw"] < one["power_mw"] and other["area_mm2"] < one["area_mm2"]
            for other in found
        )
    return found


# ---- peers ----


@lru_cache
def peers() -> dict[str, Any]:
    """The content of peers.toml."""
    return tomllib.loads(PEERS.read_text(encoding="utf-8"))


def family(name: str) -> str:
    """A preset without its variant, e.g. vww_210x240 of vww_210x240_full."""
    return "_".join(name.split("_")[:2])


def systems(study: Study, back_to_back: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Our line, then the peers: the preset's twins first, then other twins, then the rest."""
    cost, own = study.cost, family(study.model.name)
    cycles = cost.cycles_frame
    same = (n for n in peers()["network"] if n.get("preset") == study.model.name)
    network = next(same, {})
    called = study.plan.engine.limits.called
    kind = ", ".join(filter(None, (cost.shape, called)))
    ours = {
        "name": f"Rasca, {kind}, {study.clock_mhz:g} MHz, {study.tech.name}",
        "task": f"VWW, {study.model.image_height}x{study.model.image_width}",
        "ours": True,
        "macs_m": round(cost.macs_frame / 1e6, 3),
        "accuracy": network.get("accuracy"),
        "weights": _whose(study.model) if network else None,
        "ms": round(cycles / study.clock_mhz / 1e3, 3),
        "uj": back_to_back["uj"]["total"],
        "mw": back_to_back["mw"],
        "mac_per_cycle": round(cost.macs_frame / cycles, 2),
        "multipliers": cost.multipliers,
        "utilisation": round(cost.mac_utilisation, 4),
        "memory_kb": round(_working_bytes(cost) / 1e3, 2),
        "source": "this report"
        + (f"; accuracy: {network['source']}, of {_whose(study.model)}" if network else ""),
    }
    others = sorted(
        peers()["system"], key=lambda s: (s.get("twin") != own, "twin" not in s)
    )  # sorted keeps the order of the rest
    found = [ours, *({**system, "ours": False} for system in others)]
    for system in found:
        if system.get("uj") and system.get("macs_m"):
            system["pj_per_mac"] = round(system["uj"] / system["macs_m"], 3)
            system["derived"] = [*system.get("derived", ()), "pj_per_mac"]
    return found


def _whose(model: ModelConfig) -> str:
    """Whose weights the accuracy of our line is of, and what the shipped ones reach."""
    own = peers()["ours"].get(model.name)
    shipped = "none are shipped" if own is None else f"the shipped ones, {own['weights']}, are not"
    return f"the authors' released weights in floating point ({shipped})"


def _working_bytes(cost: Cost) -> int:
    """All memories but weights, constants and program: what peers call activations."""
    fixed = ("weights", "constants", "program", "total")
    return sum(size for name, size in cost.on_chip_bytes.items() if name not in fixed)


def accuracies(model: ModelConfig) -> list[dict[str, Any]]:
    """Points of accuracy over peak memory, weights and MACs: published ones, then our two."""
    found = [{**network, "ours": False} for network in peers()["network"]]
    own = peers()["ours"].get(model.name)
    if own is None:
        return found
    same = {
        "family": "ours, other pictures",
        "peak_kb": round(model.peak_elements / 1e3, 2),
        "weights_kb": round(model.parameters / 1e3, 2),
        "source": own["source"],
        "ours": True,
    }
    macs = model.operations / 1e6
    return [
        *found,
        {
            "name": f"our weights, {model.name}",
            "accuracy": own["accuracy"],
            "macs_m": round(macs, 2),
            **same,
        },
        {
            "name": f"our weights, {model.name}, early termination "
            f"(stop {own['stop']:g}, skip {own.get('skip', 'off')})",
            "accuracy": own["early_accuracy"],
            "macs_m": round(macs * (1 - own["macs_saved"]), 2),
            **same,
            "family": "ours, early termination",
        },
    ]


# ---- all of it ----


def assumptions(study: Study) -> list[str]:
    """What the figures rest on, a line each; the technology's numbers have their own table."""
    tech, cost, engine = study.tech, study.cost, study.plan.engine
    return [
        "cycles, reads and writes: from the row program that the hardware is made of, of a steady "
        "row group; a frame is its row groups and "
        f"{study.plan.frame_turn} cycles between frames",
        "utilisation: array MACs, dense, padding included, over multipliers x cycles",
        "a read or write: a cycle with the enable of one bank; ports that are not enabled take no "
        "energy but leakage"
        + (
            f"; most memories of the {engine.limits.called} engine have no read enable: they read "
            "in every cycle, also while it waits"
            if any(memory.always_read for memory in study.plan.memories)
            else ""
        ),
        "bytes: words times bits of every addressable memory; registers are not in it",
        f"sensor: {study.frames_per_s:g} frames/s, pixels evenly over the whole frame, no blanking",
        f"clock: {study.clock_mhz:g} MHz, the engine's, "
        + (
            "never gated: registers are charged in every cycle, also while the engine waits for "
            "rows"
            if cost.running is None
            else "gated at its roots and for each enable of eight flip-flops: registers are "
            "charged when an edge reaches them (clocks run as predicted, within 3 %; the share "
            "reached is measured in mapped netlists)"
        ),
        f"technology: {tech.title}",
        "energy of the array: bits that change in the rows of a multiplier when a trained network "
        f"looks at a photograph ({energies.array_activity().row_changes(cost):g} a product), times "
        "what a change takes in IHP's cells with random operands; every multiplier works in every "
        "step. Channel units, classifier: a published table of products and sums",
        "SRAM: macros of the table's sizes with the least area, scaled to the technology; widths "
        "and words rounded up to whole macros",
        f"flip-flops: {cost.register_bits:,}, estimated from the shape (within "
        f"{parts_of(engine).registers_within} % of the Verilog)",
        "left out: wires between blocks, glitches, pads, clock generation, the sensor itself, "
        "its interface, supply losses",
        "bounds: every part times and over its factor, all in the same direction",
    ]


def content(study: Study) -> dict[str, Any]:
    """report.json but for the savings of early termination and the results of synthesis."""
    cost, model = study.cost, study.model
    at_sensor = energy(study, study.clock_mhz, study.frames_per_s)
    back_to_back = energy(study, study.clock_mhz, None)
    slowest = energy(study, study.slowest_clock_mhz(study.frames_per_s), study.frames_per_s)
    sensor_state, sensor_decision = latency_at(study.plan, study.period)
    return {
        "preset": model.name,
        "shape": cost.shape,
        "multipliers": cost.multipliers,
        "compact": study.plan.engine.limits.called == "compact",
        "config_digest": config_digest(model, study.plan.engine),
        "technology": study.tech.name,
        "clock_mhz": study.clock_mhz,
        "frames_per_s": round(study.frames_per_s, 4),
        "row_groups_frame": cost.row_groups,
        "cycles_row_group": cost.cycles_row_group,
        "cycles_frame": cost.cycles_frame,
        "macs_frame": cost.macs_frame,
        "mac_utilisation": round(cost.mac_utilisation, 6),
        "layers": [layer(study, part) for part in cost.layers],
        "beside": [layer(study, part, array=False) for part in cost.beside],
        "operations": [{**layer(study, part), "layer": part.layer} for part in cost.operations],
        "row_group": row_group(study),
        "row_groups": row_groups(study),
        "memories": memories(study),
        "on_chip_bytes": cost.on_chip_bytes["total"],
        "bytes_by_category": {k: v for k, v in cost.on_chip_bytes.items() if k != "total"},
        "limit_bytes": MOST_BYTES,
        "authors_count": {"weights": model.parameters, "peak": model.peak_elements},
        "bank_words": study.plan.bank_words,
        "maps": maps(study.plan),
        "lines": lines(study),
        "latency_cycles": dict(cost.latency_cycles),
        "latency_cycles_sensor": {"row_group": sensor_state, "frame": sensor_decision},
        "timing": {
            "row_group_us": _us(study, cost.cycles_row_group),
            "frame_ms": round(cost.cycles_frame / study.clock_mhz / 1e3, 4),
            "fastest_frames_per_s": round(study.fastest_frames_per_s, 3),
            "fastest_line_rate_hz": round(study.plan.line_rate_hz(study.clock_mhz * 1e6), 1),
            "line_rate_hz": round(study.frames_per_s * model.image_height, 1),
            "slowest_clock_mhz": round(study.slowest_clock_mhz(study.frames_per_s), 4),
            "row_group_to_state_us": _us(study, sensor_state),
            "frame_to_decision_us": _us(study, sensor_decision),
        },
        "energy_uj": at_sensor["uj"],
        "energy_low_uj": at_sensor["low_uj"],
        "energy_high_uj": at_sensor["high_uj"],
        "pj_per_mac": at_sensor["pj_per_mac"],
        "power_mw": at_sensor["mw"],
        "power_low_mw": at_sensor["mw_low"],
        "power_high_mw": at_sensor["mw_high"],
        "back_to_back": back_to_back,
        "slowest_clock": slowest,
        "sleeps": cost.running is not None,
        "clocks": clocks(study, study.clock_mhz, study.frames_per_s),
        "register_states": {
            state: round(share, 6)
            for state, share in energies.register_states(
                cost, study.clock_mhz * 1e6 / study.frames_per_s
            ).items()
        },
        "sequencers_uj": round(
            energies.sequencers(cost, study.tech, study.clock_mhz, study.frames_per_s), 4
        ),
        "faster_clocks": faster(study),
        "area_estimate_um2": area(study),
        "shapes": shapes(study),
        "peers": systems(study, back_to_back),
        "accuracy": accuracies(model),
        "technology_numbers": {name: asdict(n) for name, n in study.tech.numbers.items()},
        "warnings": list(study.plan.warnings),
        "assumptions": assumptions(study),
    }


def used_sources(tech: Technology, found: Mapping[str, Any]) -> dict[str, str]:
    """The sources that the numbers, peers and points name, in the tables' order."""
    every = {**energies.sources(), **peers()["sources"]}
    used = {"ihp_sram"}
    texts = [number.source for number in tech.numbers.values()]
    texts += [entry["source"] for entry in (*found["peers"], *found["accuracy"])]
    while texts:
        named = set(re.findall(r"\w+", texts.pop())) & set(every) - used
        used |= named
        texts += [every[name] for name in named]  # a source may name others
    return {name: what for name, what in every.items() if name in used}
