"""Points of a design space: what one is, and what the cost model says of it.

`evaluate` is what the workers of sim.study.explore run.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import prod
from typing import Any

from golden.config import ModelConfig, preset
from hw.plan import compile_program
from hw.plan.cost import Cost, cost
from hw.plan.engine_config import EngineConfig
from hw.plan.limits import LIMITS
from hw.plan.parts import PARTS
from sim.study.energy import Technology, energy, technology

OBJECTIVES = ("sensor_uj", "area_mm2", "on_chip_bytes")
"""What a design is judged by; less is better: the energy of a frame at the sensor's rate, with the
slowest clock that keeps up with it, area, and bytes on the chip."""
SENSOR_RATE = 30.0
"""Frames/s of the sensor where a point names none."""
SRAM_AREA = 1.1  # technology.toml's `area_slack`


@dataclass(frozen=True, kw_only=True)
class Design:
    """A network on an array: what is compiled once for all technologies."""

    preset: str
    shape: str  # pixels,channels,lanes; pixels may be n, the columns of the network's state, or n+1
    weight_memory: str = "loaded"
    parts: str = "parallel"  # or another record of hw.plan.parts that silicon can have
    sleep: bool = True  # clocks stand still while nothing is to be done


@dataclass(frozen=True, kw_only=True)
class Use:
    """What a design is made in and runs at."""

    technology: str
    clock_mhz: float
    frames_per_s: float  # 0: as fast as it goes
    sram_area: float = SRAM_AREA  # of the least, that macros may take if they need less energy


SAME = ("preset", *(field.name for field in fields(Use) if field.name != "sram_area"))
"""Points that are alike in these are compared with each other."""


@dataclass(frozen=True)
class Point:
    """A point of a space."""

    design: Design
    use: Use

    def key(self) -> dict[str, Any]:
        """The point's own fields, as its result begins with them."""
        return {**asdict(self.design), **asdict(self.use)}


def resolve(design: Design) -> Design:
    """The design with numbers in its shape.

    Raises
    ------
    ValueError
        There is no such preset.
    """
    match = re.fullmatch(r"n(?:\+(\d+))?,(.*)", design.shape)
    model = preset(design.preset)
    if not match:
        return design
    return replace(design, shape=f"{model.n + int(match[1] or 0)},{match[2]}")


def engine_of(design: Design) -> EngineConfig:
    """The array.

    Raises
    ------
    ValueError
        There is none such in silicon.
    """
    known = [name for name, parts in PARTS.items() if not parts.only_fpgas]
    if design.parts not in known:
        raise ValueError(f"parts must be one of {', '.join(known)}, not {design.parts!r}")
    return EngineConfig.parse(
        design.shape, design.weight_memory, parts=design.parts, sleep=design.sleep
    )


def called(result: Mapping[str, Any]) -> str:
    """The array of a result in words: its shape, and its parts if they are not the usual ones."""
    return f"{result['shape']} {LIMITS[result['parts']].called}".strip()


def area_um2(found: Cost, tech: Technology) -> float:
    """Macros, and the logic by its flip-flops: the estimate of technology.toml."""
    sram = sum(
        memory.count * tech.memory(memory).area_um2 for memory in found.memories if not memory.banks
    )
    return sram + found.register_bits * tech["logic_area"]


def evaluate(design: Design, uses: Sequence[Use]) -> list[dict[str, Any]]:
    """Results of a design in all its uses, in their order.

    A result has the point's fields and the figures of docs/explore.md, or `error`: a line, and
    `impossible`: whether that is the point's own fault.
    """

    def failed(use: Use, error: Exception) -> dict[str, Any]:
        own = isinstance(error, ValueError)
        text = " ".join(str(error).split()) or type(error).__name__
        return {
            **Point(design, use).key(),
            "error": text if own else f"{type(error).__name__}: {text}",
            "impossible": own,
        }

    try:
        found = cost(compile_program(preset(design.preset), engine_of(design)))
    except Exception as error:  # whatever it is, the other points go on
        return [failed(use, error) for use in uses]
    results = []
    for use in uses:
        try:
            results.append(_result(design, use, found))
        except Exception as error:
            results.append(failed(use, error))
    return results


def _result(design: Design, use: Use, found: Cost) -> dict[str, Any]:
    return {**Point(design, use).key(), **figures(preset(design.preset), use, found)}


