"""The register map: one table, and what is made of it."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hw.bus import pages
from hw.bus.bank import Bank
from hw.bus.registers import COUNTERS, Access, Field, Register, RegisterMap, largest, registers
from hw.interfaces import Counters, Status
from hw.plan.engine_config import EngineConfig
from tests.test_bus import TINY

MAP = largest()
ROOT = Path(__file__).resolve().parents[1]


def test_same_offsets_for_every_engine():
    """Arrays are shorter, constants are there; all else is the same."""
    for shape in ("4,1,1", "64,1,1"):
        one = registers(TINY, EngineConfig.parse(shape), 100)
        assert [each.name for each in one.registers] == [each.name for each in MAP.registers]
        for mine, other in zip(one.registers, MAP.registers, strict=True):
            assert replace(mine, value=None, count=None) == replace(other, value=None, count=None)
            assert (mine.size <= other.size) and (mine.count is None) == (other.count is None)
    assert one["STATE_DATA"].count == 16 and one["ROW_LOGIT"].count == 3
    assert one["IMAGE"].value == 15 << 16 | 11 and one["STATE_WORD"].value == 64


def test_agrees_with_the_engine():
    assert tuple(COUNTERS) == Counters.names
    named = MAP["DECISION"].field("status").values
    assert named == {one.name: one.value for one in Status}


def test_c_header_is_the_map(tmp_path):
    """A C99 compiler takes it, and finds the table's numbers."""
    (tmp_path / pages.HEADER).write_text(pages.c_header(MAP))
    wanted, lines = {}, []
    for one in MAP.registers:
        name = f"RASCA_{one.name}"
        wanted[name if one.count is None else f"{name}(2)"] = one.offset + (
            0 if one.count is None else 8
        )
        for each in one.fields:
            if each.bits == 1:
                wanted[f"{name}_{each.name.upper()}"] = each.mask
            elif each.bits < 32:
                wanted[f"{name}_{each.name.upper()}_MASK"] = each.mask
                wanted[f"{name}_{each.name.upper()}_SHIFT"] = each.low
    lines = [
        f"typedef char t{i}[({n}) == {v}u ? 1 : -1];" for i, (n, v) in enumerate(wanted.items())
    ]
    source = tmp_path / "check.c"
    source.write_text("\n".join([f'#include "{pages.HEADER}"', *lines, ""]))
    strict = ["gcc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-c", "-o"]
    done = subprocess.run([*strict, tmp_path / "check.o", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(wanted) > 70
    source.write_text(source.read_text().replace("== 68u", "== 72u"))
    wrong = subprocess.run([*strict, tmp_path / "check.o", source], capture_output=True, text=True)
    assert wrong.returncode != 0


def test_svd_is_the_map():
    one = registers(TINY, EngineConfig.parse("5,1,1"), 100)
    device = ElementTree.fromstring(pages.svd(one, name="TINY", description="an engine"))
    found = device.findall("peripherals/peripheral/registers/register")
    assert [each.findtext("addressOffset") for each in found] == [
        f"0x{each.offset:X}" for each in one.registers
    ]
    by_name = {each.findtext("name"): each for each in found}
    assert by_name["ROW_LOGIT[%s]"].findtext("dim") == "3"
    assert by_name["ID"].findtext("resetValue") == "0x52534341"
    # STATUS has room for a load, and maybe weights, after a reset
    masks = {name: each.findtext("resetMask") for name, each in by_name.items()}
    assert masks["STATUS"] == "0x00000000" and masks["ID"] is masks["CONTROL"] is None
    assert by_name["INTERRUPT"].find("fields/field").findtext("modifiedWriteValues") == "oneToClear"
    status = by_name["DECISION"].findall("fields/field")[1]
    named = status.findall("enumeratedValues/enumeratedValue")
    assert {e.findtext("name"): int(e.findtext("value")) for e in named} == {
        each.name: each.value for each in Status
    }
    fields = {each.name: len(each.fields) for each in one.registers}
    for name, each in by_name.items():
        assert len(each.findall("fields/field")) == fields[name.removesuffix("[%s]")]


IPXACT = {"i": "http://www.accellera.org/XMLSchema/IPXACT/1685-2014"}
ORDER = {
    "component": "vendor library name version memoryMaps description",
    "memoryMap": "name addressBlock addressUnitBits",
    "addressBlock": "name baseAddress range width usage register",
    "register": "name description dim addressOffset size volatile access field",
    "field": "name description bitOffset resets bitWidth enumeratedValues modifiedWriteValue",
    "reset": "value",
    "enumeratedValue": "name value",
}
"""Elements as IEEE 1685-2014 orders them (6.1, 6.8.1, 6.9, 6.11), of those that are used."""
OPTIONAL = {"dim", "resets", "enumeratedValues", "modifiedWriteValue"}


def out_of_order(root):
    """Elements whose children are none of ORDER's, lack one, or stand in another order."""
    found = []
    for element in root.iter():
        kind = element.tag.rpartition("}")[2]
        if kind in ORDER:
            children = list(dict.fromkeys(each.tag.rpartition("}")[2] for each in element))
            wanted = [each for each in ORDER[kind].split() if each in children]
            lacks = set(ORDER[kind].split()) - set(children) - OPTIONAL
            if children != wanted or lacks:
                found.append((kind, children))
    return found


def test_ipxact_is_the_map():
    """Every name, offset, array, bit, reset value, access and named value of the table."""
    one = registers(TINY, EngineConfig.parse("5,1,1"), 100)
    root = ElementTree.fromstring(pages.ipxact(one, name="tiny", description="an engine"))
    assert root.tag == f"{{{IPXACT['i']}}}component" and not out_of_order(root)
    block = root.find("i:memoryMaps/i:memoryMap/i:addressBlock", IPXACT)

    def number(element, name):
        text = element.findtext(f"i:{name}", namespaces=IPXACT)
        return None if text is None else int(text, 0)

    def text(element, name):
        return element.findtext(f"i:{name}", namespaces=IPXACT)

    assert number(block, "range") == 1 << one.address_bits and number(block, "width") == 32
    found = []
    for each in block.findall("i:register", IPXACT):
        fields = []
        for field in each.findall("i:field", IPXACT):
            named = field.findall("i:enumeratedValues/i:enumeratedValue", IPXACT)
            values = {text(value, "name"): number(value, "value") for value in named}
            reset = number(field, "resets/i:reset/i:value")
            place = number(field, "bitOffset"), number(field, "bitWidth")
            clears = text(field, "modifiedWriteValue")
            fields.append((text(field, "name"), *place, reset, values, clears))
        place = number(each, "addressOffset"), number(each, "dim"), text(each, "access")
        found.append((text(each, "name"), *place, fields))
    assert found == [
        (
            each.name,
            each.offset,
            each.count,
            "read-write" if each.access is Access.CLEAR else each.access.value,
            [
                (
                    field.name.upper(),
                    field.low,
                    field.bits,
                    None if each.value is None else each.value >> field.low & (1 << field.bits) - 1,
                    field.values,
                    "oneToClear" if each.access is Access.CLEAR else None,
                )
                for field in each.fields
            ],
        )
        for each in one.registers
    ]
    volatile = {text(e, "name"): text(e, "volatile") for e in block.findall("i:register", IPXACT)}
    assert volatile["STATUS"] == "true" and volatile["ID"] == volatile["CONTROL"] == "false"


def test_another_order_is_seen():
    root = ElementTree.fromstring(pages.ipxact(MAP, name="x", description=""))
    register = root.find(".//i:register", IPXACT)
    first, second = register[0], register[1]
    register[0], register[1] = second, first
    assert [kind for kind, _ in out_of_order(root)] == ["register"]


def test_page_is_the_map():
    text = (ROOT / "docs" / "registers.md").read_text()
    assert f"\n{pages.table(MAP)}\n" in text, "`rasca registers` writes it anew"


def test_bank_has_a_port_for_each():
    ports = set(Bank(MAP).signature.members)
    assert {"control", "status", "interrupt", "interrupt_set", "load_data_ready"} <= ports
    assert "id" not in ports and not re.search(r"[A-Z]", "".join(ports))


BIT = Field(name="bit", about="A bit.")


def register(**fields):
    whole = {"name": "A", "offset": 0, "access": Access.BOTH, "about": "", "fields": (BIT,)}
    return Register(**(whole | {"value": 0} | fields))


@pytest.mark.parametrize(
    "make, text",
    [
        (
            lambda: Field(name="x", about="", low=31, bits=2),
            "field x must lie in bits 0..31, not 31..32",
        ),
        (lambda: register(offset=2), "offset of A must be a multiple of 4, not 2"),
        (
            lambda: register(fields=(BIT, replace(BIT, name="other"))),
            "fields of A must be in order and apart, not bit, other",
        ),
        (
            lambda: RegisterMap(registers=(register(count=2), register(name="B", offset=4))),
            "registers must be in order and apart, not A, B",
        ),
        (
            lambda: RegisterMap(registers=(register(), register(offset=4))),
            "names of registers must differ, not A, A",
        ),
    ],
)
def test_refused(make, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        make()
