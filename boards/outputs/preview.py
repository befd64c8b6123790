"""Preview: what the camera sees, piece by piece over the UART."""

from dataclasses import dataclass
from math import ceil, gcd
from struct import calcsize
from typing import ClassVar

from amaranth.hdl import Array, Cat, Const, Module, Mux, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect

from boards import packets
from boards.family import FAMILIES
from boards.held import Held, number
from boards.outputs.output import PacketStream, Room, Taps
from boards.uart import BYTE_BITS
from hw.common import NO_COLLISION
from hw.interfaces import Pixels

HEADER = packets.HEAD_BYTES + calcsize(packets.Preview.LAYOUT)
AROUND = HEADER + packets.CRC_BYTES
"""Bytes of a packet beside its pixels."""
EVENT_BYTES = 24
"""So long may the UART be taken by an event when a piece is there."""
MOST = 120
"""Rows and columns of a preview at most, and bytes of a piece."""
REGISTERS = 8
"""Bytes of a piece that needs no block RAM."""


def scale(height: int, width: int) -> int:
    """Pixels of the network's picture from one of the preview to the next, each way."""
    found = 1
    while max(height, width) > found * MOST:
        found *= 2
    return found


def stride(rows: int, row_seconds: float, piece: int, baud: float) -> int:
    """Rows from a piece to the next one: while they pass, a piece has left, and an event.

    Without a factor in common with `rows`, so that all rows have their turn. Where more than a
    frame passes, how far down the frame the next one is.
    """
    found = max(1, ceil((AROUND + piece + EVENT_BYTES) * BYTE_BITS / baud / row_seconds))
    while gcd(found, rows) > 1:
        found += 1
    return found % rows or 1


