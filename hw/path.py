"""The way from a step to written words, in three parts with the same ports in every engine.

::

    steps ─► window ─► operands ─► array ─► sums ─► back ─► words ─┐
              ▲ ▲ camera             ▲ weights       ▲ constants   │
              │ └───────────── operand reads ────────┤             │
              └──────────────────────────────────────┴─────────────┘

What goes between two parts of one engine only (`sums`, `maps`) has a signature of that engine's.
"""

from collections.abc import Mapping

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.interfaces import CameraRead, Pooled, WeightRead, WordRead
from hw.plan import Plan
from hw.sequencer import step_layout


def steps_of(plan: Plan, transfer: int) -> wiring.Member:
    """Port of the steps: the sequencer's, and as it was 1 .. `transfer` cycles ago."""
    return In(step_layout(plan)).array(transfer + 1)


def window_ports(
    plan: Plan, camera: CameraRead, maps: wiring.Signature
) -> dict[str, wiring.Member]:
    """Ports of a window: banks of maps and state, and what they bring before the multipliers.

    Ports
    -----
    steps : In(step_layout(plan)), an array of transfer + 1
        See `steps_of`.
    reset : In(1)
        What is under way is dropped.
    first_group : In(1)
        Steps belong to a frame's first row group: the state reads as zero.
    camera : Out(CameraRead)
    maps : In(of this engine)
        Words written, and reads of operands; from the way back.
    host : In(WordRead)
    operands : Out(8 * P), an array of L
        `transfer - multiply` cycles after the step.
    """
    engine = plan.engine
    return {
        "steps": steps_of(plan, plan.latency.transfer),
        "reset": In(1),
        "first_group": In(1),
        "camera": Out(camera),
        "maps": In(maps),
        "host": In(WordRead(lanes=engine.lanes, words=plan.bank_words, pixels=engine.pixels)),
        "operands": Out(data.ArrayLayout(8 * engine.pixels, engine.lanes)),
    }


def array_ports(plan: Plan, sums: wiring.Signature) -> dict[str, wiring.Member]:
    """Ports of an array: multipliers and accumulators.

    Ports
    -----
    steps : In(step_layout(plan)), an array of transfer + 1
        See `steps_of`.
    reset : In(1)
        What is under way is dropped.
    operands : In(8 * P), an array of L
        From the window.
    weights : Out(WeightRead)
        A word is C * L bytes.
    sums : Out(of this engine)
        A walk's sums, from the transfer on.
    """
    engine = plan.engine
    return {
        "steps": steps_of(plan, plan.latency.transfer),
        "reset": In(1),
        "operands": In(data.ArrayLayout(8 * engine.pixels, engine.lanes)),
        "weights": Out(WeightRead(words=plan.weight_words, bits=8 * engine.units)),
        "sums": Out(sums),
    }


def back_ports(
    plan: Plan, sums: wiring.Signature, maps: wiring.Signature
) -> dict[str, wiring.Member]:
    """Ports of a way back: from sums to bytes, and to their places.

    Ports
    -----
    reset : In(1)
        What is under way is dropped.
    first_group : In(1)
        Steps belong to a frame's first row group: the state reads as zero.
    sums : In(of this engine)
        A walk's sums, from the array.
    maps : Out(of this engine)
        Words written, and reads of operands; to the window.
    pool : Out(Pooled)
        The new state's channels, for the classifier.
    state_done : Out(1), pulse
        With a row group's last pooled channel.
    """
    model = plan.model
    return {
        "reset": In(1),
        "first_group": In(1),
        "sums": In(sums),
        "maps": Out(maps),
        "pool": Out(Pooled(model.state_channels, model.n)),
        "state_done": Out(1),
    }


def camera_read(plan: Plan, words: int) -> CameraRead:
    """Signature of a line buffer's read ports: banks of so many words."""
    return CameraRead(banks=plan.geometry.head_lanes, words=words, pixels=plan.engine.pixels)


def join(m: Module, interface, block, names: Mapping[str, str] | None = None) -> None:
    """Connects an interface with a block's own ports: those of the members' names, or of `names`.

    `interface` is seen as `wiring.connect` sees it: what is Out goes to the block.
    """
    for name, member in interface.signature.members.items():
        ours, theirs = getattr(interface, name), getattr(block, (names or {}).get(name, name))
        m.d.comb += theirs.eq(ours) if member.flow is Out else ours.eq(theirs)
