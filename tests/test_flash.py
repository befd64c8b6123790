"""boards/flash.py: the image, and the loader against a third party's flash."""

import re
import struct
import zlib

import pytest

from boards.flash import (
    ERASE_BLOCK,
    HEADER_BYTES,
    MAX_SPI_HZ,
    OFFSET,
    FlashLoader,
    SpiBytes,
    flash_image,
    spi_divisor,
)
from boards.packets import Problem
from sim import runner
from tests import board
from tests.bench_blocks import on_amaranth


def cases(image):
    """(name, changed bytes, stuck pin, problem)."""
    end = len(image)

    def flip(place, bit=1):
        return {place: image[place] ^ bit}

    found = [("magic at power-up", flip(0), 0, Problem.MAGIC), ("good", {}, 0, Problem.NONE)]
    found += [(f"magic {i}", flip(i), 0, Problem.MAGIC) for i in range(4)]
    found += [(f"length {i}", flip(i), 0, Problem.LENGTH) for i in (4, 7)]
    found += [(f"config {i}", flip(i, 128), 0, Problem.CONFIG) for i in (8, 15)]
    found += [
        ("first byte", flip(HEADER_BYTES), 0, Problem.CRC),
        ("blank after a bad load", {}, 2, Problem.BLANK),
        ("good again", {}, 0, Problem.NONE),
        ("last byte", flip(end - 5, 16), 0, Problem.CRC),
        ("crc first", flip(end - 4), 0, Problem.CRC),
        ("crc last", flip(end - 1), 0, Problem.CRC),
        ("stuck low", {}, 1, Problem.BLANK),
        ("stuck high", {}, 2, Problem.BLANK),
        ("erased", dict.fromkeys(range(HEADER_BYTES), 0xFF), 0, Problem.BLANK),
        ("and good", {}, 0, Problem.NONE),
    ]
    return found


def test_contents():
    """Right image, each kind of wrong one, no flash; the next good load is taken."""
    image = board.image()
    runner.run(
        board.build(),
        "tests.bench_flash",
        arguments={
            "image": image.hex(),
            "digest": zlib.crc32(image[HEADER_BYTES:-4]),
            "offset": board.OFFSET,
            "tries": board.TRIES,
            "crc_problem": int(Problem.CRC),
            "cases": [
                {"name": name, "changes": changes, "stuck": stuck, "problem": int(problem)}
                for name, changes, stuck, problem in cases(image)
            ],
        },
    )


def exchanged(divisor, pairs, wrong=""):
    """Scenario: bytes to and fro, SPI mode 0: data stand while the clock rises and falls.

    wrong: "out", "in" (a bit) or "cycle" is expected otherwise.
    """
    for number, (sent, answer) in enumerate(pairs):
        out = yield {"start": 1, "next_byte": sent}
        assert not out["clock"]
        seen, bits, before, cycle = 0, 0, 0, 0
        for cycle in range(1, 8 * divisor + 2):
            out = yield {"miso": answer >> max(0, 7 - bits) & 1, "next_byte": 0x55}
            if out["clock"] and not before:
                seen = seen << 1 | out["mosi"]
            bits += before and not out["clock"]
            before = out["clock"]
            end = cycle == 8 * divisor + 1 - (wrong == "cycle")
            assert out["last_bit"] == end, f"byte {number}, cycle {cycle}"
        right = sent ^ (wrong == "out"), answer ^ (wrong == "in")
        assert (seen, out["byte"]) == right, f"byte {number}: {seen}, {out['byte']}, not {right}"
        for _ in range(number):  # until the next one it stays
            out = yield {"miso": 1}
            assert out["byte"] == answer and not out["clock"]


PAIRS = [(0xAB, 0x00), (0x03, 0xFF), (0x5A, 0xA5), (0x80, 0x01)]


@pytest.mark.parametrize("divisor", [2, 4, 6])
def test_bytes(divisor):
    on_amaranth(SpiBytes(divisor=divisor), exchanged(divisor, PAIRS))


@pytest.mark.parametrize("wrong", ["out", "in", "cycle"])
def test_byte_differences_are_seen(wrong):
    with pytest.raises(AssertionError, match="byte 0"):
        on_amaranth(SpiBytes(divisor=4), exchanged(4, PAIRS, wrong))
    with pytest.raises(AssertionError, match="byte 0"):
        on_amaranth(SpiBytes(divisor=6), exchanged(4, PAIRS))


@pytest.mark.parametrize("cycles", [1, 2, 7, 100])
def test_wake(cycles):
    """So long is the flash left alone after 0xAB."""
    selects = []

    def watched():
        for _ in range(50 + cycles):
            out = yield {}
            selects.append(out["spi__select"])

    on_amaranth(FlashLoader(length=9, config="00" * 32, divisor=2, wake_cycles=cycles), watched())
    assert re.match(r"1+0+(1*)0", "".join(map(str, selects)))[1] == "1" * cycles


def test_image():
    """By hand: magic, length, digest, weights, CRC-32."""
    found = flash_image(b"weights", "0123456789abcdef" * 4)
    head = b"Rsca" + struct.pack("<I", 7) + bytes.fromhex("0123456789abcdef")
    assert found == head + b"weights" + struct.pack("<I", zlib.crc32(b"weights"))
    assert OFFSET % ERASE_BLOCK == 0 and OFFSET >= 2 * 104090


def test_spi_divisor():
    for clock, divisor in ((12e6, 2), (40e6, 2), (41e6, 4), (80e6, 4), (100e6, 6)):
        assert spi_divisor(clock) == divisor
        assert clock / divisor <= MAX_SPI_HZ


def test_errors():
    good = {"length": 9, "config": "00" * 32, "divisor": 2, "wake_cycles": 1}
    assert FlashLoader(**good)
    for change, text in (
        ({"length": 0}, "length must be at least 1, not 0"),
        (
            {"offset": -1},
            r"offset must be 0\.\.2\*\*24 - 1 with all 29 bytes below 2\*\*24, not -1",
        ),
        ({"offset": (1 << 24) - 28}, "below 2..24, not 16777188"),
        ({"divisor": 3}, "divisor must be even and at least 2, not 3"),
        ({"divisor": 0}, "divisor must be even and at least 2, not 0"),
        ({"wake_cycles": 0}, "wake_cycles must be at least 1, not 0"),
        ({"tries": 0}, r"tries must be 1\.\.8, not 0"),
        ({"tries": 9}, r"tries must be 1\.\.8, not 9"),
    ):
        with pytest.raises(ValueError, match=text):
            FlashLoader(**good | change)
