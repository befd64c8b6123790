"""What is made of the register map beside RTL: C header, CMSIS-SVD, IP-XACT, a page of
documentation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from golden import files
from hw.bus.registers import VERSION, WORD, Access, Field, Register, RegisterMap, largest

_WORDS = {
    Access.READ: "read",
    Access.WRITE: "write",
    Access.BOTH: "read, write",
    Access.CLEAR: "read, 1 clears",
}
HEADER = "rasca_registers.h"
"""Name of the C header; the same for every engine."""


def c_header(registers: RegisterMap) -> str:
    """Offsets, masks and shifts as preprocessor constants, `RASCA_<REGISTER>[_<FIELD>]`.

    A field of one bit is its mask; a wider one has `_MASK` and `_SHIFT`; one that is the whole
    register has neither. An array's offset takes the index.
    """
    lines = [
        "/* Registers of a Rasca engine, made from hw/bus/registers.py. */",
        "#ifndef RASCA_REGISTERS_H",
        "#define RASCA_REGISTERS_H",
        "",
        f"#define RASCA_MAP_VERSION {VERSION}u",
        f"#define RASCA_MAP_ID 0x{registers['ID'].value:08X}u",
    ]
    for one in registers.registers:
        name = f"RASCA_{one.name}"
        lines += ["", f"/* {one.about} */"]
        if one.count is None:
            lines.append(f"#define {name} 0x{one.offset:03X}u")
        else:
            lines.append(f"#define {name}(i) (0x{one.offset:03X}u + {WORD}u * (i))")
        for each in one.fields:
            lines += _c_field(name, each)
    return "\n".join([*lines, "", "#endif", ""])


def _c_field(register: str, one: Field) -> Iterator[str]:
    name = f"{register}_{one.name.upper()}"
    if one.bits == 1:
        yield f"#define {name} 0x{one.mask:X}u"
    elif one.bits < 8 * WORD:
        yield f"#define {name}_MASK 0x{one.mask:X}u"
        yield f"#define {name}_SHIFT {one.low}u"
    for value, number in one.values.items():
        yield f"#define {name}_{value.upper()} {number}u"


def svd(registers: RegisterMap, *, name: str, description: str) -> str:
    """The map as CMSIS-SVD 1.3, a device with one peripheral at address 0.

    Parameters
    ----------
    name : str
        Of the device.
    description : str
    """
    device = Element("device", {"schemaVersion": "1.3"})

    def put(parent: Element, **texts: object) -> None:
        for tag, text in texts.items():
            SubElement(parent, tag).text = str(text)

    put(device, name=name, version=f"{VERSION}.0", description=description)
    put(device, addressUnitBits=8, width=8 * WORD)
    peripheral = SubElement(SubElement(device, "peripherals"), "peripheral")
    put(peripheral, name="RASCA", description="Engine.", baseAddress="0x00000000")
    block = SubElement(peripheral, "addressBlock")
    put(block, offset="0x0", size=f"0x{1 << registers.address_bits:X}", usage="registers")
    put(SubElement(peripheral, "interrupt"), name="RASCA", value=0)
    found = SubElement(peripheral, "registers")
    for one in registers.registers:
        _svd_register(SubElement(found, "register"), one, put)
    ElementTree.indent(device)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ElementTree.tostring(device, 'unicode')}\n"


def _svd_register(element: Element, one: Register, put) -> None:
    if one.count is not None:
        put(element, dim=one.count, dimIncrement=f"0x{WORD:X}")
    name = one.name if one.count is None else f"{one.name}[%s]"
    put(element, name=name, description=one.about, addressOffset=f"0x{one.offset:X}")
    clears = one.access is Access.CLEAR
    put(element, size=8 * WORD, access="read-write" if clears else one.access.value)
    put(element, resetValue=f"0x{one.value or 0:08X}")
    if one.value is None:  # what it says is the engine's, also after a reset
        put(element, resetMask="0x00000000")
    fields = SubElement(element, "fields")
    for each in one.fields:
        field = SubElement(fields, "field")
        put(field, name=each.name.upper(), description=each.about)
        put(field, bitOffset=each.low, bitWidth=each.bits)
        if clears:
            put(field, modifiedWriteValues=one.access.value)
        if each.values:
            values = SubElement(field, "enumeratedValues")
            for value, number in each.values.items():
                put(SubElement(values, "enumeratedValue"), name=value, value=number)


_IPXACT = "http://www.accellera.org/XMLSchema/IPXACT/1685-2014"
_SCHEMA = "http://www.w3.org/2001/XMLSchema-instance"
_IPXACT_ACCESS = {one: one.value for one in Access} | {Access.CLEAR: "read-write"}


def ipxact(registers: RegisterMap, *, name: str, description: str) -> str:
    """The map as an IP-XACT component (IEEE 1685-2014), a memory map with one block at address 0.

    Parameters
    ----------
    name : str
        Of the component.
    description : str
    """
    component = Element(
        "ipxact:component",
        {
            "xmlns:ipxact": _IPXACT,
            "xmlns:xsi": _SCHEMA,
            "xsi:schemaLocation": f"{_IPXACT} {_IPXACT}/index.xsd",
        },
    )

    def inside(parent: Element, tag: str) -> Element:
        return SubElement(parent, f"ipxact:{tag}")

    def put(parent: Element, **texts: object) -> None:
        for tag, text in texts.items():
            inside(parent, tag).text = str(text)

    put(component, vendor="rasca", library="rasca", name=name, version=f"{VERSION}.0")
    space = inside(inside(component, "memoryMaps"), "memoryMap")
    put(space, name="RASCA")
    block = inside(space, "addressBlock")
    put(block, name="registers", baseAddress="0x0")
    put(block, range=f"0x{1 << registers.address_bits:X}", width=8 * WORD, usage="register")
    for one in registers.registers:
        _ipxact_register(inside(block, "register"), one, inside, put)
    put(space, addressUnitBits=8)
    put(component, description=description)
    ElementTree.indent(component)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{ElementTree.tostring(component, 'unicode')}\n"


def _ipxact_register(element: Element, one: Register, inside, put) -> None:
    """An array's registers follow each other, a register's width apart, as the standard has it."""
    put(element, name=one.name, description=one.about)
    if one.count is not None:
        put(element, dim=one.count)
    moves = not one.constant and one.access in (Access.READ, Access.CLEAR)
    put(element, addressOffset=f"0x{one.offset:X}", size=8 * WORD, volatile=str(moves).lower())
    put(element, access=_IPXACT_ACCESS[one.access])
    for each in one.fields:
        field = inside(element, "field")
        put(field, name=each.name.upper(), description=each.about, bitOffset=each.low)
        if one.value is not None:
            reset = inside(inside(field, "resets"), "reset")
            put(reset, value=f"0x{(one.value & each.mask) >> each.low:X}")
        put(field, bitWidth=each.bits)
        if each.values:
            values = inside(field, "enumeratedValues")
            for value, number in each.values.items():
                put(inside(values, "enumeratedValue"), name=value, value=number)
        if one.access is Access.CLEAR:
            put(field, modifiedWriteValue=one.access.value)


def driver() -> dict[str, str]:
    """Text of the driver's files by their names."""
    here = Path(__file__).parent
    return {name: (here / name).read_text(encoding="utf-8") for name in ("rasca.h", "rasca.c")}


def bits(one: Field) -> str:
    """A field's bits in words: `31:16`, `3`."""
    return f"{one.end - 1}:{one.low}" if one.bits > 1 else str(one.low)


def table(registers: RegisterMap) -> str:
    """The map as a table in Markdown, a line for each field."""
    lines = ["| offset | register | access | bits | field | meaning |", "|---|---|---|---|---|---|"]
    for one in registers.registers:
        offset = f"0x{one.offset:03X}"
        if one.count is not None:
            offset += f" + {WORD} i, i < {one.count}"
        lines.append(f"| {offset} | **{one.name}** | {_WORDS[one.access]} | | | {one.about} |")
        for each in one.fields:
            about = each.about + (" Signed." if each.signed else "")
            if each.values:
                about += " " + ", ".join(f"{n} {v}" for v, n in each.values.items()) + "."
            lines.append(f"| | | | {bits(each)} | {each.name} | {about} |")
    return "\n".join(lines)


def main() -> None:
    """Writes the table in docs/registers.md."""
    page = files.ROOT / "docs" / "registers.md"
    old = page.read_text(encoding="utf-8")
    files.write(page, files.between(page, old, "registers", f"{table(largest())}\n"))
