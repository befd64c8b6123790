"""boards/packets.py: layout, CRC, and a decoder that survives what a line can do."""

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.lib.crc.catalog import CRC16_IBM_3740

from boards import packets
from boards.packets import (
    Counters,
    Decision,
    Decoder,
    Flag,
    Hello,
    Kind,
    Preview,
    Row,
    Setting,
    State,
    Taken,
)
from hw.interfaces import Status

HELLO = Hello(
    weights=0x12345678, status=3, model=b"12345678", config=bytes(range(8)), shape=(8, 1, 2)
)
ROW = Row(frame=255, row_group=300, logits=(-(2**31), 2**31 - 1))
STATE = State(frame=1, channel=47, row_group=41, data=bytes([0, 127, 128, 255, 0xA5]))
DECISION = Decision(frame=7, index=1, status=4, rows_used=42, logits=(-1, 5))
COUNTERS = Counters(values=tuple(range(0, 65536, 4681))[: len(packets.COUNTERS)])
PREVIEW = Preview(rows=105, columns=120, channels=3, row=104, column=117, data=bytes(range(9)))
TAKEN = Taken(flags=Setting.ROWS | Setting.SKIP | Setting.ECHO, skip=-70000)
EVENTS = {
    Kind.HELLO: HELLO,
    Kind.ROW: ROW,
    Kind.STATE: STATE,
    Kind.DECISION: DECISION,
    Kind.COUNTERS: COUNTERS,
    Kind.PREVIEW: PREVIEW,
    Kind.TAKEN: TAKEN,
}


def test_crc():
    """The catalogue's check value, and the residue that the RTL looks for."""
    assert packets.crc16(b"123456789") == 0x29B1
    for data in (b"", b"\0", b"123456789", bytes(300)):
        assert packets.crc16(data + packets.crc16(data).to_bytes(2, "big")) == 0


def test_bytes():
    """A packet by hand: nothing here comes from the code under test."""
    body = bytes([0x02, 12, 0, 7, 0, 3, 0, 0xFE, 0xFF, 0xFF, 0xFF, 1, 2, 0, 0])
    crc = CRC16_IBM_3740(8).compute

    packet = packets.encode(Kind.ROW, Row(frame=7, row_group=3, logits=(-2, 0x201)).pack())
    assert packet == b"\xa5" + body + crc(body).to_bytes(2, "big")
    assert packets.ask() == b"\xa5\x80\0\0" + crc(b"\x80\0\0").to_bytes(2, "big")
    flags = Setting.HOST | Setting.STATE | Setting.SKIP
    found = packets.settings(flags, stop=-3)
    assert found[:-2] == b"\xa5\x84\x09\0\xfd\xff\xff\xff\0\0\0\0\x0d"
    assert packets.settings(Setting.HOST, skip=1)[-3] == Setting.HOST | Setting.SKIP
    assert [p[1] for p in packets.frame([b"a", b"b", b"c"])] == [0x89, 0x88, 0x8A]
    assert packets.frame([b"a"])[0][1] == 0x8B


def test_bytes_of_events():
    """Of two classes as boards in the field send them; of more, their logits and their number."""
    decision = {"frame": 1, "status": 2, "rows_used": 0x304}
    two = Decision(index=1, logits=(5, -6), **decision).pack()
    assert two == b"\x01\x82\x04\x03\x05\0\0\0\xfa\xff\xff\xff"
    assert Decision(index=0, logits=(5, -6), **decision).pack()[1] == 2
    for index, byte in ((0, 0x02), (1, 0x82), (2, 0x0A), (4, 0x12), (8, 0x22), (15, 0xBA)):
        event = Decision(index=index, logits=tuple(range(16)), **decision)
        assert event.pack()[1] == byte and len(event.pack()) == 4 + 64
        assert Decision.parse(event.pack()) == event
    row = Row(frame=3, row_group=2, logits=(1, -1, 2))
    assert row.pack() == bytes([3, 0, 2, 0, 1, 0, 0, 0, 255, 255, 255, 255, 2, 0, 0, 0])
    assert Row.parse(row.pack()) == row


