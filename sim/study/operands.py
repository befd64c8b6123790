"""Operands that do not toggle: what a zero costs in a lane's cells, in ways to store it.

    python -m sim.study.operands --liberty FILE [--preset vww_210x240]

Half of the values behind a ReLU are zero, and stored as -128, which is multiplied as any other byte
is. A small lane (hw.parallel.head_lane without registers between operand and sum, and without its
drain) is mapped to the library for each way, fed with the operands and weights of a photograph's
middle row group, and weighed as `make asic` does; its sums must be the golden model's. The table is
in docs/asic.md.

It also has what the report's model of the array rests on ([array_activity] of technology.toml): the
bits that change in the rows of a multiplier, counted from operands and weights alone; the energy of
such a change is taken from random operands.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from amaranth.back import rtlil
from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from rich.console import Console
from rich.table import Table

from boards import tools
from golden import images
from golden.array import exact_matmul, windows
from golden.command_line import load_weights
from golden.config import ModelConfig, preset
from golden.errors import DIFFERENT, CommandError, bad_input
from golden.head_lane import block
from golden.line_buffer import to_signed
from golden.weights import Weights
from sim.study import activity, asic, liberty, rated
from sim.study.mapped import TOP

PIXELS, CHANNELS = 5, 3
WALKS = 96
"""Of all blocks, in proportion to their multiply-accumulates."""
ZERO = -128
"""The stored zero of a map behind a ReLU."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a lane takes its operands.

    Attributes
    ----------
    about : str
    zero_is_zero : bool
        Nine bits: a zero is 0 (and a pixel what it is).
    skips : bool
        The sums of a pixel that is 0 are not clocked.
    """

    about: str
    zero_is_zero: bool = False
    skips: bool = False


WAYS = (
    Way(about="bytes as stored, zero -128"),
    Way(about="9 bits, zero 0", zero_is_zero=True),
    Way(about="9 bits, zero 0, and its sums are not clocked", zero_is_zero=True, skips=True),
)


class Lane(wiring.Component):
    """P x C multipliers and accumulators.

    Ports
    -----
    operand : In(signed(8 or 9)), an array of P
    weights : In(signed(8)), an array of C
    first, last : In(1)
        They begin a sum; they end it.
    done : Out(1)
        The cycle after `last`: `sums` are complete.
    sums : Out(signed(acc_bits)), an array of C * P
    """

    def __init__(self, way: Way, acc_bits: int):
        self.skips, self.acc_bits = way.skips, acc_bits
        super().__init__(
            {
                "operand": In(data.ArrayLayout(signed(8 + way.zero_is_zero), PIXELS)),
                "weights": In(data.ArrayLayout(signed(8), CHANNELS)),
                "first": In(1),
                "last": In(1),
                "done": Out(1),
                "sums": Out(data.ArrayLayout(signed(acc_bits), CHANNELS * PIXELS)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.done.eq(self.last)
        for p in range(PIXELS):
            adds = Signal(name=f"adds{p}")
            m.d.comb += adds.eq(self.first | (self.operand[p] != 0) if self.skips else 1)
            for c in range(CHANNELS):
                total = Signal(signed(self.acc_bits), name=f"sum{c}_{p}", reset_less=True)
                product = self.operand[p] * self.weights[c]
                with m.If(adds):
                    m.d.sync += total.eq(Mux(self.first, 0, total) + product)
                m.d.comb += self.sums[c * PIXELS + p].eq(total)
        return m


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Operands [K, P] and weights [K, C] of a walk, as stored; the map's zero."""

    operands: torch.Tensor
    weights: torch.Tensor
    zero_point: int


