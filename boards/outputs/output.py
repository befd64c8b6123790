"""The seam for outputs: what an output is, and what a board's design offers it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from amaranth.hdl import Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.weights import Weights
from hw.plan import Plan

if TYPE_CHECKING:
    from boards.board import Board
    from boards.camera.sensor import Sensor


class PacketStream(wiring.Signature):
    """Whole packets, byte by byte; from an output to the UART.

    Members
    -------
    valid : Out(1)
        A byte is offered, until it is taken.
    data : Out(8), last : Out(1)
        Of a packet the last one; two cycles after a byte was taken they are the next one's.
    ready : In(1)
        It is taken, no more often than every third cycle.
    there : Out(1)
        Constant: whether anything is connected.
    """

    def __init__(self):
        super().__init__(
            {"valid": Out(1), "data": Out(8), "last": Out(1), "ready": In(1), "there": Out(1)}
        )

    def __eq__(self, other):
        return type(self) is type(other)


@dataclass(frozen=True, kw_only=True)
class Taps:
    """What a board's design offers its outputs; all in the domain `sync`.

    Attributes
    ----------
    board : Board
    plan : Plan, weights : Weights
        Of the engine, the weights as it was built.
    platform : Any
        Pins are requested of it.
    free : int
        Block RAMs that nobody else takes.
    limit_hz : float
        Of the fastest engine's clock: times that must last so long are counted in it.
    oscillator : Value or None
        The board's oscillator, where that is a pin that can feed a second PLL.
    sensor : Sensor or None, binning : int
        The camera as it is set up; sensor pixels that make one, each way.
    pixels : hw.interfaces.Pixels
        What the camera sees, at the network's size, whether the engine takes it or not.
    row, decision : hw.interfaces.RowEvent, hw.interfaces.Decision
        The engine's.
    toggles : Value
        A bit for each of boards.packets.COUNTERS less the link's own that changes with each count.
    weights_ok, camera_failed : Value
        The engine has weights; the camera's set-up failed.
    state : hw.interfaces.StateRead or None
        Reads of the state, of one output at most. None: the engine has no read-back. Without an
        answer while the state goes to the host.
    packets : PacketStream
        To the UART; of one output at most.
    asked, colour : Value
        The host wants a preview: a level, or a pulse for one picture; in colour.
    """

    board: "Board"
    plan: Plan
    weights: Weights
    platform: Any
    free: int
    limit_hz: float
    oscillator: Value | None
    sensor: "Sensor | None"
    binning: int
    pixels: Any
    row: Any
    decision: Any
    toggles: Value
    weights_ok: Value
    camera_failed: Value
    state: Any
    packets: Any
    asked: Value
    colour: Value


@dataclass(frozen=True, kw_only=True)
class Room:
    """What an output takes of a device: an estimate for `lut`, a count for `bram`."""

    lut: int = 0
    bram: int = 0


class Output(Protocol):
    """An output as data of a board's file; frozen.

    Attributes
    ----------
    name : str
        On the command line (OUTPUTS=).
    asks : bool
        It takes what comes at the UART of a small board.
    default : bool
        A board has it unless told otherwise.
    """

    name: ClassVar[str]
    asks: ClassVar[bool] = False
    default: bool

    def room(self, board: "Board", plan: Plan, free: int) -> Room:
        """What it takes, of so many block RAMs that are left; ValueError where the board or the
        network cannot have it."""
        ...

    def add_to(self, m: Module, taps: Taps) -> None:
        """Adds it to a board's design."""
        ...


def chosen(board: "Board", names: str) -> tuple[Output, ...]:
    """The outputs of a board that are there by default, and those named besides.

    names: separated by commas or blanks.

    Raises
    ------
    ValueError
        The board has none of that name.
    """
    wanted = names.replace(",", " ").split()
    known = {output.name: output for output in board.outputs}
    for name in wanted:
        if name not in known:
            more = [n for n, output in known.items() if not output.default]
            there = f"one of {', '.join(more)}" if more else "left away"
            raise ValueError(f"outputs of {board.name} must be {there}, not {name!r}")
    return tuple(o for o in board.outputs if o.default or o.name in wanted)
