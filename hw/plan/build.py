"""The operations of a row group, from the network's table of layers (golden.network).

Heads go through their blocks depth first in rows: a block's row is computed as soon as the rows
that it reads are there, so that little has to be kept.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from math import ceil

from golden.config import ModelConfig
from golden.network import Layer, Part
from hw.plan.banks import Map
from hw.plan.engine_config import Geometry
from hw.plan.operations import (
    STATE,
    Function,
    Operation,
    Segment,
    Source,
    Target,
    WeightSource,
    weight_words,
)

FUNCTIONS = {
    Part.HEAD: Function.RELU,
    Part.KEY: Function.SIGNED,
    Part.SCORE: Function.SIGNED,
    Part.VALUE: Function.SIGNED,
    Part.MIX: Function.MIX,
    Part.ATTENTION_HIDDEN: Function.RELU,
    Part.ATTENTION_GATE: Function.CHANNEL,
    Part.PROJECTION: Function.RELU,
    Part.RESET: Function.RESET,
    Part.UPDATE: Function.UPDATE,
    Part.CANDIDATE: Function.BLEND,
}
"""What the channel units do for each part of the network."""

_NAMES = {
    Part.KEY: "k{head}",
    Part.SCORE: "s{head}",
    Part.VALUE: "v{head}",
    Part.MIX: "a{head}",
    Part.ATTENTION_HIDDEN: "ca1",
    Part.ATTENTION_GATE: "ca2",
    Part.PROJECTION: "p{number}",
    Part.RESET: "r",
    Part.UPDATE: "u",
    Part.CANDIDATE: "n",
}

_HOLDS = {
    Part.HEAD: "heads",
    Part.KEY: "spatial attention",
    Part.VALUE: "spatial attention",
    Part.ATTENTION_HIDDEN: "channel attention",
    Part.PROJECTION: "projection",
    Part.RESET: "GRU",
    Part.UPDATE: "GRU",
    Part.CANDIDATE: "state",
}

# All heads' scores first: the softmax works on them while the array computes V.
_SPATIAL_ORDER = {Part.KEY: 0, Part.SCORE: 0, Part.VALUE: 1, Part.MIX: 2}


class _Builder:
    """Operations and maps as they come."""

    def __init__(self, model: ModelConfig, geometry: Geometry):
        self.model, self.g, self.engine = model, geometry, geometry.engine
        self.operations: list[Operation] = []
        self.maps: dict[str, Map] = {}
        self.bases: dict[str, tuple[int, int]] = {}  # layer -> of its weights and constants
        self.weight = self.constant = 0

    def map(self, name: str, layer: Layer, **shape) -> str:
        """Add a map that `layer` is the first to write, if there is none of that name."""
        if name not in self.maps:
            holds = "features" if name == "C" else _HOLDS[layer.part]
            self.maps[name] = Map(name=name, holds=holds, **shape)
        return name

    def narrow(self, name: str, layer: Layer, channels: int) -> str:
        """Likewise an n-wide map."""
        words = self.g.bank_words(channels)
        return self.map(name, layer, words=words, wide=False, groups=self.g.state_words)

    def add(self, **fields) -> None:
        """Add an operation; rows of a block share their weights and constants."""
        op = Operation(**fields)
        name, own = op.layer.name, op.weights == WeightSource.MEMORY
        each = self.g.constant_words(op.head_mode)
        constants = each * op.out_groups if own else each
        if name not in self.bases:
            self.bases[name] = self.weight, self.constant
            self.weight += weight_words(op, self.g)
            self.constant += constants
        weight_base, constant_base = self.bases[name]
        self.operations.append(
            replace(
                op,
                weight_base=weight_base,
                constant_base=constant_base,
                constant_step=each if own else 0,
                constants=constants,
            )
        )

    # ---- heads ----

    def heads(self) -> None:
        """The blocks of all heads: in runs, which begin with a kernel of several rows."""
        blocks = self.model.head_layers(0)
        begins = [i for i, b in enumerate(blocks) if i == 0 or b.kernel_rows > 1]
        runs = [blocks[i:j] for i, j in pairwise([*begins, len(blocks)])]

        def run(number: int, row: int) -> Iterator[tuple[int, int, int]]:
            if number + 1 == len(runs):
                self.narrow("C", blocks[-1], self.model.features)
            for p in range(self.g.passes):
                for layer in runs[number]:
                    yield layer.block, row, p
            if number + 1 < len(runs):
                ahead = row - runs[number + 1][0].kernel_rows + 1
                if ahead >= 0:
                    yield from run(number + 1, ahead)

        for row in range(blocks[0].rows_out):
            for block, y, p in run(0, row):
                self.block(blocks, block, y, p)

    def block(self, blocks: tuple[Layer, ...], index: int, y: int, p: int) -> None:
        """A row of a block, for the heads of one pass."""
        g, model, layer = self.g, self.model, blocks[index]
        heads = tuple(p * g.heads + i for i in range(g.heads))
        camera, last = index == 0, index + 1 == len(blocks)
        label = f"c{index + 1}" + (f".{y}" if layer.rows_out > 1 else "")
        several = layer.kernel_rows > 1 or camera  # rows of the input lie in one map
        stride = layer.in_channels * g.groups(layer.columns_in)
        if last:
            out, out_row = layer.writes, 0
        else:
            whole = blocks[index + 1].kernel_rows > 1  # the next block reads several rows
            out, out_row = self.wide_name(layer, y, p, whole), y if whole else 0
            groups = g.groups(layer.columns_out)
            rows = layer.rows_out if whole else 1
            words = rows * layer.out_channels * groups
            self.map(out, layer, words=words, wide=True, groups=groups)
        source = "X" if camera else self.wide_name(blocks[index - 1], y, p, several)
        rows = model.rows_per_group
        through = y + 1 == layer.rows_out
        self.add(
            name=label + (f"p{p}" if g.passes > 1 else ""),
            layers=tuple(model.head_layers(h)[index] for h in heads),
            row=y,
            source=Source.CAMERA if camera else Source.HEAD,
            target=Target.CONCAT if last else Target.HEAD,
            function=FUNCTIONS[layer.part],
            segments=(Segment(source, layer.in_channels),),
            out=out,
            in_row=y if several else 0,
            out_row=out_row,
            heads=heads,
            chunks=g.chunks(layer.columns_in),
            out_groups=ceil(layer.out_channels / self.engine.channels),
            in_words=g.words(layer.columns_in),
            row_stride=stride if layer.kernel_rows > 1 else 0,
            row_offset=y * stride if several else 0,
            zero_point=layer.input_zero_point,
            out_zero_point=layer.zero_point,
            need_rows=y + layer.kernel_rows if camera and p == 0 else 0,
            release_rows=(rows if through else y + 1) if camera and p + 1 == g.passes else 0,
        )

    @staticmethod
    def wide_name(layer: Layer, y: int, p: int, whole: bool) -> str:
        """Map of a block's rows, or of one row."""
        row = "" if whole or layer.rows_out == 1 else f".{y}"
        return f"B{layer.block + 1}{row}.{p}"

    # ---- layers on n-wide maps ----

    def shared(self, layer: Layer, number: int = 1) -> None:
        """A layer (the `number`th of its part) on words that all lanes share."""
        g, part, lanes = self.g, layer.part, self.engine.lanes
        features = self.model.head_channels[-1]
        first, more = 0, {}
        if part in (Part.VALUE, Part.MIX):  # lane l takes what lies in bank l of C
            first = layer.head * features % lanes
        if part is Part.SCORE:
            more = {"weights": WeightSource.STATE, "target": Target.SCORES, "heads": (layer.head,)}
        elif part is Part.MIX:
            more = {
                "weights": WeightSource.VALUE,
                "source": Source.ATTENTION,
                "heads": (layer.head,),
                "operand_first": layer.first // lanes,
                "operand_value": layer.operand,
            }
        if part is not Part.SCORE:
            self.narrow(layer.writes, layer, first + layer.out_channels)
        self.add(
            name=_NAMES[part].format(head=layer.head, number=number),
            layers=(layer,),
            function=FUNCTIONS[part],
            segments=tuple(
                Segment(i.map, i.channels, i.first, i.map == STATE) for i in layer.inputs
            ),
            out=layer.writes,
            chunks=g.state_words,
            out_groups=ceil((first + layer.out_channels) / self.engine.units),
            in_words=g.state_words,
            first=first,
            operands=layer.gates,
            # channel attention's middle layer has no edge: nothing is padded
            zero_point=0 if part is Part.ATTENTION_GATE else layer.input_zero_point,
            out_zero_point=layer.zero_point,
            **more,
        )


