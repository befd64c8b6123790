"""The network as ONNX in standard operators: the integer one bit for bit, and the float one.

Two models of each: a row group (rows and state go in, the new state and the logits come out) and a
whole picture (a Scan over the row groups). Bytes of maps are uint8 there, 128 above what
docs/architecture.md says of them; the state is int8, as it is. Early termination is not in them:
it is a comparison of the logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from torch import Tensor, nn

from golden import files
from golden.attention import BAND
from golden.classifier import classify
from golden.command_line import facts, load_weights
from golden.config import ModelConfig, preset
from golden.errors import CommandError, bad_input
from golden.float_model import FloatModel, load_checkpoint
from golden.images import calibration_images
from golden.line_buffer import split_row_groups, to_signed
from golden.model import IntegerModel
from golden.onnx_graph import Graph, model, value
from golden.weights import LayerWeights, Weights

ZERO = 128  # what stands for 0 in a map's bytes
_ABOVE = 1 << 48  # makes a sum positive, so that a division rounds as a shift does
_INT = np.int64


def needs(*packages: str) -> None:
    """CommandError unless these packages are there."""
    from importlib.util import find_spec

    for name in packages:
        if find_spec(name) is None:
            raise CommandError(
                f"expected the package {name}, which is not installed; "
                ".venv/bin/python -m pip install -r requirements-onnx.lock brings it"
            )


class IntegerGraph(Graph):
    """The integer network on one row group, operation by operation as golden.model has it.

    Maps are uint8 [N, channels, rows, columns], 128 above the stored byte.
    """

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        super().__init__()
        self.config, self.weights = config, weights

    # ---- arithmetic ----

    def shift_right(self, name: str, number: str, shift: Any) -> str:
        """``number >> shift``, the floor at both signs; shift: an int, or an array of them."""
        by = np.left_shift(np.int64(1), np.asarray(shift, dtype=_INT))
        above = self.add("Add", f"{name}/above", number, self.number(_ABOVE))
        divisor = self.constant(f"{name}/divisor", by, _INT)
        over = self.add("Div", f"{name}/over", above, divisor)
        return self.add("Sub", name, over, self.constant(f"{name}/offset", _ABOVE // by, _INT))

    def rounded(self, name: str, number: str, shift: int) -> str:
        """``number + half >> shift``."""
        half = self.add("Add", f"{name}/half", number, self.number(1 << shift - 1))
        return self.shift_right(name, half, shift)

    def requantise(self, name: str, acc: str, layer: LayerWeights, dimensions: int = 4) -> str:
        """golden.requant.requantise of int64 sums; channels are dimension 1."""
        shape = (1, -1) + (1,) * (dimensions - 2)
        bias, multiplier, shift = (
            column.flatten().numpy().astype(_INT).reshape(shape) for column in layer.columns()
        )
        number = self.add("Add", f"{name}/biased", acc, self.constant(f"{name}.bias", bias, _INT))
        number = self.add(
            "Mul",
            f"{name}/scaled",
            number,
            self.constant(f"{name}.multiplier", multiplier, _INT),
        )
        half = (np.left_shift(np.int64(1), shift)) >> 1
        number = self.add("Add", f"{name}/half", number, self.constant(f"{name}.half", half, _INT))
        return self.shift_right(f"{name}/requantised", number, shift)

    def clip(self, name: str, number: str, low: int, high: int) -> str:
        return self.add("Clip", name, number, self.number(low), self.number(high))

    def relu(self, name: str, number: str) -> str:
        """A ReLU map."""
        return self.cast(name, self.clip(f"{name}/saturated", number, 0, 255), np.uint8)

    def signed(self, name: str, number: str) -> str:
        """A signed map."""
        number = self.clip(f"{name}/saturated", number, -128, 127)
        return self.byte(name, number)

    def byte(self, name: str, number: str) -> str:
        """A stored byte, int64, as a map holds it."""
        return self.cast(
            name, self.add("Add", f"{name}/above", number, self.number(ZERO)), np.uint8
        )

    def stored(self, name: str, maps: str) -> str:
        """A map's stored bytes, int64."""
        return self.add("Sub", name, self.cast(f"{name}/wide", maps, _INT), self.number(ZERO))

    def product(self, name: str, left: str, right: str, right_zero: int = ZERO) -> str:
        """Exact matrix product of bytes, int64."""
        zeros = self.number(ZERO, np.uint8), self.number(right_zero, np.uint8)
        acc = self.add("MatMulInteger", f"{name}/acc", left, right, *zeros)
        return self.cast(name, acc, _INT)

    def convolve(self, name: str, maps: str, zero_point: int) -> str:
        """golden.array.convolve: int64, not yet saturated."""
        layer = self.weights.layers[name]
        kernel = tuple(layer.weight.shape)
        side = kernel[3] // 2
        if side:
            pads = self.constant(f"{name}.pads", [0, 0, 0, side, 0, 0, 0, side], _INT)
            fill = self.number(zero_point + ZERO, np.uint8)
            maps = self.add("Pad", f"{name}/padded", maps, pads, fill)
        acc = self.add(
            "ConvInteger",
            f"{name}/acc",
            maps,
            self.constant(f"{name}.weight", layer.weight.numpy(), np.int8),
            self.number(ZERO, np.uint8),
            kernel_shape=list(kernel[2:]),
        )
        return self.requantise(name, self.cast(f"{name}/sum", acc, _INT), layer)

    def gate(self, name: str, number: str, unit: str) -> str:
        """``(number * unit + 128) >> 8``."""
        return self.rounded(name, self.add("Mul", f"{name}/product", number, unit), 8)

    def magnitude(self, name: str, number: str) -> str:
        """golden.activation.tanh_magnitude."""
        knots = self.constant("knots", self.weights.knots.numpy(), _INT)
        size = self.add("Abs", f"{name}/magnitude", self.clip(f"{name}/511", number, -511, 511))
        index = self.add("Div", f"{name}/index", size, self.number(32))
        rest = self.add("Mod", f"{name}/rest", size, self.number(32))
        low = self.add("Gather", f"{name}/low", knots, index)
        after = self.add("Add", f"{name}/after", index, self.number(1))
        high = self.add("Gather", f"{name}/high", knots, after)
        rise = self.add("Sub", f"{name}/rise", high, low)
        part = self.rounded(f"{name}/part", self.add("Mul", f"{name}/slope", rise, rest), 5)
        return self.add("Add", f"{name}/tanh", low, part)

    def mirrored(self, name: str, number: str, positive: str, negative: str) -> str:
        """One where the number is 0 or more, the other where it is less."""
        below = self.add("Less", f"{name}/below", number, self.number(0))
        return self.add("Where", name, below, negative, positive)

    def sigmoid(self, name: str, number: str) -> str:
        """Unit value 0..256."""
        half = self.add(
            "Div",
            f"{name}/half",
            self.add("Add", f"{name}/up", self.magnitude(name, number), self.number(1)),
            self.number(2),
        )
        high = self.add("Add", f"{name}/high half", self.number(128), half)
        low = self.add("Sub", f"{name}/low half", self.number(128), half)
        return self.mirrored(name, number, high, low)

    def tanh(self, name: str, number: str) -> str:
        """Signed byte -127..127, int64."""
        scaled = self.add("Mul", f"{name}/127", self.magnitude(name, number), self.number(127))
        size = self.rounded(f"{name}/size", scaled, 8)
        return self.mirrored(name, number, size, self.add("Neg", f"{name}/negative", size))

    # ---- network ----

    def head(self, index: int, pixels: str) -> str:
        maps = pixels
        for layer in self.config.head_layers(index):
            number = self.convolve(layer.name, maps, layer.input_zero_point)
            maps = self.add(
                "MaxPool",
                f"{layer.name}/pool",
                self.relu(f"{layer.name}/relu", number),
                kernel_shape=[1, 2],
                strides=[1, 2],
            )
        return maps

    def spatial_attention(self, index: int, maps: str, state: str) -> str:
        """Eq. 6-9; golden.attention.spatial_attention."""
        name, layers = f"attention{index}", self.weights.layers
        squeeze = self.constant("axis of rows", [2], _INT)

        def flat(each: str) -> str:
            return self.add("Squeeze", f"{name}/{each} flat", each, squeeze)

        key = self.signed(f"{name}.key/signed", self.convolve(f"{name}.key", maps, -128))
        columns = self.add("Transpose", f"{name}/H^T", flat(state), perm=[0, 2, 1])
        number = self.product(f"{name}.score/product", columns, flat(key))
        scores = self.clip(
            f"{name}.score/saturated",
            self.requantise(f"{name}.score", number, layers[f"{name}.score"], 3),
            -128,
            127,
        )
        if self.config.spatial_attention == "banded":
            place = np.arange(self.config.n)
            band = np.abs(place[:, None] - place[None, :]) <= BAND
            scores = self.add("Mul", f"{name}/banded", scores, self.constant("band", band, _INT))
        weights = self.softmax(f"{name}.softmax", scores)
        taken = self.convolve(f"{name}.value", maps, -128)
        mix = layers[f"{name}.mix"]
        gain, multiplier, shift = mix.columns()
        number = self.product(
            f"{name}.mix/product", flat(self.signed(f"{name}.value/signed", taken)), weights, 0
        )
        plain = LayerWeights(
            weight=mix.weight,
            bias=torch.zeros_like(mix.bias),
            multiplier=mix.multiplier,
            shift=mix.shift,
        )
        attended = self.requantise(f"{name}.mix", number, plain, 3)
        whole = self.cast(f"{name}/P + 128", flat(maps), _INT)
        kept = self.gate(f"{name}/kept", whole, self.number(int(gain.flatten()[0])))
        total = self.add("Add", f"{name}/sum", attended, kept)
        output = self.signed(f"{name}.output flat", total)
        return self.add("Unsqueeze", f"{name}.output", output, squeeze)

    def softmax(self, name: str, scores: str) -> str:
        """Bytes 0..127; golden.attention.softmax."""
        table = self.constant("exp_table", self.weights.exp_table.numpy(), _INT)
        top = self.add("ReduceMax", f"{name}/max", scores, axes=[-1], keepdims=1)
        power = self.add(
            "Gather", f"{name}/exp", table, self.add("Sub", f"{name}/distance", top, scores)
        )
        last = self.constant("axis of columns", [-1], _INT)
        total = self.add("ReduceSum", f"{name}/sum", power, last, keepdims=1)
        half = self.add("Div", f"{name}/half", total, self.number(2))
        top = self.add("Add", f"{name}/numerator", half, self.number(127 * 4096))
        share = self.add("Div", f"{name}/reciprocal", top, total)
        number = self.rounded(f"{name}/a", self.add("Mul", f"{name}/scaled", power, share), 12)
        return self.cast(name, number, np.uint8)

    def row_group(self, rows: str, state: str) -> tuple[str, str]:
        """(new state, logits) of rows, uint8, and the state, int8 [N, d, n]."""
        config = self.config
        wide = self.cast("pixels/wide", rows, np.int32)
        # p - 127 - (p >= 128), and 128 above it
        lower = self.add("Less", "pixels/lower half", wide, self.number(128, np.int32))
        step = self.cast("pixels/step", lower, np.int32)
        pixels = self.cast("pixels", self.add("Add", "pixels/sum", wide, step), np.uint8)
        squeeze = self.constant("axis of rows", [2], _INT)
        old = self.cast("H/wide", state, _INT)
        old = self.add("Unsqueeze", "H", old, squeeze)  # int64 [N, d, 1, n]
        kept = self.byte("H/byte", old)

        parts = [self.head(index, pixels) for index in range(config.heads)]
        if config.spatial:
            parts = [self.spatial_attention(i, part, kept) for i, part in enumerate(parts)]
        features = self.add("Concat", "C", *parts, axis=1)
        zero = config.feature_zero_point
        if config.channel_attention:
            features = self.channel_attention(features, kept, zero)
        for name, zero_point in (("projection.0", zero), ("projection.1", -128)):
            features = self.relu(f"{name}/relu", self.convolve(name, features, zero_point))
        new = self.gru(features, old, kept)
        flat = self.add("Squeeze", "new state", new, squeeze)
        return self.cast("state_out", flat, np.int8), self.classify(flat)

    def channel_attention(self, features: str, kept: str, zero: int) -> str:
        """Eq. 10-13: C * A."""
        name = "channel_attention"
        joined = self.add("Concat", f"{name}/[H : C]", kept, features, axis=1)
        hidden = self.relu(f"{name}.0/relu", self.convolve(f"{name}.0", joined, 0))
        unit = self.sigmoid(f"{name}.1/sigmoid", self.convolve(f"{name}.1", hidden, -128))
        number = self.stored(f"{name}/C", features)
        less = self.add("Sub", f"{name}/C - zero", number, self.number(zero))
        number = self.gate(f"{name}/gate", less, unit)
        return self.byte(
            f"{name}/C * A", self.add("Add", f"{name}/gated", number, self.number(zero))
        )

    def gru(self, features: str, old: str, kept: str) -> str:
        """Eq. 2-5: the new state, int64."""
        joined = self.add("Concat", "gru/[H : F]", kept, features, axis=1)
        unit = self.sigmoid("gru.reset/sigmoid", self.convolve("gru.reset", joined, 0))
        reset = self.byte("gru/H * R", self.gate("gru/reset", old, unit))
        unit = self.sigmoid("gru.update/sigmoid", self.convolve("gru.update", joined, 0))
        # U waits in a byte, in which 128 has the code of 127
        middle = self.add("Equal", "gru/U is 128", unit, self.number(128))
        update = self.add("Where", "gru/U", middle, self.number(127), unit)
        joined = self.add("Concat", "gru/[F : H * R]", features, reset, axis=1)
        candidate = self.tanh("gru.candidate/tanh", self.convolve("gru.candidate", joined, 0))
        less = self.add("Sub", "gru/H - N", old, candidate)
        return self.add("Add", "gru/H'", candidate, self.gate("gru/blend", less, update))

    def classify(self, state: str) -> str:
        """Eq. 14: logits, int32, of the state, int64 [N, d, n]."""
        last = self.constant("axis of columns", [-1], _INT)
        total = self.add("ReduceSum", "classifier/sum", state, last, keepdims=0)
        top = self.add("ReduceMax", "classifier/max", state, axes=[-1], keepdims=0)
        top = self.add("Mul", "classifier/n max", top, self.number(self.config.n))
        pooled = self.add("Add", "classifier/p", total, top)
        first, second = (self.weights.layers[f"classifier.{i}"] for i in range(2))

        def weight(name: str, layer: LayerWeights) -> str:
            matrix = layer.weight.reshape(len(layer.bias), -1).T.numpy()
            return self.constant(f"{name}.weight", matrix, _INT)

        number = self.add("MatMul", "classifier.0/sum", pooled, weight("classifier.0", first))
        x = self.requantise("classifier.0", number, first, 2)
        x = self.clip("classifier/x", x, -4096, 4095)
        up = self.add("Add", "classifier/x + 768", x, self.number(768))
        y = self.gate("classifier/y", x, self.clip("classifier/slope", up, 0, 1536))
        number = self.add("MatMul", "classifier.1/sum", y, weight("classifier.1", second))
        bias = self.constant("classifier.1.bias", second.bias.numpy(), _INT)
        return self.cast("logits", self.add("Add", "classifier.1", number, bias), np.int32)


