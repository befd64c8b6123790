"""Properties of what is read from bytes, for whatever Hypothesis draws (tests/properties.py):
packets, weights images and files, Liberty libraries, files of fields."""

import inspect
import json
import sys
import zlib
from importlib import import_module
from types import ModuleType

import pytest
import torch
import yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st

from boards import packets
from boards.connection import check_weights
from boards.flash import HEADER_BYTES, flash_image
from boards.packets import Decoder, Hello, Kind, Mixed, Packet
from golden.config import PAPER_KERNELS, ModelConfig, preset
from golden.random_weights import random_weights
from golden.weights import EarlyTermination, LayerWeights, Weights, layer_shapes
from hw.loader import Section, image_bytes
from sim.prove import mutants
from sim.strangers.kinds import MODEL
from sim.study import liberty
from tests import properties
from tests.command import refused

# ---- packets ----

PACKETS = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), min_size=1, max_size=6)
NOISE = st.lists(st.integers(0, 255).filter(lambda byte: byte != packets.SYNC), max_size=9).map(
    bytes
)
REST = bytes(packets.MAX_PAYLOAD + 6)
"""Longer than any packet that a byte before it may seem to begin."""


def feed(decoder, data, cuts):
    """What comes of bytes that arrive in pieces; the pieces' sizes are drawn over and over."""
    found, at, turn = [], 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        found += decoder.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    return found


CUTS = st.lists(st.integers(1, 70), min_size=1, max_size=5)


@given(sent=PACKETS, noise=st.lists(NOISE, min_size=6, max_size=6), cuts=CUTS)
def test_packets_come_as_they_were_sent(sent, noise, cuts):
    """In whatever pieces, and with noise between them."""
    pairs = zip(noise[: len(sent)], sent, strict=True)
    stream = b"".join(between + packets.encode(*one) for between, one in pairs)
    decoder = Decoder()
    assert [tuple(one) for one in feed(decoder, stream, cuts)] == sent
    assert decoder.skipped == sum(map(len, noise[: len(sent)])) and decoder.errors == 0


@given(before=st.binary(max_size=60), sent=PACKETS, cuts=CUTS)
@example(before=b"\xa5", sent=[(1, b"")], cuts=[9])
@example(before=b"\xa5\x01\xff\x00", sent=[(1, b"")], cuts=[1])
@example(before=b"\xa5\xa5\xa5\x01\x00", sent=[(1, b"\xa5")], cuts=[3])
def test_packets_after_any_bytes(before, sent, cuts):
    """The ones behind them are all found, the last ones that are."""
    stream = before + b"".join(packets.encode(*one) for one in sent) + REST
    found = [tuple(one) for one in feed(Decoder(), stream, cuts)]
    assert found[-len(sent) :] == sent


