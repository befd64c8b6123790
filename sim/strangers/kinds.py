"""Kinds of files that come from outside: whole ones to begin with, and what reads them.

Sizes that readers allow are made smaller where a large one would only take time: the rule is the
same one, with another number.
"""

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from boards import packets
from boards.packets import Kind as Sent
from golden import checkpoint, config, images
from golden.config import ModelConfig
from golden.data import load_coco, load_table, load_voc, read_boxes
from golden.random_weights import random_weights
from golden.weights import Weights
from sim.study import explore, liberty

MODEL = ModelConfig(
    name="tiny",
    image_height=10,
    image_width=8,
    heads=1,
    head_channels=(1, 1),
    head_kernels=((3, 3), (3, 3)),
    state_channels=2,
    attention_hidden=1,
)
PIXELS = 1 << 20
"""Most of a picture here."""
LIBRARY = 1 << 20
"""Most bytes of a library here."""
NAMES = (
    *("checkpoint.pt", "pickle.pt", "weights.safetensors"),
    *("network.yaml", "network.toml", "network.json", "space.yaml"),
    *(
        "cells.lib",
        "function.txt",
        "annotations.json",
        "labels.csv",
        "persons.csv",
        "annotation.xml",
    ),
    *(f"picture.{kind}" for kind in ("png", "gif", "bmp", "jpeg", "tiff", "webp", "ppm", "avif")),
    *("serial.bin", "packet.bin"),
)
RAN = "rasca.ran"
"""Event of the audit by which code in a file tells that it ran."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes
    ----------
    whole : tuple of bytes
        Contents to begin with; the first one is taken by the reader.
    read : function of a path
        The reader. It gives a value or raises ValueError in one line.
    words : tuple of bytes
        Pieces that such files are made of.
    packed : function from bytes to bytes
        What the changed bytes are put into before they are read: an archive or a packet with its
        right checksum, behind which they would else never come.
    """

    whole: tuple[bytes, ...]
    read: Callable[[Path], object]
    words: tuple[bytes, ...] = ()
    packed: Callable[[bytes], bytes] = bytes


# ---- checkpoints ----


class _Calls:
    """Its pickle calls a function."""

    def __init__(self, function: Callable, *given: object) -> None:
        self.call = function, given

    def __reduce__(self) -> tuple:
        return self.call


def _checkpoint(content: object, new: bool = True) -> bytes:
    kept = io.BytesIO()
    torch.save(content, kept, _use_new_zipfile_serialization=new)
    return kept.getvalue()


def _evil() -> list[object]:
    """Checkpoints that would run code."""
    tell = f"import sys; sys.audit({RAN!r})"
    return [
        {"state_dict": {"a": _Calls(exec, tell)}},
        _Calls(eval, f"__import__('sys').audit({RAN!r})"),
        {"state_dict": {"a": torch.zeros(2), "b": _Calls(torch.load, "a.pt")}},
    ]


def _pickled(archive: bytes) -> bytes:
    """The pickle in an archive of torch.save."""
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return file.read("archive/data.pkl")


def _archive(pickled: bytes) -> bytes:
    """An archive as of torch.save, with a pickle and the values 0..5 of one tensor."""
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w") as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/byteorder", b"little")
        file.writestr("archive/data/0", struct.pack("<6f", *range(6)))
        file.writestr("archive/version", b"3\n")
    return kept.getvalue()


# ---- networks, spaces, libraries, labels ----

