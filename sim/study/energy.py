"""Energy of a frame from counts: products, memory accesses, clocked registers, leakage.

All numbers of the processes, with their sources and how far off they may be, are in
technology.toml; what is counted comes from hw.plan.cost. Nothing is synthesised here.

What the model leaves out: wires between blocks, glitches, pads, clock generation, the sensor.
Registers are charged in the cycles in which their clock's edge reaches them: all of them, or of an
engine that sleeps (hw.sleep) those that hw.plan.awake predicts, less what gates of their own keep
away.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from pathlib import Path

from hw.plan.cost import Cost, MemoryCost

TABLE = Path(__file__).with_name("technology.toml")

# Bits of the products that a channel unit makes for a value besides the array's: requantise
# (24 x 8), interpolation (6 x 5), gate (10 x 9), as `Plan.multipliers_beside_array` says.
_UNIT_PRODUCT_BITS = 24 * 8 + 6 * 5 + 10 * 9
_UNIT_ADD_BITS = 3 * 24  # bias, rounding, blend
_CLASSIFIER_PRODUCT_BITS, _CLASSIFIER_ADD_BITS = 18 * 8, 32


@dataclass(frozen=True, kw_only=True)
class Number:
    """A value with what it means, where it comes from and how far off it may be (a factor)."""

    value: float
    uncertainty: float
    source: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Macro:
    """How a memory is made of SRAM macros: `high` x `wide` of `words` x `bits`.

    A read or write takes place in `wide` of them.
    """

    words: int
    bits: int
    high: int
    wide: int
    area_um2: float
    read_pj: float
    write_pj: float
    leakage_nw: float


@dataclass(frozen=True, kw_only=True)
class Technology:
    """A process: see technology.toml. `area_slack`: how much of the least area a memory's macros
    may take, if they need less energy."""

    name: str
    title: str
    nanometres: int
    volts: float
    numbers: Mapping[str, Number]
    macros: tuple[tuple[float, ...], ...]
    area_slack: float
    two_port_area: float

    def __getitem__(self, name: str) -> float:
        return self.numbers[name].value

    def sram(self, words: int, bits: int, ports: str = "1R1W") -> Macro:
        """The macros that a memory is made of, by the rule of technology.toml."""
        return _sram(self.name, self.area_slack, words, bits, ports)

    def memory(self, memory: MemoryCost) -> Macro:
        """The macros of one bank."""
        return self.sram(memory.macro_words, memory.bits, memory.ports)


@lru_cache
def _table() -> dict:
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def sources() -> dict[str, str]:
    """Short names of the sources, as the numbers give them, and what they are."""
    return dict(_table()["sources"])


def names() -> tuple[str, ...]:
    """Processes of the table."""
    return tuple(_table()["technology"])


@dataclass(frozen=True, kw_only=True)
class Gating:
    """What clock gates do: see technology.toml. `reached` is by clock of hw.plan.awake."""

    reached: Mapping[str, float]
    gates: float
    uncertainty: float
    source: str


def gating() -> Gating:
    """That of engines that sleep; the same in all processes."""
    return Gating(**_table()["gating"])


def register_states(cost: Cost, cycles: float) -> dict[str, float]:
    """Shares of the register cycles of a frame of so many cycles: `clocked`, `gated`, `asleep`."""
    found = cost.register_cycles(cycles, gating().reached)
    every = sum(found.values())
    return {state: value / every for state, value in found.items()}


@lru_cache
def technology(name: str) -> Technology:
    """A process of the table.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    table = _table()
    if name not in table["technology"]:
        raise ValueError(f"technology must be one of {', '.join(names())}, not {name!r}")
    entry = table["technology"][name]
    numbers = {key: Number(**value) for key, value in entry.items() if isinstance(value, dict)}
    return Technology(
        name=name,
        title=entry["title"],
        nanometres=entry["nanometres"],
        volts=entry["volts"],
        numbers=numbers,
        macros=tuple(tuple(macro) for macro in table["sram"]["macros"]),
        area_slack=table["sram"]["area_slack"],
        two_port_area=table["sram"]["two_port_area"],
    )


@lru_cache(maxsize=4096)
def _sram(name: str, area_slack: float, words: int, bits: int, ports: str) -> Macro:
    tech = technology(name)
    found = []
    for macro_words, macro_bits, area, read, write, leakage in tech.macros:
        high, wide = ceil(words / macro_words), ceil(bits / macro_bits)
        found.append(
            Macro(
                words=int(macro_words),
                bits=int(macro_bits),
                high=high,
                wide=wide,
                area_um2=high
                * wide
                * area
                * tech["sram_area"]
                * (tech.two_port_area if ports == "1R1W" else 1.0),
                read_pj=wide * read * tech["sram_read"],
                write_pj=wide * write * tech["sram_write"],
                leakage_nw=high * wide * leakage * tech["sram_leakage"],
            )
        )
    least = min(macro.area_um2 for macro in found)
    near = [macro for macro in found if macro.area_um2 <= area_slack * least]
    return min(near, key=lambda macro: (macro.read_pj, macro.area_um2))


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a frame's energy in uJ, with its bounds; `idle` parts go on while nothing runs."""

    energy: float
    uncertainty: float

    @property
    def low(self) -> float:
        return self.energy / self.uncertainty

    @property
    def high(self) -> float:
        return self.energy * self.uncertainty