class FloatGraph(Graph):
    """The float network on one row group; maps are float [N, channels, rows, columns]."""

    def __init__(self, network: FloatModel) -> None:
        super().__init__()
        self.network, self.config = network, network.config

    def tensor(self, name: str, tensor: Tensor) -> str:
        return self.constant(name, tensor.detach().numpy(), np.float32)

    def convolve(self, name: str, maps: str, module: nn.Module) -> str:
        """A convolution over columns, or over rows and columns."""
        weight = module.weight if module.weight.dim() == 4 else module.weight.unsqueeze(2)
        padding = module.padding if len(module.padding) == 2 else (0, *module.padding)
        inputs = [maps, self.tensor(f"{name}.weight", weight)]
        if module.bias is not None:
            inputs.append(self.tensor(f"{name}.bias", module.bias))
        return self.add("Conv", name, *inputs, pads=[*padding, *padding])

    def norm(self, name: str, maps: str, module: nn.Module) -> str:
        parts = ("weight", "bias", "running_mean", "running_var")
        constants = [self.tensor(f"{name}.{part}", getattr(module, part)) for part in parts]
        return self.add("BatchNormalization", name, maps, *constants, epsilon=module.eps)

    def linear(self, name: str, vectors: str, module: nn.Module) -> str:
        constants = (
            self.tensor(f"{name}.{part}", getattr(module, part)) for part in ("weight", "bias")
        )
        return self.add("Gemm", name, vectors, *constants, transB=1)

    def head(self, index: int, maps: str) -> str:
        blocks = getattr(self.network, f"raster_cnn_{index}").children()
        for layer, block in zip(self.config.head_layers(index), blocks, strict=True):
            name = layer.name
            maps = self.convolve(f"{name}/conv", maps, block.conv)
            maps = self.norm(f"{name}/norm", maps, block.bn)
            pool = {"kernel_shape": [1, 2], "strides": [1, 2]}
            maps = self.add("MaxPool", f"{name}/pool", maps, **pool)
            maps = self.add("Relu", f"{name}/relu", maps)
        return maps

    def spatial_attention(self, index: int, maps: str, state: str) -> str:
        name = f"attention{index}"
        module = getattr(self.network.raster_att, f"spatial_attention_{index}")
        squeeze = self.constant("axis of rows", [2], _INT)

        def flat(each: str) -> str:
            return self.add("Squeeze", f"{name}/{each} flat", each, squeeze)

        key = flat(self.convolve(f"{name}.key", maps, module.key_conv))
        columns = self.add("Transpose", f"{name}/H^T", flat(state), perm=[0, 2, 1])
        scale = self.number(float(np.sqrt(self.config.state_channels)), np.float32)
        columns = self.add("Div", f"{name}/H^T scaled", columns, scale)
        scores = self.add("MatMul", f"{name}.score", columns, key)
        if module.banded:
            place = np.arange(self.config.n)
            band = np.abs(place[:, None] - place[None, :]) <= BAND
            band = self.constant("band", band, np.float32)
            scores = self.add("Mul", f"{name}/banded", scores, band)
        weights = self.add("Softmax", f"{name}.softmax", scores, axis=-1)
        taken = flat(self.convolve(f"{name}.value", maps, module.value_conv))
        mixed = self.add("MatMul", f"{name}.mix", taken, weights)
        mixed = self.add("Unsqueeze", f"{name}.mix rows", mixed, squeeze)
        return self.add("Add", f"{name}.output", maps, mixed)

    def row_group(self, rows: str, state: str) -> tuple[str, str]:
        config, network = self.config, self.network
        wide = self.cast("pixels/wide", rows, np.float32)
        less = self.add("Sub", "pixels/less", wide, self.number(128, np.float32))
        lower = self.add("Less", "pixels/lower half", wide, self.number(128, np.float32))
        step = self.cast("pixels/step", lower, np.float32)
        pixels = self.add("Add", "pixels", less, step)
        squeeze = self.constant("axis of rows", [2], _INT)
        old = self.add("Unsqueeze", "H", state, squeeze)
        parts = [self.head(index, pixels) for index in range(config.heads)]
        if config.spatial:
            parts = [self.spatial_attention(i, part, old) for i, part in enumerate(parts)]
        features = self.add("Concat", "C", *parts, axis=1)
        project = network.raster_att.channel_prj
        if config.channel_attention:
            name = "channel_attention"
            maps = self.add("Concat", f"{name}/[C : H]", features, old, axis=1)
            maps = self.convolve(f"{name}.0", maps, project.channel_att[0])
            maps = self.add("Relu", f"{name}.0/relu", maps)
            maps = self.convolve(f"{name}.1", maps, project.channel_att[2])
            unit = self.add("Sigmoid", f"{name}.1/sigmoid", maps)
            features = self.add("Mul", f"{name}/C * A", features, unit)
        for index in range(2):
            name = f"projection.{index}"
            features = self.convolve(name, features, project.projection[3 * index])
            features = self.norm(f"{name}/norm", features, project.projection[3 * index + 1])
            features = self.add("Relu", f"{name}/relu", features)
        new = self.gru(features, old)
        flat = self.add("Squeeze", "state_out", new, squeeze)
        return flat, self.classify(flat)

    def gru(self, features: str, old: str) -> str:
        cell = self.network.cell
        joined = self.add("Concat", "gru/[F : H]", features, old, axis=1)
        unit = self.add("Sigmoid", "gru/R", self.convolve("gru.reset", joined, cell.conv_reset))
        reset = self.add("Mul", "gru/H * R", old, unit)
        update = self.add("Sigmoid", "gru/U", self.convolve("gru.update", joined, cell.conv_update))
        joined = self.add("Concat", "gru/[F : H * R]", features, reset, axis=1)
        candidate = self.add("Tanh", "gru/N", self.convolve("gru.candidate", joined, cell.conv_h))
        less = self.add("Sub", "gru/H - N", old, candidate)
        return self.add("Add", "gru/H'", candidate, self.add("Mul", "gru/blend", less, update))

    def classify(self, state: str) -> str:
        first, norm, _, second = self.network.out_classifier.out_classifier
        mean = self.add("ReduceMean", "classifier/mean", state, axes=[-1], keepdims=0)
        top = self.add("ReduceMax", "classifier/max", state, axes=[-1], keepdims=0)
        x = self.linear("classifier.0", self.add("Add", "classifier/p", mean, top), first)
        x = self.norm("classifier.0/norm", x, norm)
        return self.linear("logits", self.add("HardSwish", "classifier/y", x), second)