_YAML = b"image_height: 10\nimage_width: 8\nheads: 1\nhead_channels: [1, 1]\nstate_channels: 2\n"
_YAML += b"attention_hidden: 1\nhead_kernels: [[3, 3], [3, 3]]\nclasses: [a, b]\nstop_class: b\n"
_TOML = _YAML.replace(b": ", b" = ").replace(b"[a, b]", b'["a", "b"]').replace(b"= b", b'= "b"')
_FIELDS = {
    **{"image_height": 10, "image_width": 8, "heads": 1, "state_channels": 2, "in_channels": 1},
    "blocks": [{"rows": 3, "columns": 3, "channels": 1}, {"rows": 3, "columns": 1, "channels": 2}],
    "spatial_attention": "banded",
}
_NETWORK_WORDS = (
    *(b"image_height", b"head_channels", b"head_kernels", b"classes", b"stop_class", b"blocks"),
    *(b"spatial_attention", b"channel_attention", b"in_channels", b"true", b"null", b"full"),
    *(b"9999999999", b"1e999", b".nan", b"0x7fffffff", b"131071", b"[[", b"]]", b"&a", b"*a"),
    *(b"<<: ", b"!!python/object/apply:os.system", b"!!binary ", b"? ", b"|\n", b"'''", b'"""'),
    *(b"1979-05-27T07:32:00Z", b"inf", b"[a.b]", b"\\u0000", b"\xff\xfe"),
)
_SPACE = b"space:\n- presets: [vww_105x120]\n  shapes: ['8,1,2']\n"
_SPACE += b"- {presets: all, pixels: [n, n+1], channels: [1], lanes: [2], sleep: [true]}\n"
_CELLS = b"""library (t) { time_unit : "1ns"; voltage_map (VDD, 1.2); nom_voltage : 1.2;
 lu_table_template (e) { variable_1 : total_output_net_capacitance; index_1 ("0.1, 0.2"); }
 cell (inv) { area : 1; pin (a) { direction : input; capacitance : 0.1; }
  pin (y) { direction : output; function : "!a"; internal_power () { related_pin : "a";
   rise_power (e) { values ("0.1, 0.2"); } fall_power (scalar) { values ("0.1"); } } } }
 cell (nand) { area : 1; pin (a, b) { direction : input; capacitance : 0.1; }
  pin (y) { direction : output; function : "(a & b)'"; } }
 cell (icg) { clock_gating_integrated_cell : latch_posedge; area : 3;
  pin (e) { direction : input; clock_gate_enable_pin : true; }
  pin (c) { direction : input; clock_gate_clock_pin : true; }
  pin (g) { direction : output; clock_gate_out_pin : true; } }
 cell (dff) { area : 4; ff (IQ, IQN) { next_state : "d & !(a | b)"; clocked_on : "c"; }
  leakage_power () { when : "d & a"; value : 0.5; }
  pin (d) { direction : input; } pin (c) { direction : input; clock : true; }
  pin (q) { direction : output; function : "IQ"; } } }
"""
_CELLS_WORDS = (
    *(b"library", b"cell", b"pin", b"ff", b"bus", b"bundle", b"internal_power", b"leakage_power"),
    *(b"rise_power", b"values", b"index_1", b"index_2", b"variable_1", b"when", b"function"),
    *(b"capacitive_load_unit (1, pf);", b"/*", b"*/", b"//", b"\\\n", b"area : nan;", b"1e308"),
    *(b"related_pg_pin", b"cell_leakage_power", b"leakage_power_unit", b"dont_use : true;"),
)
_COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 9}],
    "categories": [{"id": 1, "name": "person"}],
    "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 3, 3], "area": 9}],
}
_READY_MADE = {
    "images": _COCO["images"],
    "annotations": {"1": {"label": 1, "objects": [{"bbox": [1, 1, 3, 3], "area": 9}]}},
}
_TABLE = b"file,label,origin,largest_person_box_fraction,rule\na.png,1,x,0.5,box\n"
_BOXES = b"file,x0,y0,x1,y1\na.png,0,0.25,0.5,1\n"
_BOX = b"<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>9</ymax></bndbox>"
_XML = b"<annotation><size><width>9</width><height>9</height></size><object><name>person</name>"
_XML += _BOX + b"</object></annotation>"
_ENTITIES = b"<!DOCTYPE a [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]>"


