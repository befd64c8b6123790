"""Records of parts: what an engine is built from, by the name that `EngineConfig.parts` gives.

A record may be made from another with `dataclasses.replace`: an engine with other latencies needs
the parts that have them, the same numbers in hw.plan.latency.LATENCIES, and a row in
hw.plan.parts.PARTS (see tests/test_parts.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from amaranth.lib import wiring

from golden.weights import Weights
from hw.line_buffer import ByteLines, WordLines
from hw.loader import Section, image_bytes
from hw.parallel import attention, classifier
from hw.parallel import image as parallel_image
from hw.parallel import parts as parallel
from hw.parallel.channel_unit import FEW
from hw.plan import Plan
from hw.plan.beside import CLASSIFIER_BIAS_BITS
from hw.plan.latency import LOW_POWER as LOW_POWER_LATENCY
from hw.plan.latency import PACKED as PACKED_LATENCY
from hw.plan.latency import PARALLEL as PARALLEL_LATENCY
from hw.plan.latency import SERIAL as SERIAL_LATENCY
from hw.plan.latency import Latency
from hw.serial import classifier as serial_classifier
from hw.serial import image as serial_image
from hw.serial import parts as serial
from hw.weight_sram import WeightSram

Words = Mapping[str, Any]
"""Contents of the memories by the names of their sections; None where one begins empty."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """One kind of engine.

    Attributes
    ----------
    latency : Latency
        Which the parts have, and assert.
    lines, window, array : function of Plan
        Line buffer; see hw.path.
    back : function of Plan, Weights, contents of the constant memory
        See hw.path.
    weights : function of Plan, contents
        The weight memory, see WeightRead.
    classifier : function of Plan, Words
        With the ports of hw.interfaces.Classify.
    attention : function of Plan, Words; or None
        Where there is spatial attention, see hw.parallel.attention.
    sections, words, flat_words : functions of Plan
        The weights image: its sections; the contents of the memories, from weights; the same as
        plain numbers. See hw.image.
    loads : dict of str to (str, str)
        For each section the attribute of RowEngine and its write port.
    """

    latency: Latency
    lines: Callable[[Plan], wiring.Component]
    window: Callable[[Plan], wiring.Component]
    array: Callable[[Plan], wiring.Component]
    back: Callable[[Plan, Weights, Sequence], wiring.Component]
    weights: Callable[[Plan, Sequence[int]], wiring.Component]
    classifier: Callable[[Plan, Words], wiring.Component]
    attention: Callable[[Plan, Words], wiring.Component] | None
    sections: Callable[[Plan], list[Section]]
    words: Callable[[Plan, Weights], Words]
    flat_words: Callable[[Plan, Words], Words]
    loads: Mapping[str, tuple[str, str]]


def _weights(plan: Plan, init: Sequence[int]) -> WeightSram:
    if plan.latency.registered:
        assert plan.latency.weight_memory == WeightSram.latency
    return WeightSram(
        depth=plan.weight_words,
        bits=8 * plan.engine.units,
        init=init,
        cells=plan.engine.cells,
        registered=plan.latency.registered,
    )


def _sizes(plan: Plan) -> dict[str, int]:
    model = plan.model
    return {
        "channels": model.state_channels,
        "hidden": model.classifier_hidden,
        "columns": model.n,
        "classes": model.class_count,
        "stop_class": model.stop_index,
    }


def _classifier(plan: Plan, first: Words) -> classifier.Classifier:
    return classifier.Classifier(
        **_sizes(plan),
        bias_bits=CLASSIFIER_BIAS_BITS,
        weights=first["classifier_weights"],
        constants=first["classifier_constants"],
    )


def _serial_classifier(plan: Plan, first: Words) -> serial_classifier.SerialClassifier:
    return serial_classifier.SerialClassifier(
        **_sizes(plan), words=first["classifier"] or (), cells=plan.engine.cells
    )


PARALLEL = Parts(
    latency=PARALLEL_LATENCY,
    lines=WordLines,
    window=parallel.Window,
    array=parallel.Array,
    back=parallel.Back,
    weights=_weights,
    classifier=_classifier,
    attention=lambda plan, words: attention.Attention(plan, words["exp_table"]),
    sections=parallel_image.sections,
    words=parallel_image.words,
    flat_words=parallel_image.flat_words,
    loads={
        "weights": ("weights", "write"),
        "constants": ("back", "load"),
        "classifier_weights": ("classifier", "weights"),
        "classifier_constants": ("classifier", "constants"),
        "exp_table": ("attention", "table"),
    },
)
"""A fast clock: a channel unit for each sum of a lane, a register after every level of logic."""

SERIAL = Parts(
    latency=SERIAL_LATENCY,
    lines=ByteLines,
    window=serial.Window,
    array=serial.Array,
    back=serial.Back,
    weights=_weights,
    classifier=_serial_classifier,
    attention=None,
    sections=serial_image.sections,
    words=serial_image.words,
    flat_words=lambda plan, words: words,
    loads={
        "weights": ("weights", "write"),
        "constants": ("back", "load"),
        "classifier": ("classifier", "load"),
    },
)
"""For small FPGAs at half the clock: one channel unit for all, few registers."""

PACKED = replace(
    PARALLEL,
    latency=PACKED_LATENCY,
    array=partial(parallel.Array, packed=True),
    attention=None,
)
"""Where LUTs are short: two products from a DSP cell (ECP5), a cycle later."""

LOW_POWER = replace(
    PARALLEL,
    latency=LOW_POWER_LATENCY,
    window=partial(parallel.Window, tap_registered=False),
    array=partial(parallel.Array, inside=0),
    back=partial(parallel.Back, stages=FEW),
)
"""For silicon at a slow clock: sums follow their operands, and a channel unit has few registers."""

PARTS = {"parallel": PARALLEL, "serial": SERIAL, "packed": PACKED, "low_power": LOW_POWER}


def weights_image(plan: Plan, weights: Weights) -> bytes:
    """Byte stream for the loader port of a plan's engine.

    Raises
    ------
    ValueError
        If the weights are for another network.
    """
    parts = PARTS[plan.engine.parts]
    return image_bytes(parts.sections(plan), parts.flat_words(plan, parts.words(plan, weights)))