def walks(model: ModelConfig, weights: Weights) -> Iterator[Walk]:
    """`WALKS` of the heads' blocks: of the middle row group of the first photograph."""
    picture = to_signed(images.default_images(model)[:1])
    first = model.rows_per_group * (model.row_groups // 2)
    rows = picture[:, :, first : first + model.rows_per_group].int()
    jobs, macs = [], []
    for head in range(model.heads):
        maps = rows
        for layer in model.head_layers(head):
            own = weights.layers[layer.name]
            patches = windows(maps, *own.weight.shape[2:], layer.input_zero_point)[0]
            kernels = own.weight.reshape(own.weight.shape[0], -1)
            jobs.append((patches, kernels, layer.input_zero_point))
            macs.append(kernels.numel() * patches.shape[1])
            maps = block(maps, own, layer.input_zero_point)
    for (patches, kernels, zero_point), share in zip(jobs, macs, strict=True):
        count = max(1, round(WALKS * share / sum(macs)))
        places = patches.shape[1] // PIXELS
        for i in range(count):
            at = PIXELS * (i * places // count)
            out = CHANNELS * (i % max(1, kernels.shape[0] // CHANNELS))
            yield Walk(
                operands=patches[:, at : at + PIXELS].long(),
                weights=kernels[out : out + CHANNELS].t().long(),
                zero_point=zero_point,
            )


def random_walks(count: int = 12, seed: int = 1) -> list[Walk]:
    """Walks whose bytes and weights are any."""
    source = torch.Generator().manual_seed(seed)
    return [
        Walk(
            operands=torch.randint(-128, 128, (81, PIXELS), generator=source),
            weights=torch.randint(-127, 128, (81, CHANNELS), generator=source),
            zero_point=ZERO,
        )
        for _ in range(count)
    ]


def row_changes(found: list[Walk], way: Way) -> float:
    """Bits that change from product to product in the rows of a multiplier, of one product.

    A row adds the operand, moved by its bit of the weight, to the sum of the rows before; row i of
    0..7 has i + 1 bits more than an operand. The first one is the operand itself, or nothing.
    """
    operands = torch.cat([w.operands - way.zero_is_zero * w.zero_point for w in found])
    a, b = operands[:, :, None], torch.cat([w.weights for w in found])[:, None, :]
    total, changes = torch.zeros_like(a * b), 0
    for i in range(8):
        row = a * (b >> i & 1) << i
        total = total - row if i == 7 else total + row
        if i:
            bits = total[..., None] >> torch.arange(9 + way.zero_is_zero + i) & 1
            changes += int((bits[1:] != bits[:-1]).sum())
    return changes / total[1:].numel()


def stimulus(found: list[Walk], way: Way) -> tuple[list[dict[str, int]], list[list[int]]]:
    """Inputs cycle by cycle, and the sums that each walk must have, channel by channel."""
    cycles, sums = [], []
    bits = 8 + way.zero_is_zero
    for walk in found:
        operands = walk.operands - (walk.zero_point if way.zero_is_zero else 0)
        sums.append(exact_matmul(walk.weights.t(), operands).flatten().tolist())
        for k, (pixels, weights) in enumerate(
            zip(operands.tolist(), walk.weights.tolist(), strict=True)
        ):
            cycles.append(
                {
                    "operand": sum((v & (1 << bits) - 1) << bits * i for i, v in enumerate(pixels)),
                    "weights": sum((v & 255) << 8 * i for i, v in enumerate(weights)),
                    "first": int(k == 0),
                    "last": int(k + 1 == len(operands)),
                }
            )
    return cycles, sums


@dataclass(frozen=True, kw_only=True)
class Measured:
    """pJ a product: of gates and registers' outputs; of clock pins, gates' and the tree's included;
    um2 of the lane."""

    logic: float
    clock: float
    area: float


def measure(
    way: Way, found: list[Walk], acc_bits: int, library: Path, folder: Path, console: Console
) -> Measured:
    """Maps a lane, plays the walks, weighs what switched.

    Raises
    ------
    RuntimeError
        A tool failed, or the lane's sums are not the golden model's.
    """
    cells = liberty.read(library)
    lane = Lane(way, acc_bits + way.zero_is_zero)
    ports = {name: (Value.cast(getattr(lane, name)), None) for name in lane.signature.members}
    folder.mkdir(parents=True, exist_ok=True)
    text = rtlil.convert(lane, name=TOP, ports=ports, emit_src=False)
    group = asic.GROUP if way.skips else None
    netlist = asic.block_netlist(folder, text, cells, console, group)
    flat = activity.flatten(netlist)
    outputs = ("done", "sums")
    (folder / "gates.txt").write_text(activity.netlist_text(flat, cells, outputs))
    cycles, sums = stimulus(found, way)
    names = activity.input_ports(flat, cells)
    idle = "c " + "".join(_bits(0, len(flat.ports[name])) for name in names)
    lines = [idle, idle, "start"]
    for cycle in cycles:
        lines.append(
            "c " + "".join(_bits(cycle.get(name, 0), len(flat.ports[name])) for name in names)
        )
    lines += ["stop", idle, idle]
    (folder / "stimulus.txt").write_text("\n".join(lines) + "\n")
    program = activity.compile_simulator(folder.parent)
    words = [str(program.resolve()), "gates.txt", "stimulus.txt", "counts.txt"]
    tools.run(words, folder, "activity.log", console, "activity")
    rows = [line.split() for line in (folder / "activity.log").read_text().splitlines()]
    width = lane.acc_bits
    for (_, bits), right in zip(rows, sums, strict=True):
        one = [bits[1 + width * i : 1 + width * (i + 1)] for i in range(len(right))]
        if [asic.signed_bits(text) for text in one] != right:
            raise RuntimeError(f"a lane of {way.about} makes other sums than the golden model")
    counts = activity.read_counts(folder / "counts.txt")
    energy = activity.weigh(flat, cells, counts)
    products = len(cycles) * PIXELS * CHANNELS
    area = sum(cells.cells[one.kind].area for one in flat.instances if one.kind in cells.cells)
    return Measured(
        logic=(energy.switching + energy.internal) / products,
        clock=energy.clock * (1 + rated.TREE) / products,
        area=area,
    )


def _bits(value: int, width: int) -> str:
    """Lowest bit first."""
    return f"{value:0{width}b}"[::-1]


def main(
    library: Annotated[Path, typer.Option("--liberty", help="Liberty file with a clock gate")],
    preset_name: Annotated[str, typer.Option("--preset", help="network")] = "vww_210x240",
) -> None:
    """A table of the ways."""
    console = Console()
    with bad_input():
        model = preset(preset_name)
        weights = load_weights(None, model)
        found = list(walks(model, weights))
    behind = [walk for walk in found if walk.zero_point == ZERO]
    zeros = sum(int((walk.operands == ZERO).sum()) for walk in behind)
    share = zeros / sum(walk.operands.numel() for walk in behind)
    by_chance = random_walks()
    table = Table(
        "a lane of 15 multipliers", "changes", "logic pJ", "a change", "clock pJ", "um2",
        "random: changes", "logic pJ", "a change",
    )  # fmt: skip
    try:
        with tempfile.TemporaryDirectory(prefix="rasca-") as scratch:
            for i, way in enumerate(WAYS):
                folder = Path(scratch) / str(i)
                one, other = (
                    measure(way, each, model.acc_bits, library, folder, console)
                    for each in (found, by_chance)
                )
                changes, others = (row_changes(each, way) for each in (found, by_chance))
                table.add_row(
                    way.about,
                    f"{changes:.1f}",
                    f"{one.logic:.3f}",
                    f"{one.logic / changes:.4f}",
                    f"{one.clock:.3f}",
                    f"{one.area:,.0f}",
                    f"{others:.1f}",
                    f"{other.logic:.3f}",
                    f"{other.logic / others:.4f}",
                )
    except RuntimeError as error:
        raise CommandError(str(error), DIFFERENT) from None
    console.print(table)
    console.print(
        f"{len(found)} walks of {model.name}'s heads; {share:.0%} of the operands behind a ReLU "
        "are zero"
    )


if __name__ == "__main__":
    typer.run(main)
