"""Lamps: a heartbeat, the last decision, and whether anything is wrong."""

from dataclasses import dataclass, field
from typing import ClassVar

from amaranth.hdl import Module, Signal

from boards import pins
from boards.outputs.output import Room, Taps
from hw.interfaces import Status


@dataclass(frozen=True, kw_only=True)
class Lamps:
    """Which of a board's lamps show what.

    Attributes
    ----------
    heartbeat, person, fault : tuple or None
        Resource name, and its number or its part ("r", "g", "b"). "person": the network's stop
        class was the last decision; a lost frame is none. "fault" is lit without weights, where
        the camera's set-up failed, and while the camera is too fast for the engine.
    """

    heartbeat: tuple[str, int | str] | None = None
    person: tuple[str, int | str] | None = None
    fault: tuple[str, int | str] | None = None
    default: bool = field(default=True, init=False)
    name: ClassVar[str] = "lamps"
    asks: ClassVar[bool] = False

    def room(self, board, plan, free) -> Room:
        """Nothing that counts."""
        return Room()

    def add_to(self, m: Module, taps: Taps) -> None:
        beat = Signal(range(int(taps.limit_hz)))
        stops, too_fast = Signal(), Signal()
        m.d.sync += beat.eq(beat + 1)
        with m.If(taps.decision.valid):
            stop = taps.plan.model.stop_index
            # of a lost frame the index is 0
            decided = 1 if stop else taps.decision.status == Status.OK
            m.d.sync += [
                stops.eq((taps.decision.index == stop) & decided),
                too_fast.eq(taps.decision.status == Status.OVERRUN),
            ]
        levels = {
            "heartbeat": beat[-1],
            "person": stops,
            "fault": ~taps.weights_ok | taps.camera_failed | too_fast,
        }
        asked = {}
        for name, level in levels.items():
            place = getattr(self, name)
            if place is None:
                continue
            resource, part = place
            if isinstance(part, int):
                lamp = taps.platform.request(resource, part, dir="-")
            else:  # one colour of a lamp of several
                if resource not in asked:
                    asked[resource] = taps.platform.request(resource, dir="-")
                lamp = getattr(asked[resource], part)
            pins.drive(m, name, lamp, level)