def product_pj(tech: Technology, bits: int) -> float:
    """Energy of a product whose operands' widths multiply to `bits`."""
    return tech["multiply_8x8"] * bits / 64


@dataclass(frozen=True, kw_only=True)
class Activity:
    """What the array's operands switch: see technology.toml."""

    stored: float
    zeros: float
    source: str

    def row_changes(self, cost: Cost) -> float:
        """Of a product of a cost's array."""
        return self.zeros if cost.zero_is_zero else self.stored


def array_activity() -> Activity:
    """That of trained networks on photographs; the same in all processes."""
    return Activity(**_table()["array_activity"])


def mac_pj(tech: Technology, cost: Cost) -> float:
    """Energy of a multiply-accumulate, the clock of its registers apart: what changes in the rows
    of a multiplier, times the energy of a change."""
    return array_activity().row_changes(cost) * tech["row_change"]


def parts(cost: Cost, tech: Technology, clock_mhz: float, frames_per_s: float | None = None):
    """Parts of a frame's energy, uJ by name.

    Parameters
    ----------
    frames_per_s : float or None
        The sensor's frame rate; None: frames follow each other as fast as the engine goes. Clock
        and leakage also go on while it waits.

    Returns
    -------
    dict of str to Part
        "mac", "channel units", "classifier", "sram <memory>" for each memory that is used,
        "sram while waiting" (of memories without a read enable, in the cycles in which the engine
        waits) where there are such, "registers and clock", "leakage".

    Raises
    ------
    ValueError
        If the clock is too slow for that rate.
    """
    fastest = clock_mhz * 1e6 / cost.cycles_frame
    if frames_per_s is not None and frames_per_s > fastest * (1 + 1e-9):
        need = frames_per_s * cost.cycles_frame / 1e6
        raise ValueError(
            f"{frames_per_s:g} frames/s need a clock of at least {need:.3g} MHz, not {clock_mhz:g}"
        )
    seconds = 1 / (frames_per_s or fastest)
    groups, numbers = cost.row_groups, tech.numbers
    logic = numbers["multiply_8x8"].uncertainty
    found = {
        # every multiplier works in every step, useful or not
        "mac": Part(
            energy=groups * cost.slots_row_group * mac_pj(tech, cost) / 1e6,
            uncertainty=numbers["row_change"].uncertainty,
        ),
        "channel units": Part(
            energy=groups
            * cost.values_row_group
            * (product_pj(tech, _UNIT_PRODUCT_BITS) + tech["add_bit"] * _UNIT_ADD_BITS)
            / 1e6,
            uncertainty=logic,
        ),
        "classifier": Part(
            energy=groups
            * sum(part.macs for part in cost.beside)
            * (product_pj(tech, _CLASSIFIER_PRODUCT_BITS) + tech["add_bit"] * _CLASSIFIER_ADD_BITS)
            / 1e6,
            uncertainty=logic,
        ),
    }
    leakage = cost.register_bits * tech["logic_leakage"]
    cycles = clock_mhz * 1e6 * seconds
    waits, waiting = max(0.0, cycles - cost.cycles_frame), 0.0
    for memory in cost.memories:
        macro = tech.memory(memory)
        if not memory.banks:  # not in those of another
            leakage += memory.count * macro.leakage_nw
        if memory.reads or memory.writes:
            found[f"sram {memory.name}"] = Part(
                energy=(memory.reads * macro.read_pj + memory.writes * macro.write_pj) / 1e6,
                uncertainty=numbers["sram_read"].uncertainty,
            )
        if memory.always_read:
            waiting += waits * memory.count * macro.read_pj / 1e6
    if any(memory.always_read for memory in cost.memories):
        found["sram while waiting"] = Part(
            energy=waiting, uncertainty=numbers["sram_read"].uncertainty
        )
    own = gating()
    clocked = cost.register_cycles(cycles, own.reached)["clocked"]
    sleeps = cost.running is not None
    found["registers and clock"] = Part(
        energy=clocked * tech["register"] * (1 + own.gates * sleeps) / 1e6,
        uncertainty=numbers["register"].uncertainty * (own.uncertainty if sleeps else 1),
    )
    found["leakage"] = Part(
        energy=leakage * 1e-9 * seconds * 1e6,
        uncertainty=max(numbers[f"{what}_leakage"].uncertainty for what in ("sram", "logic")),
    )
    return found


def energy(
    cost: Cost, technology: Technology, clock_mhz: float, frames_per_s: float | None = None
) -> dict[str, float]:
    """uJ of a frame by part (see `parts`), and `total`."""
    found = {
        name: part.energy for name, part in parts(cost, technology, clock_mhz, frames_per_s).items()
    }
    return {**found, "total": sum(found.values())}


def sequencers(
    cost: Cost, tech: Technology, clock_mhz: float, frames_per_s: float | None = None
) -> float:
    """uJ of a frame in the sequencers, a share of "registers and clock": their flip-flops with
    clock pins, tree and gates. Arguments as of `parts`; 0 of parts that were not measured."""
    cycles = clock_mhz * 1e6 / frames_per_s if frames_per_s else cost.cycles_frame
    gates = gating().gates * (cost.running is not None)
    return cost.sequencer_cycles(cycles) * tech["register"] * (1 + gates) / 1e6