def test_bytes_of_a_preview():
    """By hand; pieces that would not lie in the picture are none."""
    assert PREVIEW.pack() == bytes([105, 120, 3, 104, 117, *range(9)])
    assert packets.encode(Kind.PREVIEW, PREVIEW.pack())[:4] == b"\xa5\x06\x0e\0"
    # the longest piece
    whole = Preview(rows=255, columns=250, channels=1, row=0, column=0, data=bytes(250))
    assert len(whole.pack()) == packets.MAX_PAYLOAD and Preview.parse(whole.pack()) == whole
    for wrong, text in (
        ({"row": 105}, "from row 105, column 117 on"),
        ({"column": 118}, "from row 104, column 118 on"),
        ({"data": bytes(8)}, "not 8 bytes of 3 a pixel"),
        ({"data": b""}, "must bring some inside it"),
        ({"channels": 2}, "a preview must have 1 or 3 bytes a pixel, not 2"),
    ):
        with pytest.raises(ValueError, match=text):
            Preview.parse(replace(PREVIEW, **wrong).pack())


def test_bytes_of_settings_as_they_were_taken():
    """The very bytes that were sent; a threshold that is off is none, whatever stands there."""
    sent = packets.settings(Setting.ROWS | Setting.ECHO, stop=5, skip=-70000)[4:-2]
    found = Taken.parse(sent)
    assert (found.stop, found.skip, found.flags) == (5, -70000, 2 | 8 | 16 | 128)
    assert found.pack() == sent == b"\x05\0\0\0\x90\xee\xfe\xff\x9a"
    assert Taken.parse(sent[:-1] + b"\x82").stop is None
    with pytest.raises(ValueError, match="a taken packet must have 9 bytes, not 8"):
        Taken.parse(sent[:-1])


def test_kinds_and_flags_share_a_byte():
    for kind in (Kind.ASK, Kind.SETTINGS, Kind.LINE, Kind.WEIGHTS):
        assert not kind & 3
    # no byte of a small board begins a packet, which may come between them
    begins = packets.SYNC
    assert begins & packets.Byte.LOST > max(Status) and not begins & packets.Byte.REPORT
    # a decision's byte: status, class, and the bit of a small board's reports apart
    places = [1 << place for place in packets.CLASS_BITS]
    assert max(Status) <= packets.Byte.LOST and not sum(places) & packets.Byte.LOST
    assert not sum(places) & packets.Byte.REPORT and len(set(places)) == 4
    assert 1 << len(places) == packets.MAX_CLASSES
    for index in range(packets.MAX_CLASSES):
        assert packets.class_of(packets.class_byte(index) | 7 | packets.Byte.REPORT) == index
    assert not any(p & ~packets.BoardStatus.PROBLEM for p in packets.Problem)
    assert set(packets.PROBLEM_TEXT) == set(packets.Problem)


@pytest.mark.parametrize("kind", EVENTS)
def test_events(kind):
    event = EVENTS[kind]
    (packet,) = Decoder().feed(packets.encode(kind, event.pack()))
    assert packets.parse(packet) == event


def test_weights():
    image = bytes(range(100))
    found = [packet for sent in packets.weights(image, chunk=30) for packet in Decoder().feed(sent)]
    assert b"".join(packet.payload for packet in found) == image
    assert [packet.kind for packet in found] == [0x8C, 0x8C, 0x8C, 0x8C | Flag.LAST]
    assert [len(packet.payload) for packet in found] == [25] * 4
    assert [p[1] for p in packets.weights(image, chunk=50)] == [0x8C, 0x8E]
    assert [len(p) - 6 for p in packets.weights(image, chunk=99)] == [50, 50]


def test_decoder_in_pieces():
    """Any split of the stream gives the same packets."""
    source = random.Random(1)
    sent = [
        (source.randrange(256), source.randbytes(source.choice([0, 1, 5, 255]))) for _ in range(60)
    ]
    stream = b"".join(packets.encode(*packet) for packet in sent)
    decoder, found = Decoder(), []
    while stream:
        size = source.choice([1, 1, 2, 7, 300])
        found += decoder.feed(stream[:size])
        stream = stream[size:]
    assert [tuple(packet) for packet in found] == sent
    assert decoder.errors == decoder.skipped == 0


