"""Functional coverage: what of the row program and of the numbers came up, as bins with counts.

Words
    Each field of each sequencer's words: a flag 0 and 1, an enumeration each of its members, a
    number 0 and more.
Functions
    Each kind of layer with the function that its sums go through: values below, inside and above
    what is kept of them (`hw.plan.functions.Saturation`), counted in the golden model of the very
    frames that the engine must equal; and the shapes of its walks.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from enum import IntEnum

import torch

from golden import array
from golden.config import ModelConfig
from golden.weights import LayerWeights, Weights
from hw.plan import Plan, compile_program
from hw.plan.engine_config import EngineConfig
from hw.plan.functions import FUNCTIONS
from hw.plan.operations import Function, Operation
from hw.plan.parts import PARTS

WORDS = {name: word for record in PARTS.values() for name, word in record.words.items()}
"""The words of each sequencer, of all records."""
_LISTS = ("places", "bases")
EDGES = ("below", "inside", "above")
WALKS = (
    *("one tap", "padding left and right", "several rows"),
    *("one word", "several words", "last word partly filled", "last word filled"),
    *("one group of channels", "last group partly filled", "last group filled"),
    *("one segment", "two segments"),
)


def kind_of(layer: str) -> str:
    """A layer's name without the numbers of heads and blocks: all of them are one kind."""
    return re.sub(r"^(head|attention)\d+|(?<=block)\d+", lambda part: part[1] or "", layer)


def _values(kind: object) -> tuple[str, ...]:
    if isinstance(kind, type) and issubclass(kind, IntEnum):
        return tuple(one.name for one in kind)
    return ("0", "1") if kind is bool else ("0", "more")


def _value(kind: object, value: int) -> str:
    if isinstance(kind, type) and issubclass(kind, IntEnum):
        return kind(value).name
    return str(int(value)) if kind is bool else ("more" if value else "0")


def universe() -> list[str]:
    """The names of all bins."""
    found = [
        f"{program}: {field.name} {value}"
        for program, word in WORDS.items()
        for field in fields(word)
        if field.name not in _LISTS
        for value in _values(field.type)
    ]
    for kind, function in functions().items():
        found += [f"{kind}, {function.name}: {edge}" for edge in (*EDGES, *WALKS)]
    return found


def functions() -> dict[str, Function]:
    """The function of each kind of layer, from a network that has them all."""
    model = ModelConfig(
        name="all",
        image_height=5,
        image_width=16,
        heads=1,
        head_channels=(1, 1, 1, 2),
        state_channels=2,
        spatial_attention="full",
    )
    plan = compile_program(model, EngineConfig(pixels=3, channels=1, lanes=1))
    return {kind_of(op.layer.name): op.function for op in plan.operations}


def of_words(plan: Plan) -> Counter:
    """Bins of the words of a program."""
    found: Counter = Counter()
    for program, words in plan.words.items():
        for word in words:
            for field in fields(word):
                if field.name not in _LISTS:
                    value = _value(field.type, getattr(word, field.name))
                    found[f"{program}: {field.name} {value}"] += 1
    return found


def _walks(op: Operation, plan: Plan) -> Iterator[str]:
    engine = plan.engine
    words, part = -(-op.out_columns // engine.pixels), op.out_columns % engine.pixels
    yield "one tap" if op.taps == 1 else "padding left and right"
    if op.kernel_rows > 1:
        yield "several rows"
    yield "one word" if words == 1 else "several words"
    yield "last word partly filled" if part else "last word filled"
    at_once = engine.channels * (plan.geometry.head_lanes if op.head_mode else engine.lanes)
    if op.out_groups == 1:
        yield "one group of channels"
    yield "last group partly filled" if op.out_channels % at_once else "last group filled"
    yield "two segments" if len(op.segments) > 1 else "one segment"


def of_operations(plan: Plan) -> Counter:
    """Bins of the walks' shapes."""
    return Counter(
        f"{kind_of(op.layer.name)}, {op.function.name}: {walk}"
        for op in plan.operations
        for walk in _walks(op, plan)
    )


@contextmanager
def values(weights: Weights, into: Counter) -> Iterator[None]:
    """Counts values below, inside and above what is kept of them, of all that the golden model
    computes meanwhile with these weights."""
    names = {id(layer): kind_of(name) for name, layer in weights.layers.items()}
    kinds = functions()

    def watch(layer: LayerWeights, value: torch.Tensor) -> None:
        kind = names.get(id(layer))
        if kind not in kinds:
            return
        function = kinds[kind]
        low, high = FUNCTIONS[function].saturation.value
        if function is Function.MIX:  # saturated once more, behind the sum
            low, high = -128, 127
        below, above = int((value < low).sum()), int((value > high).sum())
        counts = zip(EDGES, (below, value.numel() - below - above, above), strict=True)
        for edge, count in counts:
            if count:
                into[f"{kind}, {function.name}: {edge}"] += count

    array.WATCHERS.append(watch)
    try:
        yield
    finally:
        array.WATCHERS.remove(watch)


def holes(found: Mapping[str, int], names: Iterable[str]) -> list[str]:
    """Bins in which nothing is."""
    return [name for name in names if not found.get(name)]
