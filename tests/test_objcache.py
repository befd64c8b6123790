"""The compiler launcher: what is the same in every design is compiled once."""

import os
import sys

import pytest

from sim import objcache

COMPILER = """#!{python}
import sys
from pathlib import Path
Path({log!r}).open("a").write(" ".join(sys.argv[1:]) + "\\n")
if "bad.cpp" in sys.argv:
    sys.exit(3)
Path(sys.argv[sys.argv.index("-o") + 1]).write_text(sys.argv[-1])
"""


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """Calls the launcher in a folder of sources; returns what the compiler was asked for."""
    program, log = tmp_path / "g++", tmp_path / "log"
    program.write_text(COMPILER.format(python=sys.executable, log=str(log)))
    program.chmod(0o755)
    (tmp_path / "work").mkdir()
    (tmp_path / "include").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def call(*words, status=0):
        log.write_text("")
        command = [str(tmp_path / "cache"), str(program), *words]
        assert objcache.main(command) == status
        return log.read_text().splitlines()

    return call


def test_the_library_is_compiled_once(compiler, tmp_path):
    source = tmp_path / "work" / "verilated.cpp"
    source.write_text("// first")
    words = ("-O1", "-c", "-o", "verilated.o", "verilated.cpp")
    assert compiler(*words) == [" ".join(words)]
    os.remove("verilated.o")
    assert compiler(*words) == []
    assert (tmp_path / "work" / "verilated.o").read_text() == "verilated.cpp"
    assert len(compiler("-O0", *words[1:])) == 1  # other flags
    source.write_text("// another version")
    assert len(compiler(*words)) == 1
    (tmp_path / "work" / "Vtop.h").write_text("// of a design")
    assert compiler(*words) == []  # the library knows no design


def test_the_main_program_once_for_a_top(compiler, tmp_path):
    header = tmp_path / "work" / "Vtop.h"
    header.write_text("struct Vtop { int clk; };")
    (tmp_path / "work" / "verilator.cpp").write_text("")
    words = ("-c", "-o", "verilator.o", "verilator.cpp")
    assert len(compiler(*words)) == 1 and compiler(*words) == []
    header.write_text("struct Vtop { int clk, rst; };")
    assert len(compiler(*words)) == 1


def test_all_else_is_passed_through(compiler, tmp_path):
    (tmp_path / "work" / "Vtop.cpp").write_text("")
    words = ("-c", "-o", "Vtop.o", "Vtop.cpp")
    assert [compiler(*words) for _ in range(2)] == [[" ".join(words)]] * 2
    assert compiler("-o", "program", "Vtop.o") == ["-o program Vtop.o"]
    assert len(compiler("-c", "-o", "bad.o", "bad.cpp", status=3)) == 1


def test_headers_are_compiled_once(compiler, tmp_path):
    include = f"-I{tmp_path / 'include'}"
    words = ("-I.", include, "-O0", "-MMD", "-c", "-o", "Vtop__ALL.o", "Vtop__ALL.cpp")
    assert compiler(*words) == [" ".join(words)]  # there are none
    for name in objcache.HEADERS:
        (tmp_path / "include" / name).write_text("")
    made, used = compiler(*words)
    assert made.startswith(f"{include} -O0 -x c++-header") and "headers.h" in made
    assert used.startswith(" ".join(words[:-1]) + " -include ") and used.endswith("Vtop__ALL.cpp")
    assert compiler(*words) == [used]
    assert len(compiler(*words[:2], "-O1", *words[3:])) == 2
    (tmp_path / "include" / "verilated.h").write_text("// another version")
    assert len(compiler(*words)) == 2


def test_the_compiler_takes_them(tmp_path, monkeypatch, capfd):
    """Made with the same flags, else it would read the text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(objcache, "HEADERS", ("verilated.h",))
    (tmp_path / "verilated.h").write_text(
        "#pragma once\ninline int twice(int x) { return x + x; }\n"
    )
    (tmp_path / "Vtop__ALL.cpp").write_text('#include "verilated.h"\nint y = twice(2);\n')
    words = ("-I.", f"-I{tmp_path}", "-MMD", "-O0", "-DVL=1", "-H", "-c", "-o", "Vtop__ALL.o")
    assert objcache.main([str(tmp_path / "cache"), "g++", *words, "Vtop__ALL.cpp"]) == 0
    assert "! " in (told := capfd.readouterr().err) and "headers.h.gch" in told
