"""Weights, peak memory and OPs of every preset as the authors count them, beside our own count.

    rasca accounting [--json] [-o OUT.json]

The authors' rule (docs/network.md, "Accounting"): weights = trainable parameters, a byte each;
peak = largest input + output of one layer; OPs = MACs of convolutions and linear layers, one per
bias use and one per BatchNorm2d output. Ours: the dense MACs that the array makes, and every byte
of every memory on the chip.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from golden import files
from golden.command_line import bad_input, writable
from golden.config import PRESETS, ModelConfig
from hw.plan import compile_program, default_shape
from hw.plan.cost import on_chip_bytes

# What the authors print: weights KB, peak KB, OPs M.
PRINTED = {
    "vww_210x240": (47.03, 7.92, 56.34),
    "vww_210x240_banded": (54.59, 7.92, 61.10),
    "vww_105x120": (31.77, 3.60, 9.71),
    "vww_105x120_banded": (36.38, 3.60, 10.38),
}
MOST_MACS = 60_000_000  # the paper's hard limits
MOST_BYTES = 60_000  # weights and peak together; KB are 1,000 bytes there and here
# The paper's ratios: how many times smaller RaScaNet is than MCUNet, RNNPool and MobileNetV2.
PEAK_RATIOS = (15.9, 24.3)
WEIGHT_RATIOS = (5.3, 12.9)
THIRD_RATIO = 4.2  # printed beside the two; our sources do not say of which quantity
_RATIO_BASE = "vww_210x240"


@dataclass(frozen=True, kw_only=True)
class Account:
    """One preset, counted.

    Attributes
    ----------
    preset : str
    parameters, peak_elements, ops : int
        By the authors' rule.
    weights_kb, peak_kb, ops_m : float
        The same / 1000, / 1000 and / 1,000,000, to two decimals (31,775 gives 31.77, as printed).
    array_macs : int
        Dense MACs of the array in a frame.
    on_chip_bytes : dict or None
        Of the default shape, by category and in all; None where they are not counted.
    """

    preset: str
    parameters: int
    peak_elements: int
    ops: int
    weights_kb: float
    peak_kb: float
    ops_m: float
    array_macs: int
    on_chip_bytes: dict[str, int] | None

    @property
    def macs_fit(self) -> bool:
        """At most 60 M operations a frame by the authors' rule."""
        return self.ops <= MOST_MACS

    @property
    def memory_fits(self) -> bool:
        """Weights and peak together at most 60 KB by the authors' rule."""
        return self.parameters + self.peak_elements <= MOST_BYTES

    @property
    def chip_fits(self) -> bool | None:
        """Every byte on the chip together at most 60 KB; None where it is not known."""
        return None if self.on_chip_bytes is None else self.on_chip_bytes["total"] <= MOST_BYTES

    @property
    def as_printed(self) -> bool | None:
        """Equal to the authors' print to its last digit; None where they print nothing."""
        printed = PRINTED.get(self.preset)
        found = (self.weights_kb, self.peak_kb, self.ops_m)
        return None if printed is None else found == printed


def account(config: ModelConfig, on_chip_bytes: dict[str, int] | None = None) -> Account:
    """The count of one network.

    Parameters
    ----------
    config : ModelConfig
    on_chip_bytes : dict or None
        From `chip_bytes`.
    """
    return Account(
        preset=config.name,
        parameters=config.parameters,
        peak_elements=config.peak_elements,
        ops=config.operations,
        weights_kb=round(config.parameters / 1e3, 2),
        peak_kb=round(config.peak_elements / 1e3, 2),
        ops_m=round(config.operations / 1e6, 2),
        array_macs=config.array_macs_frame,
        on_chip_bytes=on_chip_bytes,
    )