def row_group(graph: IntegerGraph | FloatGraph) -> Any:
    """The ONNX graph of one row group."""
    config = graph.config
    whole = isinstance(graph, IntegerGraph)
    kinds = (np.int8, np.int32) if whole else (np.float32, np.float32)
    rows = ("N", config.in_channels, config.rows_per_group, config.image_width)
    state = ("N", config.state_channels, config.n)
    new, logits = graph.row_group("rows", "state")
    return graph.graph(
        "row_group",
        [value("rows", np.uint8, rows), value("state", kinds[0], state)],
        [value(new, kinds[0], state), value(logits, kinds[1], ("N", config.class_count))],
        "One row group of a picture: its pixels and the state before it, the state after it and"
        " the logits, which are the answer so far.",
    )


def picture(graph: IntegerGraph | FloatGraph) -> Any:
    """The ONNX graph of a whole picture: a Scan over its row groups."""
    config = graph.config
    whole = isinstance(graph, IntegerGraph)
    kinds = (np.int8, np.int32) if whole else (np.float32, np.float32)
    groups, k = config.row_groups, config.rows_per_group
    outer = Graph()
    used = outer.add(
        "Slice",
        "rows of whole groups",
        "picture",
        outer.constant("first row", [0], _INT),
        outer.constant("row after the last", [groups * k], _INT),
        outer.constant("axis of lines", [2], _INT),
    )
    shape = [0, config.in_channels, groups, k, config.image_width]
    cut = outer.add("Reshape", "row groups", used, outer.constant("cut", shape, _INT))
    rows = outer.add("Transpose", "row groups first", cut, perm=[2, 0, 1, 3, 4])
    size = outer.add("Shape", "batch", "picture", start=0, end=1)
    rest = outer.constant("size of a state", [config.state_channels, config.n], _INT)
    size = outer.add("Concat", "size of the state", size, rest, axis=0)
    wide = outer.constant("zero", np.zeros(1), kinds[0])
    start = outer.add("Expand", "first state", wide, size)
    body = row_group(graph)
    from onnx import helper

    # a Scan's body takes and gives the state first, and what it gives outside beside that
    body.input.reverse()
    new, logits = (each.name for each in body.output)
    body.node.append(helper.make_node("Identity", [new], ["state of the group"], name="tell"))
    told = value("state of the group", kinds[0], ("N", config.state_channels, config.n))
    body.output.insert(1, told)
    scan = helper.make_node(
        "Scan",
        [start, rows],
        ["last state", "states", "all logits"],
        name="scan",
        body=body,
        num_scan_inputs=1,
    )
    outer.nodes.append(scan)
    outer.add("Transpose", "group_logits", "all logits", perm=[1, 0, 2])
    outer.add("Transpose", "group_states", "states", perm=[1, 0, 2, 3])
    index = outer.constant("last group", groups - 1, _INT)
    last = outer.add("Gather", "last logits", "group_logits", index, axis=1)
    outer.add("ArgMax", "decision", last, axis=1, keepdims=0)
    size = ("N", config.in_channels, config.image_height, config.image_width)
    states = ("N", groups, config.state_channels, config.n)
    return outer.graph(
        "picture",
        [value("picture", np.uint8, size)],
        [
            value("decision", _INT, ("N",)),
            value("group_logits", kinds[1], ("N", groups, config.class_count)),
            value("group_states", kinds[0], states),
        ],
        "A whole picture: after each row group the logits and the state, and the class that the"
        " last ones decide.",
    )


