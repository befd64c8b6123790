"""boards/carries.py: the same functions with fewer LUTs, on netlists that Yosys made."""

import copy
import json
import random
import subprocess

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Mux, Signal, signed
from rich.console import Console

from boards import build, carries, tools

WIDTHS = (3, 4, 7, 8, 11, 12)


class Sums:
    """Chains of all kinds: odd and even, carry in 0 and 1, compared, gated, tapped, counting."""

    def __init__(self):
        self.inputs, self.outputs = [], []

    def elaborate(self, platform):
        m = Module()
        for n in WIDTHS:
            a, b = Signal(n, name=f"a{n}"), Signal(signed(n), name=f"b{n}")
            go = Signal(name=f"go{n}")
            self.inputs += [a, b, go]
            values = {
                "sum": a + b,
                "difference": a - b,
                "next": a + 1,
                "less": a < 5 * n,
                "below": b < a.as_signed(),
                "gated": Mux(go, a, 0) + b,
                "lower": (a + b)[: n - 1],
            }
            for name, value in values.items():
                out = Signal.like(value, name=f"{name}{n}")
                m.d.comb += out.eq(value)
                self.outputs.append(out)
        return m


@pytest.fixture(scope="module")
def netlists(tmp_path_factory):
    """The netlist before and after, and what was changed."""
    folder = tmp_path_factory.mktemp("carries")
    design = Sums()
    module = design.elaborate(None)
    text = rtlil.convert(module, name=build.TOP, ports=[*design.inputs, *design.outputs])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(carries, "tidy", lambda netlist: None)
        build.synthesise(text, "ecp5", folder, Console(quiet=True))
    before = json.loads((folder / f"{build.TOP}.json").read_text())
    after = copy.deepcopy(before)
    return before, after, carries.tidy(after)


def lut(init, inputs):
    return int(init[::-1][sum(bit << i for i, bit in enumerate(inputs))])


def evaluate(netlist, inputs):
    """Outputs of a netlist without registers; cells as in Yosys' cells_sim.v, x is random."""
    module = netlist["modules"][build.TOP]
    unknown = random.Random(1)
    value, driver = {}, {}
    for name, port in module["ports"].items():
        if port["direction"] == "input":
            value |= {bit: inputs[name] >> i & 1 for i, bit in enumerate(port["bits"])}
    for cell in module["cells"].values():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "output":
                driver |= {bit: cell for bit in bits if isinstance(bit, int)}

    def of(bit):
        if isinstance(bit, str):
            return unknown.getrandbits(1) if bit == "x" else int(bit)
        if bit not in value:
            cell = driver[bit]
            c, p = cell["connections"], cell["parameters"]
            get = lambda port: of(c[port][0])  # noqa: E731
            if cell["type"] == "LUT4":
                value[bit] = lut(p["INIT"].rjust(16, "0"), [get(x) for x in "ABCD"])
            elif cell["type"] == "PFUMX":
                value[bit] = get("ALUT") if get("C0") else get("BLUT")
            elif cell["type"] == "L6MUX21":
                value[bit] = get("D1") if get("SD") else get("D0")
            else:
                assert cell["type"] == "CCU2C", cell["type"]
                carry = get("CIN")
                found = {}
                for i in (0, 1):
                    four = [get(f"{x}{i}") for x in "ABCD"]
                    l4 = lut(p[f"INIT{i}"], four)
                    found[f"S{i}"] = l4 ^ carry
                    carry = carry if l4 else lut(p[f"INIT{i}"], [*four[:2], 0, 0])
                found["COUT"] = carry
                for port, result in found.items():
                    value.update({b: result for b in c[port] if isinstance(b, int)})
        return value[bit]

    return {
        name: [of(bit) for bit in port["bits"]]
        for name, port in module["ports"].items()
        if port["direction"] == "output"
    }


def differences(before, after, count=300):
    source, found = random.Random(2), 0
    ports = before["modules"][build.TOP]["ports"]
    for _ in range(count):
        inputs = {
            name: source.choice([0, (1 << len(port["bits"])) - 1, source.getrandbits(12)])
            & ((1 << len(port["bits"])) - 1)
            for name, port in ports.items()
            if port["direction"] == "input"
        }
        found += evaluate(before, inputs) != evaluate(after, inputs)
    return found


def test_the_same_functions(netlists):
    """No output differs, whatever the carry inputs are that nothing drives now."""
    before, after, found = netlists
    assert all(found.values()), found
    assert differences(before, after) == 0
    # the model knows what a sum is
    got = evaluate(after, {f"{x}{n}": 5 % (1 << n) for n in WIDTHS for x in ("a", "b", "go")})
    assert got["sum11"][:4] == [0, 1, 0, 1]


def test_one_bit_is_found(netlists):
    """A wrong bit in any of the changed chains' first positions."""
    before, after, _ = netlists
    starts = [
        name
        for name, cell in after["modules"][build.TOP]["cells"].items()
        if cell["type"] == "CCU2C" and cell["connections"]["CIN"] == ["x"]
    ]
    assert len(starts) > 20
    for name in random.Random(3).sample(starts, 8):
        wrong = copy.deepcopy(after)
        cell = wrong["modules"][build.TOP]["cells"][name]
        init = cell["parameters"]["INIT0"]
        used = sum(1 << i for i, x in enumerate("AB") if cell["connections"][f"{x}0"] == ["1"])
        # an entry that can be reached
        place = 15 - next(i for i in range(4) if i & used == used)
        flipped = "1" if init[place] == "0" else "0"
        cell["parameters"]["INIT0"] = init[:place] + flipped + init[place + 1 :]
        assert differences(before, wrong), name


def test_nextpnr_takes_fewer(netlists, tmp_path):
    """Two LUTs less for each chain that is opened or moved, one or two for one that is split."""
    before, after, found = netlists
    used = []
    for index, netlist in enumerate((before, after)):
        (tmp_path / f"{index}.json").write_text(json.dumps(netlist))
        command = [*tools.tool("nextpnr-ecp5"), "--85k", "--package", "CABGA756"]
        command += ["--json", f"{index}.json", "--no-place", "--no-route"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        line = next(line for line in done.stderr.splitlines() if "TRELLIS_COMB:" in line)
        used.append(int(line.split(":", 2)[2].split("/")[0]))
    least = 2 * (found["opened"] + found["moved"]) + found["split"]
    assert used[0] - used[1] >= least, (used, found)
