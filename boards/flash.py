"""Weights from an SPI flash: the loader, and the image that it expects there."""

import struct
import zlib
from math import ceil

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from boards.packets import DIGEST_BYTES, Problem
from hw.common import delay
from hw.interfaces import LoadPort

MAGIC = b"Rsca"
HEADER_LAYOUT = f"<4sI{DIGEST_BYTES}s"
HEADER_BYTES = struct.calcsize(HEADER_LAYOUT)
CRC_BYTES = 4
OFFSET = 0x40000
"""Where the image begins: above a UP5K's bitstream (104,090 bytes at 0), with room for a second one
below it, and at the start of a 64 kbyte erase block, so that either can be written alone."""
ERASE_BLOCK = 0x10000
WAKE_SECONDS = 50e-6
"""From 0xAB to the first read; data sheets of usual parts say 3 to 30 us."""
MAX_SPI_HZ = 20e6
"""Plain reads (0x03) are for 33 MHz and more; half of it leaves time for the way there and back."""
RELEASE, READ = 0xAB, 0x03
COMMAND_BYTES = 4  # command and address of a read


def header(image: bytes, config: str) -> bytes:
    """What stands before an image: magic, its length, first bytes of the configuration's digest."""
    return struct.pack(HEADER_LAYOUT, MAGIC, len(image), bytes.fromhex(config)[:DIGEST_BYTES])


def flash_image(image: bytes, config: str) -> bytes:
    """Header, weights image, CRC-32 of the weights image."""
    return header(image, config) + image + struct.pack("<I", zlib.crc32(image))


def spi_divisor(clock_hz: float) -> int:
    """Clock cycles of a bit: the fewest that keep the flash's clock at or below MAX_SPI_HZ."""
    return max(2, 2 * ceil(clock_hz / MAX_SPI_HZ / 2))


class Spi(wiring.Signature):
    """Pins of an SPI flash, seen from the FPGA.

    Members
    -------
    clock : Out(1)
    select : Out(1)
        Low while the flash is spoken to.
    mosi : Out(1), miso : In(1)
        Data to and from the flash.
    """

    def __init__(self):
        super().__init__({"clock": Out(1), "select": Out(1, init=1), "mosi": Out(1), "miso": In(1)})

    def __eq__(self, other):
        return type(self) is type(other)


