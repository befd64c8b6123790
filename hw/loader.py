"""Loader: a byte stream into the weight and constant memories, with a digest of the contents."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from amaranth import C, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.memory import Memory, WritePort
from amaranth.lib.wiring import In, Out

from hw.interfaces import write_port


@dataclass(frozen=True)
class Section:
    """One memory of the image.

    Parameters
    ----------
    name : str
        An identifier; the loader's port of that name writes this memory.
    words : int
        Number of words, at least 1.
    bits : int
        Bits of a word, at least 1. In the stream a word takes `word_bytes` bytes.
    """

    name: str
    words: int
    bits: int

    def __post_init__(self):
        if not self.name.isidentifier() or self.name.startswith("_"):
            raise ValueError(f"a section's name must be an identifier, not {self.name!r}")
        if self.words < 1:
            raise ValueError(f"words of {self.name} must be at least 1, not {self.words}")
        if self.bits < 1:
            raise ValueError(f"bits of {self.name} must be at least 1, not {self.bits}")

    @property
    def word_bytes(self) -> int:
        """Bytes of a word in the stream."""
        return -(-self.bits // 8)

    @property
    def addr_bits(self) -> int:
        """Bits of the address, at least 1."""
        return max(1, (self.words - 1).bit_length())

    def port(self) -> WritePort.Signature:
        """Signature of the memory's write port."""
        return write_port(self.words, self.bits)


def image_bytes(sections: Sequence[Section], words: Mapping[str, Sequence[int]]) -> bytes:
    """The stream that fills the memories: sections in order, words low byte first.

    A word may be given signed or unsigned; the unused bits of its last byte are 0.

    Raises
    ------
    ValueError
        Words that are not the sections', or an image whose CRC-32 is 0: the loader's sign of none.
    """
    names = [section.name for section in sections]
    if sorted(words) != sorted(names):
        raise ValueError(f"words must be given for {sorted(names)}, not {sorted(words)}")
    image = bytearray()
    for section in sections:
        values = words[section.name]
        if len(values) != section.words:
            raise ValueError(f"{section.name} must have {section.words} words, not {len(values)}")
        half, full = 1 << section.bits - 1, 1 << section.bits
        for value in values:
            if not -half <= value < full:
                raise ValueError(
                    f"a word of {section.name} must fit {section.bits} bits, not {value}"
                )
            image += (int(value) % full).to_bytes(section.word_bytes, "little")
    if not zlib.crc32(image):
        raise ValueError(
            "the image of weights must have a CRC-32 that is not 0, which stands for no image: "
            "change any weight"
        )
    return bytes(image)


def image_digest(sections: Sequence[Section], words: Mapping[str, Sequence[int]]) -> int:
    """CRC-32 (zlib's) of the stream: what ``weights_digest`` shows once it is loaded."""
    return zlib.crc32(image_bytes(sections, words))