def build_operations(
    model: ModelConfig, geometry: Geometry
) -> tuple[tuple[Operation, ...], dict[str, Map]]:
    """The operations of a row group in order, with their maps (no addresses, no times yet)."""
    build = _Builder(model, geometry)
    build.heads()
    layers = [layer for layer in model.network if layer.on_array and layer.part is not Part.HEAD]
    spatial = [layer for layer in layers if layer.part in _SPATIAL_ORDER]
    spatial.sort(key=lambda layer: (_SPATIAL_ORDER[layer.part], layer.head))
    for layer in spatial:
        build.shared(layer)
    build.narrow(STATE, model.of_part(Part.CANDIDATE)[0], model.state_channels)
    for layer in layers:
        if layer.part not in _SPATIAL_ORDER:
            build.shared(layer, 1 + model.of_part(layer.part).index(layer))
    return tuple(build.operations), _lived(build.maps, build.operations)


def _lived(maps: dict[str, Map], operations: Iterable[Operation]) -> dict[str, Map]:
    """The maps with the operations between which they live."""
    used: dict[str, list[int]] = {name: [] for name in maps}
    count = 0
    for i, op in enumerate(operations):
        for name in (op.out, *(s.map for s in op.segments), *op.operands, op.operand_value):
            if name in used:
                used[name].append(i)
        count = i + 1
    used[STATE] = [0, count]
    return {
        name: replace(m, born=min(used[name]), dies=max(used[name])) for name, m in maps.items()
    }