def models(network: Weights | FloatModel, config: ModelConfig) -> dict[str, Any]:
    """Both ONNX models of a network: "row_group" and "picture".

    Parameters
    ----------
    network : Weights or FloatModel
        The integer network's weights, or the float network (in eval mode).
    config : ModelConfig
    """
    whole = isinstance(network, Weights)
    if whole:
        network.check(config)
    told: dict[str, str] = {
        "network": config.name,
        "network digest": config.digest,
        "classes": ", ".join(config.classes),
        "kind": "integer" if whole else "float",
    }
    if whole:
        told |= {"weights digest": network.digest, "logit scale": repr(network.scales["logit"])}

    def graph() -> IntegerGraph | FloatGraph:
        return IntegerGraph(config, network) if whole else FloatGraph(network)

    return {
        "row_group": model(row_group(graph()), told),
        "picture": model(picture(graph()), told),
    }


# ---- do they say the same? ----


def session(made: Any) -> Any:
    """An ONNX Runtime session of a model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def differences(
    made: Mapping[str, Any], config: ModelConfig, weights: Weights, images: Tensor, seed: int = 0
) -> dict[str, int]:
    """How many values of the ONNX models are not those of the integer model, by output.

    Parameters
    ----------
    made : mapping
        From `models`.
    images : uint8 tensor [B, in_channels, h, w]
    seed : int
        Of the random states, one for each row group of a picture.
    """
    golden = IntegerModel(config, weights)
    result = golden.run(images)
    decision, logits, state = session(made["picture"]).run(
        ["decision", "group_logits", "group_states"], {"picture": images.numpy()}
    )
    found = {
        "decision": decision != result.decision.numpy(),
        "logits": logits != result.logits.numpy(),
        "state": state != result.state.numpy(),
    }
    # any state, not only those that pictures lead to
    rows = split_row_groups(images, config.rows_per_group).flatten(0, 1)
    generator = torch.Generator().manual_seed(seed)
    size = (len(rows), config.state_channels, config.n)
    before = torch.randint(-127, 128, size, generator=generator)
    after = golden.step(golden.heads(to_signed(rows))[0], before)["gru.state"]
    given = {"rows": rows.numpy(), "state": before.to(torch.int8).numpy()}
    new, answer = session(made["row_group"]).run(None, given)
    found |= {
        "state of a random state": new != after.numpy(),
        "logits of a random state": answer != classify(after, weights.layers).numpy(),
    }
    return {name: int(wrong.sum()) for name, wrong in found.items()}


def main(
    preset_name: Annotated[str, typer.Option("--preset", help="network")] = "vww_105x120",
    weights: Annotated[Path | None, typer.Option(help="safetensors file")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="a float network, exported, too")] = None,
    folder: Annotated[Path, typer.Option(help="where to write")] = Path("build/onnx"),
) -> None:
    """Writes the network as ONNX, and compares it with the integer model in ONNX Runtime."""
    console = Console()
    with bad_input():
        config = preset(preset_name)
        files.check_folder(folder)
        numbers = load_weights(weights, config)
        network = None if checkpoint is None else load_checkpoint(checkpoint, config)
    needs("onnx", "onnxruntime")
    made = models(numbers, config)
    contents = {f"{config.name}_{kind}.onnx": one for kind, one in made.items()}
    if network is not None:
        for kind, one in models(network, config).items():
            contents[f"{config.name}_float_{kind}.onnx"] = one
    found = differences(made, config, numbers, calibration_images(config)[::3])
    files.write_all(folder, {name: one.SerializeToString() for name, one in contents.items()})
    table = facts()
    for name, one in contents.items():
        table.add_row(name, f"{one.ByteSize()} bytes")
    for name, count in found.items():
        table.add_row(f"{name}, values that differ", str(count))
    console.print(table)
    console.print(f"written to {folder}")
    if any(found.values()):
        raise CommandError("expected the integer model's values in ONNX Runtime, not others", 1)