class SpiBytes(wiring.Component):
    """A byte out and in at once, SPI mode 0: data change while the clock is low.

    Parameters
    ----------
    divisor : int
        Clock cycles of a bit, even, at least 2.

    Ports
    -----
    start : In(1), pulse, between bytes; next_byte : In(8), with it: what goes out, bit 7 first
    last_bit : Out(1), pulse, ``8 * divisor + 1`` cycles after `start`: `byte` is whole
    byte : Out(8), what came in, until the next `start`
    clock, mosi : Out(1); miso : In(1), sampled as `clock` falls
    """

    def __init__(self, *, divisor: int):
        self.divisor = divisor
        super().__init__(
            {
                "start": In(1),
                "next_byte": In(8),
                "last_bit": Out(1),
                "byte": Out(8),
                "clock": Out(1),
                "mosi": Out(1),
                "miso": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        half = self.divisor // 2
        shift, bits = Signal(8, reset_less=True), Signal(range(9))
        timer = Signal(range(max(2, half)), reset_less=True)
        m.d.comb += [self.mosi.eq(shift[7]), self.byte.eq(shift)]
        m.d.sync += self.last_bit.eq(0)
        with m.If(self.start):
            m.d.sync += [shift.eq(self.next_byte), bits.eq(8), timer.eq(half - 1)]
        with m.Elif(bits != 0):
            m.d.sync += timer.eq(timer - 1)
            with m.If(timer == 0):
                m.d.sync += [timer.eq(half - 1), self.clock.eq(~self.clock)]
                with m.If(self.clock):
                    m.d.sync += [shift.eq(Cat(self.miso, shift[:7])), bits.eq(bits - 1)]
                    with m.If(bits == 1):
                        m.d.sync += self.last_bit.eq(1)
        return m


class FlashLoader(wiring.Component):
    """Reads the weights image at power-up, checks it, and passes it to the engine's loader.

    ::

        wake (0xAB, wait) ─► read (0x03, address): header ─► image ─► CRC ─► ready
              ▲                       │ wrong                          │ wrong
              └──── up to `tries` ────┴───────── spoil the load ───────┘─► failed

    The header must be exactly that of this engine's image (magic, length, configuration), byte by
    byte; nothing goes to the engine before, and weights that it already has stay. The CRC-32
    behind the image is compared with the one that the engine's loader has made of what it took
    (`weights_digest`). If it differs, one byte with `load_last` ends the load with an error, so
    that the engine takes no frame. Between the image's last byte and `ready` pixels must be held
    off: `busy`.

    The clock stands still while the engine's loader takes nothing.

    Model: `flash_image` (no part of the integer model).

    Parameters
    ----------
    length : int
        Bytes of the weights image.
    config : str
        Hex digest of the engine's configuration.
    offset : int
        Where the image begins in the flash, 0..2**24 - 1.
    divisor : int
        Clock cycles of a bit on the SPI, even, at least 2; see `spi_divisor`.
    wake_cycles : int
        From the end of 0xAB to the first read, at least 1.
    tries : int
        So often is everything read until it is given up, 1..8.

    Ports
    -----
    reload : In(1), pulse: begin again, in `ready` or `failed`
    busy : Out(1), ready : Out(1), failed : Out(1)
        One of them; `busy` at power-up.
    problem : Out(3), boards.packets.Problem of the last try that failed; 0 in `ready`
    done : Out(1), pulse: `busy` has ended
    load : Out(LoadPort()), to the engine; `error` is not looked at
    weights_digest : In(32), of the engine
    spi : Out(Spi()); `miso` is sampled as `clock` falls
    """

    def __init__(
        self,
        *,
        length: int,
        config: str,
        offset: int = OFFSET,
        divisor: int,
        wake_cycles: int,
        tries: int = 3,
    ):
        if length < 1:
            raise ValueError(f"length must be at least 1, not {length}")
        if offset < 0 or offset + length + HEADER_BYTES + CRC_BYTES > 1 << 24:
            raise ValueError(
                f"offset must be 0..2**24 - 1 with all {length + HEADER_BYTES + CRC_BYTES} bytes "
                f"below 2**24, not {offset}"
            )
        if divisor < 2 or divisor % 2:
            raise ValueError(f"divisor must be even and at least 2, not {divisor}")
        if wake_cycles < 1:
            raise ValueError(f"wake_cycles must be at least 1, not {wake_cycles}")
        if not 1 <= tries <= 8:
            raise ValueError(f"tries must be 1..8, not {tries}")
        self.length, self.config, self.offset = length, config, offset
        self.divisor, self.wake_cycles, self.tries = divisor, wake_cycles, tries
        super().__init__(
            {
                "reload": In(1),
                "busy": Out(1),
                "ready": Out(1),
                "failed": Out(1),
                "problem": Out(Problem),
                "done": Out(1),
                "load": Out(LoadPort()),
                "weights_digest": In(32),
                "spi": Out(Spi()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.bytes = spi = SpiBytes(divisor=self.divisor)
        load, shift, next_byte = self.load, spi.byte, spi.next_byte
        byte_done, select = Signal(), self.spi.select
        # bytes or cycles that are left, less one: negative with the last one
        count = Signal(range(-1, max(self.length, self.wake_cycles, HEADER_BYTES)), reset_less=True)
        tries, zero = Signal(range(self.tries), init=self.tries - 1), Signal()
        last_try = delay(m, tries == 0, 1, "last_try")  # long before a byte can be wrong
        checking, wrong = Signal(), Signal()  # the checksum; the byte is not what is expected
        # between registers, so that none of this is in the way of the engine's clock
        start, offered = Signal(), Signal()
        expected, problem = self._expected(m, count, checking), self._problem(m, count, shift)
        m.d.comb += [
            self.spi.clock.eq(spi.clock),
            self.spi.mosi.eq(spi.mosi),
            spi.miso.eq(self.spi.miso),
            zero.eq(count[-1]),
            self.busy.eq(~self.ready & ~self.failed),
            load.data.eq(shift),
            load.valid.eq(offered),
            spi.start.eq(start),
        ]
        # a byte is there with `last_bit`, and is looked at a cycle later
        m.d.sync += [byte_done.eq(spi.last_bit), wrong.eq(shift != expected)]
        m.d.sync += [self.done.eq(0), start.eq(0), offered.eq(0)]
        command = bytes([READ]) + self.offset.to_bytes(3, "big")
        assert HEADER_BYTES == 16 and len(command) == COMMAND_BYTES

        def begin(left):
            """Asks for the next byte, a cycle later; `left` are still to come."""
            m.d.sync += [count.eq(left), start.eq(1)]

        def fail(reason):
            m.d.sync += [self.problem.eq(reason), select.eq(1), tries.eq(tries - 1)]
            with m.If(last_try):
                m.d.sync += [self.failed.eq(1), self.done.eq(1)]
                m.next = "END"
            with m.Else():
                m.next = "WAKE"

        with m.FSM():
            self._wake(m, start, next_byte, byte_done, count, zero)
            with m.State("COMMAND"):
                with m.Switch(count[:2]):
                    for sent, byte in enumerate(command):
                        with m.Case(COMMAND_BYTES - 2 - sent & 3):  # `left` of `begin`
                            m.d.comb += next_byte.eq(byte)
                with m.If(byte_done):
                    begin(count - 1)
                    with m.If(zero):
                        begin(HEADER_BYTES - 2)
                        m.next = "HEADER"
            with m.State("HEADER"):
                with m.If(byte_done):
                    with m.If(wrong):
                        fail(problem)
                    with m.Else():
                        begin(count - 1)
                        with m.If(zero):
                            begin(self.length - 2)
                            m.next = "IMAGE"
            with m.State("IMAGE"):
                with m.If(byte_done):
                    m.next = "PASS"
            with m.State("PASS"):
                m.d.sync += [offered.eq(1), load.last.eq(zero)]
                with m.If(offered & load.ready):
                    m.d.sync += offered.eq(0)
                    begin(count - 1)
                    m.next = "IMAGE"
                    with m.If(zero):
                        begin(CRC_BYTES - 2)
                        m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += checking.eq(1)
                with m.If(byte_done):
                    with m.If(wrong):
                        m.next = "SPOIL"
                    with m.Else():
                        begin(count - 1)
                        with m.If(zero):
                            m.d.sync += [
                                start.eq(0),
                                select.eq(1),
                                self.ready.eq(1),
                                self.problem.eq(Problem.NONE),
                                self.done.eq(1),
                            ]
                            m.next = "END"
            with m.State("SPOIL"):
                m.d.sync += [offered.eq(1), load.last.eq(1)]
                with m.If(offered & load.ready):
                    m.d.sync += offered.eq(0)
                    fail(Problem.CRC)
            with m.State("END"):
                with m.If(self.reload):
                    m.d.sync += [self.ready.eq(0), self.failed.eq(0), tries.eq(self.tries - 1)]
                    m.next = "WAKE"
        return m

    def _wake(self, m, start, next_byte, byte_done, count, zero):
        """The states before the read; the flash may have been sent to sleep."""
        select = self.spi.select
        with m.State("WAKE"):
            m.d.sync += select.eq(0)
            # a cycle with the flash selected before its clock
            with m.If(~select):
                m.d.sync += start.eq(1)
                m.next = "RELEASE"
        with m.State("RELEASE"):
            m.d.comb += next_byte.eq(RELEASE)
            with m.If(byte_done):
                m.d.sync += [select.eq(1), count.eq(self.wake_cycles - 2)]
                m.next = "WAIT"
        with m.State("WAIT"):
            m.d.sync += count.eq(count - 1)
            with m.If(zero):
                m.d.sync += [select.eq(0), count.eq(COMMAND_BYTES - 1)]
                m.d.sync += byte_done.eq(1)
                m.next = "COMMAND"

    def _expected(self, m, count, checking):
        """The header's byte; while the checksum is read, the digest's: a cycle later, where a byte
        takes sixteen and more."""
        expected, register = Signal(8), Signal(8, reset_less=True)
        m.d.sync += register.eq(expected)
        with m.Switch(count[:4]):
            for place, byte in enumerate(header(bytes(self.length), self.config)):
                with m.Case(HEADER_BYTES - 2 - place & 15):
                    m.d.comb += expected.eq(byte)
        with m.If(checking):
            with m.Switch(count[:2]):
                for i in range(CRC_BYTES):
                    with m.Case(CRC_BYTES - 2 - i & 3):
                        m.d.comb += expected.eq(self.weights_digest[8 * i : 8 * i + 8])
        return register

    def _problem(self, m, count, byte):
        """What a wrong byte of the header means."""
        problem, place = Signal(Problem), Signal(4)
        m.d.comb += place.eq(HEADER_BYTES - 2 - count[:4])
        with m.If(place >= 8):
            m.d.comb += problem.eq(Problem.CONFIG)
        with m.Elif(place >= 4):
            m.d.comb += problem.eq(Problem.LENGTH)
        with m.Elif((place == 0) & ((byte == 0) | byte.all())):
            m.d.comb += problem.eq(Problem.BLANK)
        with m.Else():
            m.d.comb += problem.eq(Problem.MAGIC)
        return problem