def ratios(found: Account, base: Account) -> dict[str, tuple[float, float]]:
    """How many times smaller than the paper's three rivals, by the sizes its ratios imply.

    Their sizes are not in our sources, but follow from the paper's ratios and the size of the
    network that it gives them for: rival = ratio * `base`.
    """
    peak, weights = base.peak_elements / found.peak_elements, base.parameters / found.parameters
    return {
        "peak": (PEAK_RATIOS[0] * peak, PEAK_RATIOS[1] * peak),
        "weights": (WEIGHT_RATIOS[0] * weights, WEIGHT_RATIOS[1] * weights),
    }


def chip_bytes(config: ModelConfig) -> dict[str, int]:
    """Every byte on the chip at the default shape, as `make sim` counts it."""
    return on_chip_bytes(compile_program(config, default_shape(config)).memories)


def _line(found: Account) -> list[str]:
    printed = found.as_printed
    chip, fits = found.on_chip_bytes, found.chip_fits
    return [
        found.preset,
        f"{found.weights_kb:.2f}",
        f"{found.peak_kb:.2f}",
        f"{found.ops_m:.2f}",
        "" if printed is None else "yes" if printed else "NO",
        "yes" if found.macs_fit else "no",
        "yes" if found.memory_fits else "no",
        f"{found.array_macs:,}",
        "not counted" if chip is None else f"{chip['total']:,}",
        "" if fits is None else "yes" if fits else "no",
    ]


def _show(console: Console, accounts: list[Account]) -> None:
    table = Table(title="a frame of every preset", title_justify="left", box=None, padding=(0, 1))
    table.add_column("preset", no_wrap=True)
    for head in (
        "weights KB",
        "peak KB",
        "OPs M",
        "as printed",
        "OPs <= 60 M",
        "weights + peak <= 60 KB",
        "array MACs",
        "on-chip bytes",
        "<= 60 KB",
    ):
        table.add_column(head, justify="right")
    for found in accounts:
        table.add_row(*_line(found))
    console.print(table)
    console.print(
        "\nweights, peak, OPs: the authors' rule (a byte a parameter; largest input + output of one"
        "\nlayer; MACs, biases and batch norm). Array MACs: dense, padding included. On-chip bytes:"
        "\nevery memory of the default shape, with line buffer, state, tables and row program."
    )
    base = next(found for found in accounts if found.preset == _RATIO_BASE)
    peaks = "-".join(f"{ratio * base.peak_kb:.0f}" for ratio in PEAK_RATIOS)
    sizes = "-".join(f"{ratio * base.weights_kb:.0f}" for ratio in WEIGHT_RATIOS)
    console.print(
        f"\nThe paper: peak memory {_times(PEAK_RATIOS)}, weights {_times(WEIGHT_RATIOS)} smaller"
        " than MCUNet, RNNPool and MobileNetV2"
        f"\n(a third figure, {THIRD_RATIO}x, is printed beside them). By the sizes that this"
        f" implies for the three\n(peak {peaks} KB, weights {sizes} KB):"
    )
    for found in accounts:
        times = ratios(found, base)
        peak, weights = _times(times["peak"]), _times(times["weights"])
        console.print(
            f"  {found.preset:<20} peak {peak:>11} smaller, weights {weights:>10} smaller"
        )


def _times(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.1f}-{pair[1]:.1f}x"


def main(
    as_json: Annotated[
        bool, typer.Option("--json", help="a list of objects to standard output")
    ] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file, too")] = None,
) -> None:
    """Counts weights, peak memory and operations of every preset."""
    progress = Console(stderr=True)
    accounts = []
    with bad_input():
        writable(output)
    with progress.status("counting") as status:
        for config in PRESETS.values():
            status.update(f"planning {config.name}")
            accounts.append(account(config, chip_bytes(config)))
    found: list[dict[str, Any]] = [asdict(one) for one in accounts]
    text = json.dumps(found, indent=2)
    if output is not None:
        files.write(output, f"{text}\n")
    if as_json:
        print(text)
    else:
        _show(Console(highlight=False, soft_wrap=True, width=140), accounts)