@given(sent=PACKETS, data=st.data())
def test_one_bit_costs_one_packet(sent, data):
    """Of those that a flipped bit is in none is taken, and all others are."""
    which = data.draw(st.integers(0, len(sent) - 1))
    parts = [bytearray(packets.encode(*one)) for one in sent]
    at = data.draw(st.integers(0, 8 * len(parts[which]) - 1))
    parts[which][at // 8] ^= 1 << at % 8
    found = [tuple(one) for one in Decoder().feed(b"".join(parts) + REST)]
    assert found == sent[:which] + sent[which + 1 :]


BYTE, WORD, NUMBER = st.integers(0, 255), st.integers(0, 65535), st.integers(-(2**31), 2**31 - 1)
LOGITS = st.lists(NUMBER, min_size=2, max_size=16).map(tuple)
DIGEST = st.binary(min_size=8, max_size=8)


@st.composite
def previews(draw):
    channels, columns = draw(st.sampled_from((1, 3))), draw(st.integers(1, 255))
    rows, column = draw(st.integers(1, 255)), draw(st.integers(0, columns - 1))
    most = min(columns - column, 250 // channels)
    width = draw(st.integers(1, most))
    return packets.Preview(
        rows=rows,
        columns=columns,
        channels=channels,
        row=draw(st.integers(0, rows - 1)),
        column=column,
        data=draw(st.binary(min_size=width * channels, max_size=width * channels)),
    )


@st.composite
def taken(draw):
    flags = packets.Setting(draw(BYTE))
    stop, skip = (
        draw(NUMBER) if flags & bit else None
        for bit in (packets.Setting.STOP, packets.Setting.SKIP)
    )
    return packets.Taken(flags=flags, stop=stop, skip=skip)


EVENTS = {
    Kind.HELLO: st.builds(
        Hello,
        weights=st.integers(0, 2**32 - 1),
        status=BYTE,
        model=DIGEST,
        config=DIGEST,
        shape=st.tuples(BYTE, BYTE, BYTE),
    ),
    Kind.ROW: st.builds(packets.Row, frame=BYTE, row_group=WORD, logits=LOGITS),
    Kind.STATE: st.builds(
        packets.State, frame=BYTE, channel=BYTE, row_group=WORD, data=st.binary(max_size=251)
    ),
    Kind.DECISION: st.builds(
        packets.Decision,
        frame=BYTE,
        index=st.integers(0, 15),
        status=st.integers(0, 7),
        rows_used=WORD,
        logits=LOGITS,
    ),
    Kind.COUNTERS: st.builds(
        packets.Counters,
        values=st.lists(WORD, min_size=len(packets.COUNTERS), max_size=len(packets.COUNTERS)).map(
            tuple
        ),
    ),
    Kind.PREVIEW: previews(),
    Kind.TAKEN: taken(),
}


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.name.lower())
@given(data=st.data())
def test_events_come_as_they_were_said(kind, data):
    event = data.draw(EVENTS[kind])
    (packet,) = Decoder().feed(packets.encode(kind, event.pack()))
    assert packets.parse(packet) == event


@given(kind=BYTE, payload=st.binary(max_size=80))
@example(kind=2, payload=bytes(12))
@example(kind=6, payload=b"\x01\x01\x01\x00\x00\x07")
def test_any_payload_is_read_or_refused(kind, payload):
    """And what is read says the same again."""
    try:
        event = packets.parse(Packet(kind, payload))
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert packets.parse(Packet(kind, event.pack())) == event


@given(
    said=st.lists(st.one_of(previews(), BYTE.filter(lambda b: b != packets.SYNC)), max_size=8),
    cuts=CUTS,
)
def test_a_small_boards_bytes(said, cuts):
    stream, wanted = b"", []
    for one in said:
        event = isinstance(one, int)
        stream += bytes([one]) if event else packets.encode(Kind.PREVIEW, one.pack())
        wanted.append(one if event else Packet(Kind.PREVIEW, one.pack()))
    mixed = Mixed()
    assert feed(mixed, stream, cuts) == wanted and not mixed.errors


@given(image=st.binary(min_size=1, max_size=300), chunk=st.integers(1, 90))
def test_an_image_in_packets(image, chunk):
    sent = packets.weights(image, chunk=chunk)
    found = list(Decoder().feed(b"".join(sent)))
    assert b"".join(one.payload for one in found) == image
    assert [one.kind & packets.Flag.LAST for one in found] == [0] * (len(found) - 1) + [2]
    sizes = [len(one.payload) for one in found]
    assert max(sizes) <= chunk and max(sizes) - min(sizes) <= 1


# ---- images and files of weights ----


@st.composite
def images(draw):
    """Sections, and words for them, signed or not."""
    sections, words = [], {}
    for index in range(draw(st.integers(1, 4))):
        section = Section(f"s{index}", draw(st.integers(1, 6)), draw(st.integers(1, 70)))
        value = st.integers(-(1 << section.bits - 1), (1 << section.bits) - 1)
        words[section.name] = draw(st.lists(value, min_size=section.words, max_size=section.words))
        sections.append(section)
    return sections, words


def words_of(sections, image):
    """The words in an image, without a sign: each in as few bytes as hold its bits."""
    found, at = {}, 0
    for section in sections:
        size = (section.bits + 7) // 8
        ends = range(at + size, at + size * section.words + 1, size)
        found[section.name] = [int.from_bytes(image[end - size : end], "little") for end in ends]
        at = ends[-1]
    assert at == len(image)
    return found


@given(one=images())
def test_an_image_holds_its_words(one):
    sections, words = one
    image = image_bytes(sections, words)
    wanted = {
        section.name: [value % (1 << section.bits) for value in words[section.name]]
        for section in sections
    }
    assert words_of(sections, image) == wanted
    assert image_bytes(sections, wanted) == image


def flipped(data, content):
    """Content with one bit of it turned."""
    at = data.draw(st.integers(0, 8 * len(content) - 1))
    changed = bytearray(content)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


@given(image=st.binary(min_size=1, max_size=400), data=st.data())
def test_a_board_with_one_bit_of_an_image_wrong_is_refused(image, data):
    """The digest that it says is of what it holds; so is the CRC in flash."""
    wrong = flipped(data, image)
    check_weights(Hello(weights=zlib.crc32(image), status=0), image)
    if zlib.crc32(wrong):  # 0 says that there is none, and is refused as well
        with pytest.raises(ValueError, match="the board holds other weights"):
            check_weights(Hello(weights=zlib.crc32(wrong), status=0), image)
    config = "0123456789abcdef" * 4
    whole = flash_image(image, config)
    broken = flipped(data, whole)
    header, body, crc = broken[:HEADER_BYTES], broken[HEADER_BYTES:-4], broken[-4:]
    good = header == whole[:HEADER_BYTES] and zlib.crc32(body).to_bytes(4, "little") == crc
    assert not good


@st.composite
def weights(draw):
    """Any weights of a tiny network that pass its checks."""
    layers, limit = {}, 2 ** (MODEL.acc_bits - 1)
    for name, shape in layer_shapes(MODEL).items():
        count = shape[0]
        generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
        first, last = name == "classifier.0", name == "classifier.1"
        layers[name] = LayerWeights(
            torch.randint(-127, 128, shape, generator=generator, dtype=torch.int8),
            torch.randint(-limit, limit, (count,), generator=generator, dtype=torch.int32),
            torch.full((count,), 1 if first or last else draw(BYTE), dtype=torch.uint8),
            torch.full((count,), 0 if last else draw(st.integers(1, 31)), dtype=torch.uint8),
        )
    base = random_weights(MODEL, 1)
    scale = st.floats(1e-30, 1e30)
    early = EarlyTermination(tau=0.5, skip=None, images=3, accuracy=0.5, change=0.0, macs_saved=0.1)
    return Weights(
        layers,
        base.knots,
        None,
        {name: draw(scale) for name in base.scales},
        MODEL.digest,
        MODEL.name,
        draw(st.booleans()),
        draw(st.sampled_from((None, early))),
    )


@given(found=weights())
def test_weights_come_from_their_file_as_they_were(found, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "whole.safetensors"
    found.save(path)
    again = Weights.load(path, MODEL)
    assert again.digest == found.digest and again.scales == found.scales
    assert (again.untrained, again.early) == (found.untrained, found.early)
    content = path.read_bytes()
    again.save(path)
    assert path.read_bytes() == content


@pytest.fixture(scope="module")
def file_of_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "a.safetensors"
    random_weights(MODEL, 3).save(path)
    return path, path.read_bytes()


def refused_file(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.safetensors: ") as told:
        Weights.load(path, MODEL)
    assert "\n" not in str(told.value)


@given(data=st.data())
def test_a_file_of_weights_with_one_bit_wrong_is_refused(data, file_of_weights):
    path, content = file_of_weights
    refused_file(path, flipped(data, content))


@pytest.mark.parametrize("key", ["rasca", "config", "content", "scales", "knots", "data_offsets"])
def test_a_key_of_a_file_of_weights_with_one_bit_wrong_is_refused(key, file_of_weights):
    """What stands under another name is missing, whatever it is for."""
    path, content = file_of_weights
    at = content.index(key.encode())
    for place in range(at, at + len(key)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            refused_file(path, changed)


# ---- Liberty ----

PINS = ("A", "B1", "c[0]", "_d")


@st.composite
def functions(draw, depth=4, level=0):
    """A function as text and as what it comes to: (text, function of the pins' values).

    level: 0 OR, 1 AND, 2 XOR, 3 what binds more than those; one below `level` gets brackets.
    """
    kind = draw(st.integers(0, 6)) if depth else 6

    def inner(level):
        return draw(functions(depth=depth - 1, level=level))

    blank = draw(st.sampled_from(("", " ", "  ")))
    if kind in (0, 1, 2):
        (left, a), (right, b) = inner(kind), inner(kind + 1)
        signs = ((" + ", "|", "+"), ("&", " * ", " "), ("^", " ^ "))[kind]
        text, own = left + draw(st.sampled_from(signs)) + right, kind
        if kind == 0:
            value = lambda pins: a(pins) | b(pins)  # noqa: E731
        elif kind == 1:
            value = lambda pins: a(pins) & b(pins)  # noqa: E731
        else:
            value = lambda pins: a(pins) ^ b(pins)  # noqa: E731
    elif kind == 3:
        inside, a = inner(3)
        text, own, value = f"!{blank}{inside}", 3, lambda pins: 1 - a(pins)
    elif kind == 4:
        inside, a = inner(0)
        text, own, value = f"({inside}){blank}'", 3, lambda pins: 1 - a(pins)
    elif kind == 5:
        inside, a = inner(0)
        text, own, value = f"({blank}{inside}{blank})", 3, a
    else:
        name = draw(st.sampled_from((*PINS, "0", "1")))
        text, own = name, 3
        value = (lambda pins: int(name)) if name in ("0", "1") else lambda pins: pins[name]
    return (f"({text})" if own < level else text), value


@given(one=functions())
def test_a_function_is_what_it_says(one):
    text, value = one
    assume(len(text) < 150)
    rows = [{name: row >> i & 1 for i, name in enumerate(PINS)} for row in range(16)]
    assert liberty.table(text, PINS) == "".join(str(value(row)) for row in rows), text


@given(text=st.text(alphabet="ab01!'&*+|^() $\n", max_size=30))
def test_any_function_has_a_value_or_is_refused(text):
    try:
        assert set(liberty.table(text, ("a", "b"))) <= {"0", "1"}
    except ValueError as error:
        assert "cannot be read" in str(error)


WORDS = st.text(alphabet="abcXYZ019_.-", min_size=1, max_size=6)
TEXTS = st.text(alphabet="ab1 .,;:(){}!&'/*", max_size=9).map(str.strip)


@st.composite
def groups(draw, kind=WORDS, depth=2):
    found = liberty.Group(draw(kind), draw(st.lists(WORDS, max_size=2)))
    found.attributes = draw(st.dictionaries(WORDS, TEXTS, max_size=3))
    found.lists = draw(st.dictionaries(WORDS, st.lists(TEXTS, min_size=1, max_size=3), max_size=2))
    if depth:
        found.groups = draw(st.lists(groups(depth=depth - 1), max_size=3))
    return found


def written(group, draw):
    """A group in one of the ways in which libraries write them."""
    gap = st.sampled_from((" ", "\n", "  // ; }\n", " /* { \n */ ", " \\\n "))
    lines = [f'{name}{draw(gap)}: "{text}" ;' for name, text in group.attributes.items()]
    for name, texts in group.lists.items():
        inside = f",{draw(gap)}".join(f'"{text}"' for text in texts)
        lines.append(f"{name} ({inside}){draw(st.sampled_from((';', '')))}")
    lines += [written(inner, draw) for inner in group.groups]
    body = "".join(line + draw(gap) for line in lines)
    return f"{group.kind} ({', '.join(group.names)}){draw(gap)}{{ {body} }}"


@given(whole=groups(kind=st.just("library")), data=st.data())
def test_a_library_is_read_as_it_was_written(whole, data):
    assert liberty.parse(written(whole, data.draw)) == whole


# ---- files of fields ----


@st.composite
def networks(draw):
    """Fields of a network that can be made."""
    counts = st.integers(1, 9)
    heads, rows = draw(st.integers(1, 4)), draw(st.sampled_from((3, 5)))
    kernels = [(3, draw(st.sampled_from((1, 3)))) for _ in range(rows // 2)]
    kernels += [(1, draw(st.sampled_from((1, 3)))) for _ in range(draw(st.integers(0, 2)))]
    kernels = draw(st.permutations(kernels))
    name = st.text(alphabet="abcxyz äöå\"'\\#:é-", min_size=1, max_size=8).map(str.strip)
    names = draw(st.lists(name.filter(bool), min_size=2, max_size=4, unique=True))
    fields = {
        "image_height": draw(st.integers(rows, 40)),
        "image_width": draw(st.integers(2 ** len(kernels), 60)),
        "heads": heads,
        "head_channels": [draw(counts) for _ in kernels],
        "head_kernels": [list(kernel) for kernel in kernels],
        "state_channels": draw(st.integers(2, 9)),
        "attention_hidden": draw(counts),
        "classifier_hidden": draw(counts),
        "spatial_attention": draw(st.sampled_from(("none", "full", "banded"))),
        "channel_attention": draw(st.booleans()),
        "in_channels": draw(st.sampled_from((1, 3))),
        "classes": names,
        "stop_class": draw(st.sampled_from(names)),
    }
    if tuple(map(tuple, kernels)) == PAPER_KERNELS and draw(st.booleans()):
        del fields["head_kernels"]
    return fields


def toml(fields):
    def text(value):
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list):
            return "[" + ", ".join(map(text, value)) + "]"
        return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)

    return "".join(f"{name} = {text(value)}\n" for name, value in fields.items())


FORMATS = {
    "toml": toml,
    "yaml": lambda fields: yaml.safe_dump(fields, allow_unicode=True),
    "json": lambda fields: json.dumps(fields, ensure_ascii=False),
}


def listed(value):
    return tuple(map(listed, value)) if isinstance(value, list) else value


@given(fields=networks())
def test_a_network_is_the_same_from_every_file(fields, tmp_path_factory):
    wanted = ModelConfig(name="net", **{name: listed(value) for name, value in fields.items()})
    for ending, text in FORMATS.items():
        path = tmp_path_factory.getbasetemp() / f"net.{ending}"
        path.write_text(text(fields), encoding="utf-8")
        found = preset(path)
        assert found == wanted and found.digest == wanted.digest


NOT_COUNTS = st.sampled_from([0, -1, True, 1.0, "3", [3], {"a": 1}, "", 10**30])
BAD = {
    **dict.fromkeys(("image_height", "image_width", "heads", "state_channels"), NOT_COUNTS),
    **dict.fromkeys(("attention_hidden", "classifier_hidden"), NOT_COUNTS),
    "in_channels": st.sampled_from([0, 2, True, "3", [1], 3.0]),
    "spatial_attention": st.sampled_from(["all", "", 1, True, ["full"]]),
    "channel_attention": st.sampled_from([0, 1, "true", []]),
    "head_channels": st.sampled_from([[], [0], "4,4", [1] * 9, [[1]], 4, ["a"]]),
    "head_kernels": st.sampled_from([[], [[2, 3]], [[3, 2]], [3, 3], "3x3", [[3, 3, 3]], 3]),
    "classes": st.sampled_from([[], ["a"], ["a", "a"], [" a", "b"], [1, 2], "ab", ["", "b"]]),
    "stop_class": st.sampled_from(["nobody", 1, ["a"], True]),
    "name": st.sampled_from(["", "a b", "../x", 3, [], "ä"]),
    "colour": st.integers(),
}


@given(fields=networks(), ending=st.sampled_from(sorted(FORMATS)), data=st.data())
def test_one_bad_field_is_one_line(fields, ending, data, tmp_path_factory):
    """That begins with the file and names the field, and status 2."""
    name = data.draw(st.sampled_from(sorted(BAD)))
    value = data.draw(BAD[name])
    if ending == "toml" and isinstance(value, dict):
        value = 0
    path = tmp_path_factory.getbasetemp() / f"bad.{ending}"
    path.write_text(FORMATS[ending](fields | {name: value}), encoding="utf-8")
    with pytest.raises(ValueError) as told:
        preset(path)
    text = str(told.value)
    assert text.startswith(f"{path}: ") and "\n" not in text and len(text) < 700
    words = (name, "products in one accumulator", "rows that head_kernels", "state_channels")
    assert any(word in text for word in words), text


@pytest.mark.parametrize("ending", FORMATS)
def test_a_bad_field_ends_a_command(ending, tmp_path):
    path = tmp_path / f"bad.{ending}"
    path.write_text(FORMATS[ending]({"image_height": 10, "heads": 9}))
    said = refused("verilog", "--preset", path)
    assert said.startswith(f"rasca: {path}: ")


@given(content=st.binary(max_size=60), ending=st.sampled_from(sorted(FORMATS)))
@example(content=b"a: 1979-05-27", ending="yaml")
@example(content=b"\xef\xbb\xbf{", ending="json")
def test_any_file_of_fields_is_read_or_refused(content, ending, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / f"any.{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError) as told:
        preset(path)
    assert str(told.value).startswith(f"{path}: ") and "\n" not in str(told.value)


# ---- each of them can fail ----

PLANTED = {
    "resynchronises": (
        (
            "boards.packets",
            "            del self._buffer[:1]\n\n\n",
            "            del self._buffer[:2]\n\n\n",
        ),
        test_packets_after_any_bytes,
    ),
    "checks": (
        ("boards.packets", "if crc16(self._buffer[1:whole]) == 0:", "if True:"),
        test_one_bit_costs_one_packet,
    ),
    "counts": (
        ("boards.packets", "            self.skipped += drop\n", ""),
        test_packets_come_as_they_were_sent,
    ),
    "signs": (
        ("hw.loader", "not -half <= value < full", "not 0 <= value < full"),
        test_an_image_holds_its_words,
    ),
    "content": (
        ("golden.weights", "if said != (came", "if said == (came"),
        test_a_file_of_weights_with_one_bit_wrong_is_refused,
    ),
    "xor": (
        ("sim.study.liberty", "found ^= atom()", "found |= atom()"),
        test_a_function_is_what_it_says,
    ),
    "binds": (
        ("sim.study.liberty", "            found |= both()", "            found |= odd()"),
        test_a_function_is_what_it_says,
    ),
    "comments": (
        ("sim.study.liberty", 'match[1] or " "', '" "'),
        test_a_library_is_read_as_it_was_written,
    ),
    "fields": (
        ("golden.config", 'f"{path}: {error}"', 'f"{error}"'),
        test_one_bad_field_is_one_line,
    ),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_fault_is_found(what, monkeypatch, request):
    (module, old, new), found_by = PLANTED[what]
    changed = mutants.planted(module, old, new)
    here = sys.modules[__name__]
    for name, value in vars(import_module(module)).items():
        if getattr(here, name, None) is value and not isinstance(value, ModuleType):
            monkeypatch.setattr(here, name, getattr(changed, name))
        if getattr(here, module.rpartition(".")[2], None) is import_module(module):
            monkeypatch.setattr(here, module.rpartition(".")[2], changed)
    wanted = inspect.signature(found_by.hypothesis.inner_test).parameters
    fixtures = ("tmp_path_factory", "file_of_weights")
    given = {name: request.getfixturevalue(name) for name in fixtures if name in wanted}
    properties.fails(found_by, monkeypatch, **given)
