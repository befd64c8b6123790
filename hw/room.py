"""Room: whether a source of pixels that can wait may go on."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.interfaces import Room


class RoomControl(wiring.Component):
    """Tells from what line buffer and frame control tell each other whether pixels find room.

    The rules are those of hw.line_buffer.Receiver, looked at before a pixel comes, not after.

    Parameters
    ----------
    row_groups, rows : int
        Of a frame; k, of a row group.

    Ports
    -----
    enable, waiting, receiving, current, busy : In(1)
        As in LineControl.
    rows, released : In(range(row_groups * k + 1))
        As in LineControl.
    room : Out(Room())
    """

    latency = 1
    """LineControl -> `room`."""

    def __init__(self, *, row_groups: int, rows: int):
        self.k, self.frame_rows = rows, row_groups * rows
        super().__init__(
            {
                **dict.fromkeys(("enable", "waiting", "receiving", "current", "busy"), In(1)),
                "rows": In(range(self.frame_rows + 1)),
                "released": In(range(self.frame_rows + 1)),
                "room": Out(Room()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        before = self.frame_rows - self.k
        row, frame = self.room.row, self.room.frame
        with m.If(~self.receiving):
            m.d.sync += row.eq(1)
        with m.Elif(self.current):
            m.d.sync += row.eq(self.rows < self.released + self.k)
        with m.Elif(self.busy):
            m.d.sync += row.eq(self.rows + before < self.released)
        with m.Else():
            m.d.sync += row.eq(self.rows < self.k)
        inside = self.current & self.receiving  # a restart: the engine drops the frame
        m.d.sync += frame.eq(
            self.enable
            & (~self.waiting | self.receiving)
            & (~self.busy | inside | (self.released > before))
        )
        return m
