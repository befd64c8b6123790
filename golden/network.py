"""The network as a table: every layer of a row group, in order, with all that anybody must know.

`table(config)` is walked by the float and the integer model, quantisation, the accounting, the
hardware's compiler, its cost model and the reports; none of them knows the shape of the network by
itself. docs/network.md has the equations. No dependencies: no torch, no hardware.

Maps are named as the equations name them::

    X         pixels of the row group, signed
    head0.block1 ...  maps between the blocks of a head
    C         features [P_1 : ... : P_M], from the last block of each head to the projection
    K.0 A.0 V.0  key, attention weights and value of a head's spatial attention
    z         hidden map of channel attention
    F1 F      projected features, half way and whole
    HR U      H * R and the update gate
    H         state, kept from one row group to the next
    y logits  hidden values and outputs of the classifier
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from golden.config import ModelConfig

RELU_ZERO_POINT = -128  # a map after a ReLU is stored as 0..255 minus 128


class Block(NamedTuple):
    """One block of a head: convolution, batch norm, ReLU, max pool 1x2.

    Attributes
    ----------
    rows, columns : int
        Of the kernel. No padding in rows; ``columns // 2`` at either side.
    channels : int
        Outputs.
    """

    rows: int
    columns: int
    channels: int


class Part(Enum):
    """What a layer is in the network."""

    HEAD = "head"
    KEY = "key"  # Eq. 6
    SCORE = "score"  # Eq. 7, with the softmax
    VALUE = "value"  # Eq. 8
    MIX = "mix"  # Eq. 9
    ATTENTION_HIDDEN = "attention hidden"  # z of Eq. 10-12
    ATTENTION_GATE = "attention gate"  # A of Eq. 10-12, and C * A of Eq. 13
    PROJECTION = "projection"  # Eq. 1, 13
    RESET = "reset"  # R of Eq. 2-5, and H * R
    UPDATE = "update"  # U of Eq. 2-5
    CANDIDATE = "candidate"  # N of Eq. 2-5, and the new state
    CLASSIFIER = "classifier"  # Eq. 14


class Activation(Enum):
    """What a layer ends in; second operands (`Layer.gates`) come after it."""

    RELU = "relu"
    NONE = "none"
    SIGMOID = "sigmoid"
    TANH = "tanh"
    SOFTMAX = "softmax"
    HARD_SWISH = "hard swish"


class Input(NamedTuple):
    """Channels that a layer reads one after the other from one map.

    Attributes
    ----------
    map : str
    channels : int
    zero_point : int
        Of the stored bytes.
    first : int
        First channel within the map (the part of one head in C).
    """

    map: str
    channels: int
    zero_point: int
    first: int = 0


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer, or one product of two maps of data (``weighted`` is False).

    Attributes
    ----------
    name : str
        As in a weights file: ``head0.block1``, ``attention0.key``, ``gru.reset``, ...
    part : Part
    head, block : int or None
        Counted from 0; the block of a head.
    inputs : tuple of Input
        In the order in which channels are read.
    out_channels, kernel_rows, kernel_cols : int
    pad_rows, pad_cols : int
        At either side; filled with `input_zero_point`.
    rows_in, rows_out : int
        Rows of the maps.
    columns_in, columns_out : int
        Columns of the maps; ``columns_out`` after the pool.
    pool : bool
        Max pool 1x2: pairs of columns, an odd last one is dropped.
    activation : Activation
    norm, bias : bool
        Batch norm after it; a bias of its own.
    weighted : bool
        It has weights. The others multiply two maps: `inputs` and `operand`.
    operand : str
        Map that takes the place of the weights; empty if weighted.
    zero_point : int
        Of the bytes that it writes.
    writes : str
        Map.
    first : int
        First channel that it writes within that map.
    gates : tuple of str
        Maps that are second operands: C for channel attention and P' (Eq. 9, 13), H for H * R, H
        and U for the new state.
    stages : tuple of str
        Names in a trace: one for each row of a block with several, score and weights of a softmax.
    """

    name: str
    part: Part
    head: int | None = None
    block: int | None = None
    inputs: tuple[Input, ...]
    out_channels: int
    kernel_rows: int = 1
    kernel_cols: int = 1
    pad_rows: int = 0
    pad_cols: int = 0
    rows_in: int = 1
    rows_out: int = 1
    columns_in: int
    columns_out: int
    pool: bool = False
    activation: Activation = Activation.NONE
    norm: bool = False
    bias: bool = False
    weighted: bool = True
    operand: str = ""
    zero_point: int = 0
    writes: str
    first: int = 0
    gates: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()

    @property
    def in_channels(self) -> int:
        """Channels of all inputs."""
        return sum(part.channels for part in self.inputs)

    @property
    def reads(self) -> tuple[str, ...]:
        """Maps that it reads, in the order of their channels."""
        return tuple(part.map for part in self.inputs)

    @property
    def input_zero_point(self) -> int:
        """Zero point of all inputs; 0 where they differ (then there is no padding to fill)."""
        points = {part.zero_point for part in self.inputs}
        return points.pop() if len(points) == 1 else 0

    @property
    def taps(self) -> int:
        """Products that meet in one accumulator (bias not counted)."""
        return self.in_channels * self.kernel_rows * self.kernel_cols

    @property
    def on_array(self) -> bool:
        """True but for the classifier, which has a multiplier of its own."""
        return self.part is not Part.CLASSIFIER

    @property
    def sums(self) -> int:
        """Sums (outputs before the pool) of a row group."""
        return self.out_channels * self.rows_out * self.columns_in

    @property
    def macs(self) -> int:
        """Products of a row group, dense: padding and odd columns count."""
        return self.taps * self.sums