class Loader(wiring.Component):
    """Takes an image of all weights and constants as bytes and writes it into their memories.

    The bytes fill the sections in order; `image_bytes` makes such a stream. A load is complete when
    the last byte of the last section came with ``load_last``. CRC-32 as in zlib, over all bytes.

    Model: `image_bytes`, `image_digest` and zlib.crc32 (no part of the integer model).

    Parameters
    ----------
    sections : sequence of Section
        At least one, with different names.
    digest : int or None
        Digest of the memories' first contents, 32 bits. None: they are empty until the first load.

    Attributes
    ----------
    load_bytes : int
        Bytes of an image.
    cycles : int
        From the cycle in which the last byte is taken to the first with ``loaded`` = 1; the last
        word was written in the cycle before.

    Ports
    -----
    idle : In(1)
        The engine is between frames. Bytes are taken only then; a load may pause and go on.
    load_valid : In(1), load_data : In(8), load_last : In(1), load_ready : Out(1)
        The stream; ``load_ready`` is ``idle``. A byte a cycle.
    (name of a section) : Out(en 1, addr range(words), data bits)
        Write port of that memory; the word is written in the cycle with ``en``.
    loaded : Out(1)
        The memories hold what ``weights_digest`` says. 0 from the cycle after the first byte of a
        load until the load is complete; stays 0 after an error, and after a reset once a load has
        begun: a reset changes no memory, so what they held first is gone. An engine that
        starts a frame in the very cycle in which a first byte is taken must be held off by
        ``load_valid``.
    weights_digest : Out(32)
        0 while not ``loaded``.
    load_error : Out(1)
        ``load_last`` came too early, or did not come with the last byte; in the second case the
        bytes up to ``load_last`` are swallowed. The first byte of the next load clears it.

    Not handled: a stream that stops in the middle and never goes on keeps ``loaded`` at 0; end it
    with ``load_last`` (an error) and begin again.
    """

    def __init__(self, *, sections: Sequence[Section], digest: int | None):
        sections = tuple(sections)
        if not sections:
            raise ValueError("sections must be at least one")
        if digest is not None and not 0 <= digest < 1 << 32:
            raise ValueError(f"digest must be 0..2**32 - 1, not {digest}")
        ports = {
            "idle": In(1),
            "load_valid": In(1),
            "load_data": In(8),
            "load_last": In(1),
            "load_ready": Out(1),
            "loaded": Out(1),
            "weights_digest": Out(32),
            "load_error": Out(1),
        }
        taken = {*ports, "sections", "digest", "crc"}
        for section in sections:
            if section.name in taken or hasattr(Loader, section.name):
                raise ValueError(f"a section's name must be free, but {section.name} is taken")
            taken.add(section.name)
        self.sections, self.digest = sections, digest
        self.crc = CRC32_ISO_HDLC(data_width=8).create()
        super().__init__(ports | {section.name: In(section.port()) for section in sections})

    @property
    def load_bytes(self) -> int:
        """Bytes of an image."""
        return sum(section.words * section.word_bytes for section in self.sections)

    @property
    def cycles(self) -> int:
        """Last byte taken -> ``loaded``: byte register; word and CRC; digest."""
        return 3

    def elaborate(self, platform):
        m = Module()
        sections = self.sections
        most_bytes = max(section.word_bytes for section in sections)

        # ---- where the next byte goes ----
        loading, swallowing = Signal(), Signal()
        index = Signal(range(len(sections)))
        word = Signal(max(section.addr_bits for section in sections))
        place = Signal(range(most_bytes))
        # ``word`` is the section's last, ``place`` the word's: known a cycle ahead, so that no
        # comparison is in the way of the next byte
        final = [section.words == 1 for section in sections]
        short = [section.word_bytes == 1 for section in sections]
        word_final, word_end = Signal(init=final[0]), Signal(init=short[0])
        section_end, image_end, taken = Signal(), Signal(), Signal()
        near, near_end = Signal(), Signal()

        def here(facts):
            """The fact of the section at hand: assigned, not switched, as Icarus Verilog never
            computes a switch whose inputs do not change."""
            return reduce(or_, ((index == n) & fact for n, fact in enumerate(facts)), C(0))

        following = [(number + 1) % len(sections) for number in range(len(sections))]
        m.d.comb += [
            self.load_ready.eq(self.idle),
            taken.eq(self.load_valid & self.idle),
            section_end.eq(word_end & word_final),
            image_end.eq(section_end & (index == len(sections) - 1)),
            near.eq(here(word == s.words - 2 if s.words > 1 else C(0) for s in sections)),
            near_end.eq(
                here(place == s.word_bytes - 2 if s.word_bytes > 1 else C(0) for s in sections)
            ),
        ]
        finished = Signal()  # the last byte came, with load_last
        m.d.comb += finished.eq(taken & ~swallowing & image_end & self.load_last)

        with m.If(taken & ~swallowing):
            m.d.sync += [
                loading.eq(1),
                self.load_error.eq(image_end != self.load_last),
                place.eq(place + 1),
                word_end.eq(near_end),
            ]
            with m.If(word_end):
                m.d.sync += [place.eq(0), word_end.eq(here(C(s) for s in short))]
                m.d.sync += [word.eq(word + 1), word_final.eq(near)]
            with m.If(section_end):
                m.d.sync += [word_end.eq(here(C(short[n]) for n in following)), index.eq(index + 1)]
                m.d.sync += [word.eq(0), word_final.eq(here(C(final[n]) for n in following))]
            with m.If(image_end & ~self.load_last):
                m.d.sync += swallowing.eq(1)
        with m.If(taken & (image_end | self.load_last)):
            m.d.sync += [place.eq(0), word_end.eq(short[0]), index.eq(0)]
            m.d.sync += [word.eq(0), word_final.eq(final[0])]
        with m.If(taken & self.load_last):
            m.d.sync += [loading.eq(0), swallowing.eq(0)]

        # Stages 1, 2: byte; word and write; CRC
        crc, complete = self._writes(
            m, (index, word, place), taken & ~swallowing, ~loading, word_end, finished
        )

        # Stage 3: complete, unless the next load has begun; the CRC register keeps the digest
        whole = Signal()
        with m.If(complete & ~loading):
            m.d.sync += whole.eq(1)
        with m.If(taken & ~swallowing):
            m.d.sync += whole.eq(0)
        m.d.comb += [
            self.loaded.eq(whole),
            self.weights_digest.eq(Mux(whole, crc.crc, 0)),
        ]
        if self.digest is not None:
            with m.If(~self._changed(m, taken)):
                m.d.comb += [self.loaded.eq(1), self.weights_digest.eq(self.digest)]
        return m

    @staticmethod
    def _changed(m, begins):
        """A load has ever begun. A memory as those that it speaks of: a reset leaves it."""
        m.submodules.changed = changed = Memory(shape=1, depth=1, init=[0])
        write, read = changed.write_port(), changed.read_port(domain="comb")
        m.d.comb += [write.en.eq(begins), write.data.eq(1)]
        return read.data

    def _writes(self, m, place, taken, begins, word_end, finished):
        """Bytes become words, each written with its last byte; returns the CRC and `complete`.

        place : where the byte goes (section, word, byte); taken : it counts; begins : as an image's
        first; word_end, finished : as its word's, its image's last.
        """
        # Stage 1: byte register
        valid, begin, write, finish = Signal(), Signal(), Signal(), Signal()
        byte = Signal(8, reset_less=True)
        into = [Signal.like(part, name=f"into{i}", reset_less=True) for i, part in enumerate(place)]
        into_index, into_word, into_place = into
        m.d.sync += [
            valid.eq(taken),
            begin.eq(taken & begins),
            write.eq(taken & word_end),
            finish.eq(finished),
            byte.eq(self.load_data),
            *[register.eq(part) for register, part in zip(into, place, strict=True)],
        ]

        # Stage 2: word register and write; CRC
        m.submodules.crc = crc = self.crc
        m.d.comb += [crc.data.eq(byte), crc.valid.eq(valid), crc.start.eq(begin)]
        most_bytes = max(section.word_bytes for section in self.sections)
        filled = [Signal(8, name=f"filled{i}", reset_less=True) for i in range(most_bytes)]
        address = Signal.like(into_word, reset_less=True)
        for number, target in enumerate(filled):
            with m.If(into_place == number):
                m.d.sync += target.eq(byte)
        m.d.sync += address.eq(into_word)
        for number, section in enumerate(self.sections):
            port = getattr(self, section.name)
            enable = Signal(name=f"{section.name}_enable")
            m.d.sync += enable.eq(write & (into_index == number))
            m.d.comb += [port.en.eq(enable), port.addr.eq(address), port.data.eq(Cat(*filled))]
        complete = Signal()
        # a byte right behind it begins the next load, and may end it
        m.d.sync += complete.eq(finish & ~taken)
        return crc, complete