def figures(model: ModelConfig, use: Use, found: Cost) -> dict[str, Any]:
    """The figures of docs/explore.md of a network on an array, by their names there.

    Raises
    ------
    ValueError
        A clock, a rate or an area that cannot be; no such technology.
    """
    if not use.clock_mhz > 0:
        raise ValueError(f"clocks_mhz must be above 0, not {use.clock_mhz:g}")
    if use.frames_per_s < 0:
        raise ValueError(f"frames_per_s must be at least 0, not {use.frames_per_s:g}")
    if not use.sram_area >= 1:
        raise ValueError(f"sram_areas must be at least 1, not {use.sram_area:g}")
    tech = replace(technology(use.technology), area_slack=use.sram_area)
    joules = energy(found, tech, use.clock_mhz, use.frames_per_s or None)["total"]
    fastest = use.clock_mhz * 1e6 / found.cycles_frame
    rate = use.frames_per_s or fastest
    sensor = use.frames_per_s or SENSOR_RATE
    # a sensor's rows come evenly, also those below the last row group
    rows = model.image_height / model.rows_per_group
    slowest = sensor * max(found.cycles_frame, rows * found.camera_period) / 1e6
    asleep = energy(found, tech, slowest, sensor)["total"]
    return {
        "multipliers": found.multipliers,
        "cycles_row_group": found.cycles_row_group,
        "cycles_frame": found.cycles_frame,
        "mac_utilisation": round(found.mac_utilisation, 6),
        "on_chip_bytes": found.on_chip_bytes["total"],
        "area_mm2": round(area_um2(found, tech) / 1e6, 4),
        "energy_uj": round(joules, 4),
        "pj_per_mac": round(1e6 * joules / found.macs_frame, 4),
        "power_mw": round(joules * rate / 1e3, 4),
        "fastest_frames_per_s": round(fastest, 2),
        "sensor_frames_per_s": sensor,
        "slowest_clock_mhz": round(slowest, 4),
        "sensor_uj": round(asleep, 4),
        "sensor_mw": round(asleep * sensor / 1e3, 4),
    }


def keeps_up(result: dict[str, Any]) -> bool:
    """Whether a point's clock is fast enough for the sensor's rate."""
    return result["slowest_clock_mhz"] <= result["clock_mhz"] * (1 + 1e-9)


def choose(results: Sequence[dict[str, Any]], front: Sequence[int]) -> list[dict[str, Any]]:
    """The point that we would take of each network and use, and why, in a line.

    Of the points on the front that keep up: the one with the least product of `OBJECTIVES`, so
    that no unit and no weight plays a part.
    """
    groups: dict[tuple, list[int]] = {}
    for i in front:
        if keeps_up(results[i]):
            groups.setdefault(tuple(results[i][name] for name in SAME), []).append(i)
    chosen = []
    for members in groups.values():
        best = min(members, key=lambda i: prod(results[i][name] for name in OBJECTIVES))
        one = results[best]
        least = {name: min(results[i][name] for i in members) for name in OBJECTIVES}
        times = ", ".join(f"{one[name] / least[name]:.2f}" for name in OBJECTIVES)
        why = (
            f"{one['preset']} {called(one)} in {one['technology']}, macros up to "
            f"{one['sram_area']:g} times the least area: {one['sensor_mw']:.3g} mW at "
            f"{one['sensor_frames_per_s']:g} frames/s with a clock of "
            f"{one['slowest_clock_mhz']:.3g} MHz, {one['area_mm2']:.3g} mm2, "
            f"{one['on_chip_bytes']:,} bytes: of the {len(members)} on its front it has the least "
            f"product of energy, area and bytes ({times} times the least of each)"
        )
        chosen.append({"point": best, "why": why})
    return sorted(chosen, key=lambda entry: entry["point"])


def pareto(results: Sequence[dict[str, Any]]) -> list[int]:
    """Indices of the points that no other one of the same network and use betters: in one of
    `OBJECTIVES`, without being worse in another."""
    groups: dict[tuple, list[int]] = {}
    for i, result in enumerate(results):
        groups.setdefault(tuple(result[name] for name in SAME), []).append(i)
    kept = []
    for members in groups.values():
        values = {i: tuple(results[i][name] for name in OBJECTIVES) for i in members}
        front: list[int] = []  # in this order, a point is only bettered by one before it
        for i in sorted(members, key=values.__getitem__):
            bettered = (
                values[j] != values[i]
                and all(a <= b for a, b in zip(values[j], values[i], strict=True))
                for j in front
            )
            if not any(bettered):
                front.append(i)
        kept += front
    return sorted(kept)