class PreviewSender(wiring.Component):
    """Keeps a piece of a row as it comes by, sends it as a packet, waits for the next piece.

    Rows are sent `stride` apart, so that a frame brings many; when all rows have had their turn,
    the next piece to the right is sent of each. A piece whose row comes while the one before is
    still leaving waits for the next frame: nothing is left out. The picture is the network's, of
    which each `scale`-th row and pixel is taken.

    ``rows * ceil(columns / pixels of a piece)`` pieces make a picture. Nothing waits for it.

    Model: boards.packets.Preview, boards.picture.Picture.

    Parameters
    ----------
    height, width : int
        Of the network's picture.
    scale : int
        A power of two.
    stride : int or Held
        Less than the rows and without a factor in common with them; 1 if there is one row.
    piece : int
        Bytes of pixels in a packet, at most; up to `REGISTERS` they are kept in registers, and it
        must divide the columns.
    in_channels : {1, 3}
        Of the pixels.
    colours : {1, 3}
        1: only the first colour is looked at, and sent. 3: grey is (red + 2 green + blue + 2) // 4.
    pulsed : bool
        What `want` is.

    Ports
    -----
    pixels : In(Pixels(in_channels))
        At least `colours` cycles from pixel to pixel; a frame ends before the next one begins.
    want : In(1)
        Pieces are wanted; with `pulsed` one whole picture after each pulse, of several that come
        while one is sent, one more.
    colour : In(1)
        ... in colour, from the next piece on; only with three `colours`.
    packets : Out(PacketStream())

    Raises
    ------
    ValueError
        Sizes that do not go into a packet, a piece in registers that does not divide a row, a
        stride that does not reach each row.
    """

    def __init__(
        self,
        *,
        height: int,
        width: int,
        scale: int,
        stride: int | Held,
        piece: int,
        in_channels: int,
        colours: int,
        pulsed: bool = False,
    ):
        if scale < 1 or scale & (scale - 1):
            raise ValueError(f"scale must be a power of two, not {scale}")
        self.rows, self.columns = ceil(height / scale), ceil(width / scale)
        if max(self.rows, self.columns) > 255:
            raise ValueError(
                f"a preview must have at most 255 rows and columns, not {self.rows} and "
                f"{self.columns}"
            )
        if not colours <= piece <= packets.MAX_PAYLOAD - (HEADER - packets.HEAD_BYTES):
            raise ValueError(f"piece must be {colours}..250 bytes, not {piece}")
        if piece <= REGISTERS and (self.columns % piece or colours > 1):
            raise ValueError(
                f"a piece in registers must be grey and divide {self.columns} columns, "
                f"not {piece} bytes of {colours} a pixel"
            )
        cycles = stride.cycles if isinstance(stride, Held) else stride
        most = max(1, self.rows - 1)
        if not 1 <= cycles <= most:
            raise ValueError(f"stride must be 1..{most}, not {cycles}")
        if gcd(cycles, self.rows) > 1:
            raise ValueError(
                f"stride must have no factor in common with {self.rows} rows, not {cycles}"
            )
        self.height, self.width, self.scale, self.stride = height, width, scale, stride
        self.piece, self.colours, self.pulsed = piece, colours, pulsed
        super().__init__(
            {
                "pixels": In(Pixels(in_channels)),
                "want": In(1),
                "colour": In(1),
                "packets": Out(PacketStream()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        pixels, bits = self.pixels, self.scale.bit_length() - 1
        # where the camera is
        x, y = Signal(range(self.width)), Signal(range(self.height))
        with m.If(pixels.valid):
            m.d.sync += x.eq(x + 1)
            with m.If(pixels.eol):
                m.d.sync += [x.eq(0), y.eq(y + 1)]
        with m.If(pixels.frame_end):
            m.d.sync += [x.eq(0), y.eq(0)]
        # The next piece: it opens with its first pixel and is closed after its last one.
        row, column = Signal(range(self.rows)), Signal(range(self.columns))
        running, opened, sending, closed = Signal(), Signal(), Signal(), Signal()
        colour, coloured = Signal(), Signal()
        first, take, last, end = Signal(), Signal(), Signal(), Signal()
        following, whole = Signal.like(x[bits:]), Signal()  # right of the piece; it ends its row
        left, more = Signal(range(self.piece)), Signal(range(self.piece))  # pixels after this one
        here = pixels.valid & ~Cat(x[:bits], y[:bits]).any() & (y[bits:] == row)
        waits = running & ~sending & ~closed
        pixel_count = Mux(colour, self.piece // 3, self.piece) if self.colours > 1 else self.piece
        m.d.comb += [
            first.eq(here & waits & (x[bits:] == column)),
            take.eq(first | (here & opened)),
            colour.eq(self.colour if self.colours > 1 else 0),
            more.eq(Mux(first, pixel_count - 1, left)),
            end.eq(x[bits:] == self.columns - 1),
            last.eq(take & (end | (more == 0))),
        ]
        with m.If(first):
            m.d.sync += coloured.eq(colour)
        with m.If(take):
            m.d.sync += [
                opened.eq(~last),
                closed.eq(last),
                left.eq(more - 1),
                following.eq(x[bits:] + 1),
                whole.eq(end),
            ]
        with m.If(pixels.frame_end):
            m.d.sync += opened.eq(0)

        write, byte = self._bytes(m, take, Mux(first, colour, coloured))
        size = Signal(range(self.piece + 1))
        with m.If(write):
            m.d.sync += size.eq(size + 1)
        done, position, content, shown = self._packet(m, sending, row, column, coloured, size)
        with m.If(first):
            m.d.sync += size.eq(write)
        with m.If(closed & ~write):
            m.d.sync += [sending.eq(1), closed.eq(0)]
        with m.If(done):
            m.d.sync += sending.eq(0)
        self._keep(m, write, byte, Mux(first, 0, size), position, content, shown)

        final = self._advance(m, done, row, column, following, whole)
        if self.pulsed:
            again = Signal()
            with m.If(self.want):
                m.d.sync += [running.eq(1), again.eq(running & ~final)]
            with m.Elif(final):
                m.d.sync += [running.eq(again), again.eq(0)]
        else:
            m.d.comb += running.eq(self.want)
        return m

    def _bytes(self, m, take, coloured):
        """What is kept of a pixel: (there is a byte, the byte)."""
        colours = [getattr(self.pixels, name) for name in self.pixels.signature.colours]
        if self.colours == 1:
            return take, colours[0]
        held, owed = Signal(24), Signal(2)
        red, green, blue = colours
        grey = ((red + (green << 1) + blue + 2) >> 2)[:8]
        with m.If(take):
            m.d.sync += [
                held.eq(Mux(coloured, Cat(red, green, blue), grey)),
                owed.eq(Mux(coloured, 3, 1)),
            ]
        with m.Elif(owed != 0):
            m.d.sync += [held.eq(held >> 8), owed.eq(owed - 1)]
        return owed != 0, held[:8]

    def _packet(self, m, sending, row, column, coloured, size):
        """Sends a packet: (its end, place among the pixels, the pixel there, it is taken)."""
        out = self.packets
        position, content = Signal(range(max(self.piece, HEADER))), Signal(8)
        head, tail = Signal(init=1), Signal()
        taken, done, shown = Signal(), Signal(), Signal()
        first = head & (position == 0)  # the sync byte is not in the CRC
        m.submodules.crc = crc = ResetInserter(first)(CRC16_IBM_3740(8).create())
        length = Signal(8)
        m.d.sync += length.eq(size + (HEADER - packets.HEAD_BYTES))
        header = Array(
            [
                *(Const(packets.SYNC, 8), Const(packets.Kind.PREVIEW, 8), length, Const(0, 8)),
                *(Const(self.rows, 8), Const(self.columns, 8), Const(1, 8) | (coloured << 1)),
                *(row, column),
            ]
        )
        m.d.comb += [
            out.there.eq(1),
            out.valid.eq(sending),
            # feeding the CRC its own high byte shifts the low one up
            out.data.eq(Mux(tail, crc.crc[8:], Mux(head, header[position[:4]], content))),
            out.last.eq(tail & position[0]),
            taken.eq(sending & out.ready),
            done.eq(taken & out.last),
            shown.eq(taken & ~head & ~tail),
            crc.valid.eq(taken),
            crc.data.eq(out.data),
        ]
        with m.If(taken):
            m.d.sync += position.eq(position + 1)
            with m.If(head & (position == HEADER - 1)):
                m.d.sync += [position.eq(0), head.eq(0)]
            with m.If(shown & (position == size - 1)):
                m.d.sync += [position.eq(0), tail.eq(1)]
            with m.If(out.last):
                m.d.sync += [position.eq(0), head.eq(1), tail.eq(0)]
        return done, position, content, shown

    def _keep(self, m, write, byte, place, position, content, shown):
        """The pixels of a piece, in a block RAM or in registers."""
        if self.piece > REGISTERS:
            m.submodules.memory = memory = Memory(
                shape=8, depth=self.piece, init=[], attrs=NO_COLLISION
            )
            into, out = memory.write_port(), memory.read_port()
            m.d.comb += [
                *(into.en.eq(write), into.data.eq(byte), into.addr.eq(place)),
                *(out.addr.eq(position), content.eq(out.data)),
            ]
            return
        kept = [Signal(8, name=f"kept{i}") for i in range(self.piece)]
        with m.If(write | shown):
            m.d.sync += [kept[0].eq(byte), *(b.eq(a) for a, b in zip(kept, kept[1:], strict=False))]
        m.d.comb += content.eq(kept[-1])

    def _advance(self, m, done, row, column, following, whole):
        """After a piece: that of a row `stride` further, after all rows the next one to the right.

        Returns the end of a picture.
        """
        held = self.stride if isinstance(self.stride, Held) else None
        step = number(m, "stride", held.cycles if held else self.stride, held)
        turned, final = Signal(), Signal()
        further, over = Signal(range(2 * self.rows)), Signal.like(row)
        m.d.comb += [
            further.eq(row + step),
            over.eq(further - self.rows),
            turned.eq(done & (further == self.rows)),
            final.eq(turned & whole),
        ]
        with m.If(done):
            m.d.sync += row.eq(Mux(further >= self.rows, over, further))
        with m.If(turned):
            m.d.sync += column.eq(Mux(whole, 0, following))
        return final


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The preview as a board's output: 120 rows and columns at most, grey or in colour.

    A piece is a row in grey or a third of one in colour; on a small board without a free block RAM
    a few pixels in registers.
    """

    default: bool = False
    name: ClassVar[str] = "preview"
    asks: ClassVar[bool] = True

    def room(self, board, plan, free: int) -> Room:
        """ValueError for a board without a camera."""
        if board.camera is None:
            raise ValueError(f"{board.name} has no camera to see with: leave OUTPUTS=preview away")
        family = FAMILIES[board.device.family]
        in_block = not family.lut_ram_words and self.piece(plan, board, free) > REGISTERS
        return Room(lut=family.preview_luts, bram=int(in_block))

    @staticmethod
    def piece(plan, board, free: int) -> int:
        """Bytes of a piece at most; free: block RAMs."""
        if free > 0:
            return MOST
        model = plan.model
        columns = ceil(model.image_width / scale(model.image_height, model.image_width))
        return max(size for size in range(1, REGISTERS + 1) if columns % size == 0)

    def sender(self, taps: Taps) -> PreviewSender:
        """The block for a board's camera and UART."""
        board, model, sensor = taps.board, taps.plan.model, taps.sensor
        step = scale(model.image_height, model.image_width)
        piece = self.piece(taps.plan, board, taps.free)
        rows = ceil(model.image_height / step)
        seconds = step * taps.binning / sensor.line_hz
        grey = model.in_channels == 1 or sensor.pixel_format == "grey8" or piece <= REGISTERS
        return PreviewSender(
            height=model.image_height,
            width=model.image_width,
            scale=step,
            stride=Held(
                cycles=stride(rows, seconds, piece, board.baud),
                most=rows,
                cells=board.device.family,
            ),
            piece=piece,
            in_channels=model.in_channels,
            colours=1 if grey else 3,
            pulsed=board.events_only,
        )

    def add_to(self, m: Module, taps: Taps) -> None:
        m.submodules.preview = sender = self.sender(taps)
        connect(m, taps.pixels, sender.pixels)
        connect(m, sender.packets, taps.packets)
        m.d.comb += [sender.want.eq(taps.asked), sender.colour.eq(taps.colour)]