def test_decoder_finds_back():
    """Noise between packets, a flipped bit in one, a byte lost: the others are all found."""
    source = random.Random(2)
    for round_ in range(300):
        sent = [(5, source.randbytes(9)), (6, source.randbytes(9)), (7, source.randbytes(9))]
        parts = [bytearray(packets.encode(*packet)) for packet in sent]
        place = source.randrange(len(parts[1]))
        if round_ % 3 == 0:
            parts[1][place] ^= 1 << source.randrange(8)
        elif round_ % 3 == 1:
            del parts[1][place]
        else:
            parts[1] = bytearray(source.randbytes(20))
        decoder = Decoder()
        # a damaged length may wait for more than there is: silence ends nothing, bytes do
        found = [*decoder.feed(b"".join(parts)), *decoder.feed(bytes(300))]
        assert [tuple(packet) for packet in found] == [sent[0], sent[2]]
        assert decoder.skipped == len(parts[1]) + 300
    assert not list(decoder.feed(packets.encode(1, bytes(256)))) and decoder.errors


def test_small_boards_send_packets_between_events():
    """Any split; a damaged packet is dropped whole, a sync byte alone costs itself."""
    source, piece = random.Random(3), packets.encode(Kind.PREVIEW, PREVIEW.pack())
    bad = bytearray(piece)
    bad[9] ^= 1
    noise = bytes([packets.SYNC, 0x41, 0x40, 1])
    stream = bytes([0x80, 0x40]) + piece + piece + b"\x03" + bad + b"\x00" + noise + piece
    packet = packets.Packet(Kind.PREVIEW, PREVIEW.pack())
    expected = [0x80, 0x40, packet, packet, 3, 0, 0x41, 0x40, 1, packet]
    for _ in range(20):
        mixed, found, left = packets.Mixed(), [], stream
        while left:
            size = source.choice([1, 1, 2, 7, 300])
            found += mixed.feed(left[:size])
            left = left[size:]
        assert found == expected and mixed.errors == 2


def test_counters_wrap():
    before = Counters(values=(65535, *(9,) * (len(packets.COUNTERS) - 1)))
    after = Counters(values=(2, 10, *(9,) * (len(packets.COUNTERS) - 2)))
    assert after.since(before) == {"overrun": 3, "truncated": 1}
    assert after["truncated"] == 10
    assert after.since(after) == {}


def test_errors():
    with pytest.raises(ValueError, match=r"kind must be 0\.\.255, not 256"):
        packets.encode(256)
    with pytest.raises(ValueError, match="a payload must have at most 65535 bytes, not 65536"):
        packets.encode(1, bytes(65536))
    with pytest.raises(ValueError, match="a threshold must fit 32 bits, not 2147483648"):
        packets.settings(Setting(0), stop=1 << 31)
    with pytest.raises(ValueError, match="chunk must be at least 1, not 0"):
        packets.weights(b"1", chunk=0)
    with pytest.raises(ValueError, match="the board sent a packet of unknown kind 0x09"):
        packets.parse(packets.Packet(9, b""))
    with pytest.raises(ValueError, match="the board speaks packet format 9, this host 1"):
        Hello.parse(b"12345\x09whatever")
    for kind, size in ((Kind.ROW, 4), (Kind.ROW, 8), (Kind.DECISION, 13), (Kind.DECISION, 72)):
        name = kind.name.lower()
        text = f"a {name} packet must have 4 bytes and 4 for each of 2..16 classes, not {size}"
        with pytest.raises(ValueError, match=text):
            packets.parse(packets.Packet(kind, bytes(size)))
    for kind, size in ((Kind.COUNTERS, 28), (Kind.HELLO, 25)):
        name = kind.name.lower()
        with pytest.raises(ValueError, match=f"a {name} packet must have {size} bytes, not 0"):
            packets.parse(packets.Packet(kind, b""))
    with pytest.raises(ValueError, match="a state packet must have 4 bytes, not 3"):
        State.parse(b"123")


def test_documented():
    """Every kind, setting, counter and problem stands in docs/packets.md with its number."""
    text = (Path(__file__).parent.parent / "docs" / "packets.md").read_text()
    words = " ".join(text.split())
    for kind in Kind:
        assert re.search(rf"^\| {kind:#04x} {kind.name.lower()}\b", text, re.M), kind
    for setting in Setting:
        assert f"{setting.name.lower()} ({int(setting)})" in words, setting
    for problem in packets.Problem:
        assert f"{int(problem)} {problem.name.lower()}" in words, problem
    for name in packets.COUNTERS:
        assert f"`{name}`" in text, name