def table(config: ModelConfig) -> tuple[Layer, ...]:
    """All layers of `config`, in the order in which the integer model computes them.

    (The engine computes the same layers; where heads do not depend on each other it may take their
    layers in another order, see `hw.plan`.)
    """
    d, n, f, features = (
        config.state_channels,
        config.n,
        config.head_channels[-1],
        config.features,
    )
    relu = RELU_ZERO_POINT
    zero = config.feature_zero_point
    state, wide = Input("H", d, 0), Input("C", features, zero)
    layers = [layer for head in range(config.heads) for layer in _head(config, head)]

    def add(name: str, part: Part, inputs: tuple[Input, ...], out: int, writes: str, **more):
        columns = more.pop("columns", n)
        cols = more.get("kernel_cols", 1)
        layers.append(
            Layer(
                name=name,
                part=part,
                inputs=inputs,
                out_channels=out,
                writes=writes,
                columns_in=columns,
                columns_out=columns,
                pad_cols=cols // 2,
                **more,
            )
        )

    for head in range(config.heads) if config.spatial else ():
        name, own = f"attention{head}", Input("C", f, relu, head * f)
        key, weights, value = f"K.{head}", f"A.{head}", f"V.{head}"
        add(f"{name}.key", Part.KEY, (own,), d, key, head=head, stages=(f"{name}.key",))
        add(
            f"{name}.score",
            Part.SCORE,
            (Input(key, d, 0),),
            n,
            weights,
            head=head,
            activation=Activation.SOFTMAX,
            weighted=False,
            operand="H",
            stages=(f"{name}.score", f"{name}.weights"),
        )
        add(f"{name}.value", Part.VALUE, (own,), f, value, head=head, stages=(f"{name}.value",))
        add(
            f"{name}.mix",
            Part.MIX,
            (Input(weights, n, 0),),
            f,
            "C",
            head=head,
            first=head * f,
            weighted=False,
            operand=value,
            gates=("C",),
            stages=(f"{name}.output",),
        )
    if config.channel_attention:
        add(
            "channel_attention.0",
            Part.ATTENTION_HIDDEN,
            (state, wide),
            config.attention_hidden,
            "z",
            activation=Activation.RELU,
            bias=True,
            zero_point=relu,
            stages=("channel_attention.hidden",),
        )
        add(
            "channel_attention.1",
            Part.ATTENTION_GATE,
            (Input("z", config.attention_hidden, relu),),
            features,
            "C",
            activation=Activation.SIGMOID,
            bias=True,
            zero_point=zero,
            gates=("C",),
            stages=("channel_attention.output",),
        )
    for name, source, writes in (
        ("projection.0", wide, "F1"),
        ("projection.1", Input("F1", d, relu), "F"),
    ):
        add(
            name,
            Part.PROJECTION,
            (source,),
            d,
            writes,
            kernel_cols=3,
            activation=Activation.RELU,
            norm=True,
            zero_point=relu,
            stages=(name,),
        )
    projected = Input("F", d, relu)
    for name, part, inputs, writes, activation, gates, stage in (
        ("reset", Part.RESET, (state, projected), "HR", Activation.SIGMOID, ("H",), "reset"),
        ("update", Part.UPDATE, (state, projected), "U", Activation.SIGMOID, (), "update"),
        (
            "candidate",
            Part.CANDIDATE,
            (projected, Input("HR", d, 0)),
            "H",
            Activation.TANH,
            ("H", "U"),
            "state",
        ),
    ):
        add(
            f"gru.{name}",
            part,
            inputs,
            d,
            writes,
            activation=activation,
            bias=True,
            gates=gates,
            stages=(f"gru.{stage}",),
        )
    hidden = config.classifier_hidden
    add(
        "classifier.0",
        Part.CLASSIFIER,
        (state,),
        hidden,
        "y",
        columns=1,
        activation=Activation.HARD_SWISH,
        norm=True,
        bias=True,
    )
    add(
        "classifier.1",
        Part.CLASSIFIER,
        (Input("y", hidden, 0),),
        config.class_count,
        "logits",
        columns=1,
        bias=True,
    )
    return tuple(layers)


def _head(config: ModelConfig, head: int) -> list[Layer]:
    """The blocks of one head."""
    layers: list[Layer] = []
    rows, source = config.rows_per_group, Input("X", config.in_channels, 0)
    last = len(config.blocks) - 1
    for index, block in enumerate(config.blocks):
        name, out = f"head{head}.block{index + 1}", rows - block.rows + 1
        layers.append(
            Layer(
                name=name,
                part=Part.HEAD,
                head=head,
                block=index,
                inputs=(source,),
                out_channels=block.channels,
                kernel_rows=block.rows,
                kernel_cols=block.columns,
                pad_cols=block.columns // 2,
                rows_in=rows,
                rows_out=out,
                columns_in=config.widths[index],
                columns_out=config.widths[index + 1],
                pool=True,
                activation=Activation.RELU,
                norm=True,
                zero_point=RELU_ZERO_POINT,
                writes="C" if index == last else name,
                first=head * block.channels if index == last else 0,
                stages=(name,) if out == 1 else tuple(f"{name}.row{row}" for row in range(out)),
            )
        )
        rows, source = out, Input(name, block.channels, RELU_ZERO_POINT)
    return layers