def _persons(folder: Path) -> Callable[[Path], object]:
    """Reads a file as the boxes beside a labels file."""
    (folder / "persons").mkdir()
    (folder / "persons/boxes.csv").symlink_to(folder / "persons.csv")
    return lambda path: read_boxes(folder / "persons")


def _voc(folder: Path) -> Callable[[Path], object]:
    """Reads a file as the one annotation of a data set."""
    for name in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (folder / "voc" / name).mkdir(parents=True)
    (folder / "voc/ImageSets/Main/trainval.txt").write_text("a\n")
    (folder / "voc/JPEGImages/a.jpg").write_bytes(_picture("JPEG"))
    (folder / "voc/Annotations/a.xml").symlink_to(folder / "annotation.xml")
    return lambda path: load_voc(folder / "voc")


# ---- pictures ----


def _picture(kind: str, mode: str = "RGB", **more: object) -> bytes:
    kept = io.BytesIO()
    picture = Image.effect_mandelbrot((9, 7), (-2, -1, 1, 1), 20)
    if mode == "I;16":
        picture = Image.frombytes("I;16", (9, 7), bytes(range(126)))
    (picture if mode == "I;16" else picture.convert(mode)).save(kept, kind, **more)
    return kept.getvalue()


_PICTURES = {
    "png": [{}, {"mode": "P"}, {"mode": "RGBA"}, {"mode": "1"}, {"mode": "I;16"}],
    "gif": [{"mode": "P"}],
    "bmp": [{}, {"mode": "P"}],
    "jpeg": [{}, {"mode": "CMYK"}, {"mode": "L", "progressive": True}],
    "tiff": [{}, {"compression": "tiff_lzw"}, {"mode": "I;16"}, {"compression": "tiff_deflate"}],
    "webp": [{}, {"mode": "RGBA", "lossless": True}],
    "ppm": [{}, {"mode": "L"}, {"mode": "1"}],
    "avif": [{}],
}


def _checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the right checksums, however they were changed."""
    found, at = bytearray(data[:8]), 8
    while at + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + size]
        found += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + size
    return bytes(found)


def _photograph(path: Path) -> object:
    kept, images.MOST_PIXELS = images.MOST_PIXELS, PIXELS
    try:
        return images.load_image(path, MODEL)
    finally:
        images.MOST_PIXELS = kept


# ---- a board's bytes ----


def _serial(path: Path) -> None:
    """Every packet that is found is read, or refused."""
    data = path.read_bytes()
    for decoder in (packets.Decoder(), packets.Mixed()):
        for one in decoder.feed(data):
            if isinstance(one, packets.Packet):
                try:
                    packets.parse(one)
                except ValueError as error:
                    assert "\n" not in str(error)


_SAID = (
    (Sent.HELLO, packets.Hello(weights=1, status=0).pack()),
    (Sent.COUNTERS, packets.Counters().pack()),
    (Sent.ROW, packets.Row(frame=1, row_group=2, logits=(3, -4)).pack()),
    (Sent.STATE, packets.State(frame=1, channel=2, row_group=3, data=b"abc").pack()),
    (
        Sent.DECISION,
        packets.Decision(frame=1, index=1, status=0, rows_used=2, logits=(1, 2)).pack(),
    ),
    (
        Sent.PREVIEW,
        packets.Preview(rows=9, columns=9, channels=1, row=0, column=0, data=b"ab").pack(),
    ),
    (Sent.TAKEN, packets.Taken(flags=9, stop=5).pack()),
)


def _weights(folder: Path) -> bytes:
    """As `Weights.save` writes it: its digest, which tells each change, is looked at last."""
    path = folder / "whole.safetensors"
    random_weights(MODEL, 1).save(path)
    return path.read_bytes()


def _library(path: Path) -> object:
    kept, liberty.MOST_BYTES = liberty.MOST_BYTES, LIBRARY
    try:
        found = liberty.read(path)
    finally:
        liberty.MOST_BYTES = kept
    found.check_gates()
    return [pin.energy(0.1) for cell in found.cells.values() for pin in cell.pins.values()]


def _function(path: Path) -> object:
    return liberty.table(path.read_text(errors="replace"), ("a", "b", "c"))


def _model(path: Path) -> object:
    found = config.preset(path)
    return found.operations, found.peak_elements, found.digest


def kinds(folder: Path) -> dict[str, Kind]:
    """Every kind by the name of its file. folder: where the readers find what belongs to a file."""
    Image.new("L", (9, 9)).save(folder / "a.png")
    good = {"state_dict": {"a.weight": torch.arange(6.0).reshape(2, 3)}}
    bad = [_checkpoint(one) for one in _evil()]
    old = [_checkpoint(good, new=False), pickle.dumps(_evil()[0])]
    pickles = (b"cposix\nsystem\n", b"cbuiltins\nexec\n", b"\x80\x02", b"R.", b"ctorch\nload\n")
    return {
        "checkpoint.pt": Kind(
            (_checkpoint(good), *old, *bad), checkpoint.read_state_dict, (b"PK\x01\x02", *pickles)
        ),
        "pickle.pt": Kind(
            tuple(map(_pickled, (_checkpoint(good), *bad))),
            checkpoint.read_state_dict,
            (
                *pickles,
                b"ctorch._utils\n_rebuild_tensor_v2\n",
                b"ctorch\nFloatStorage\n",
                b"\x8a\x08",
            ),
            _archive,
        ),
        "weights.safetensors": Kind(
            (_weights(folder),), lambda path: Weights.load(path, MODEL), (b'"dtype":"I8"', b"-1")
        ),
        "network.yaml": Kind((_YAML,), _model, _NETWORK_WORDS),
        "network.toml": Kind((_TOML,), _model, _NETWORK_WORDS),
        "network.json": Kind((json.dumps(_FIELDS).encode(),), _model, _NETWORK_WORDS),
        "space.yaml": Kind((_SPACE,), explore.read_space, (b"sram_areas", b"n+1", *_NETWORK_WORDS)),
        "cells.lib": Kind((_CELLS,), _library, _CELLS_WORDS),
        "function.txt": Kind((b"!(a & b)' ^ c + a b", b"(a|0)*1"), _function, (b"''", b"(((")),
        "annotations.json": Kind(
            (json.dumps(_COCO).encode(), json.dumps(_READY_MADE).encode()),
            lambda path: load_coco(path, folder),
            (b"NaN", b"-1", b"1e400", b"null", b'"id"', b'"bbox"', b"[[[[", b'{"a":'),
        ),
        "labels.csv": Kind(
            (_TABLE,),
            lambda path: load_table(folder, path),
            (b'"', b"\r", b"person", b"\0", b"../"),
        ),
        "persons.csv": Kind((_BOXES,), _persons(folder), (b'"', b"nan", b"1e9")),
        "annotation.xml": Kind((_XML, _ENTITIES + _XML), _voc(folder), (b"&b;", b"NaN", b"<!--")),
        **{
            f"picture.{kind}": Kind(
                tuple(_picture(kind, **one) for one in some),
                _photograph,
                (b"\xff\xd8", b"IHDR", b"tRNS", b"iCCP", b"acTL", b"eXIf", b"P7\n", b"65535"),
                _checksums if kind == "png" else bytes,
            )
            for kind, some in _PICTURES.items()
        },
        "serial.bin": Kind(
            (b"".join(packets.encode(*one) for one in _SAID) + b"\x80\x40",), _serial, (b"\xa5",)
        ),
        "packet.bin": Kind(
            tuple(bytes([kind]) + payload for kind, payload in _SAID),
            _serial,
            packed=lambda data: packets.encode(data[0] if data else 0, data[1:256]),
        ),
    }
