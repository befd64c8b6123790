"""The pages of docs/: links, commands, keys, equations; the site, where Sphinx is.

The whole site is built by `make docs`.
"""

import re
import shutil
from pathlib import Path
from typing import Annotated

import pytest
import typer

from golden.errors import CommandError
from hw.plan import EngineConfig, compile_program
from rasca.__main__ import application
from rasca.commands import COMMANDS, Command, Variable, targets
from rasca.site import drawing, keys, links, main, navigation, reference

ROOT = Path(__file__).resolve().parents[1]
needs_sphinx = pytest.mark.skipif(
    main.missing() is not None,
    reason=f"no {main.missing()}: requirements-docs.lock brings it",
)

# ---- links and navigation ----


def test_every_link_leads_somewhere_and_every_page_has_its_place():
    assert main.check() == []
    assert len(main.markdown()) == len(set(main.markdown())) > 20


def test_a_page_without_a_place_and_a_place_without_a_page(monkeypatch):
    first, *others = navigation.PARTS
    less = first._replace(pages=("docs/none", *first.pages[1:]))
    monkeypatch.setattr(navigation, "PARTS", (less, *others))
    assert main.unlisted() == [
        "docs/tutorial.md: expected in rasca/site/navigation.py",
        "docs/none.md: expected a page, as rasca/site/navigation.py has it",
    ]


def test_links_that_lead_nowhere(tmp_path):
    (tmp_path / "a.md").write_text(
        "# One `two`\n\n## x.json, **so**\n\n## One two\n\n"
        "[a](#one-two) [b](#one-two-1) [c](b.md#x)\n"
        "[d](#none) [e](none.md)\n```\n# no heading [f](none)\n```\n`[g](none)` [h](https://none)\n"
        "[i](b.md#xjson-so) ![j](c.png) <img src=\"d.png\"> [k](../a.md) [l](b.md 'words')\n"
    )
    (tmp_path / "b.md").write_text("# x\n")
    found = links.faults(tmp_path, [tmp_path / "a.md", tmp_path / "b.md"])
    assert [line.partition(": expected")[0] for line in found] == [
        f"a.md:{line}: {target}"
        for line, target in (
            *((8, "#none"), (8, "none.md"), (13, "b.md#xjson-so"), (13, "c.png"), (13, "../a.md")),
            (13, "d.png"),
        )
    ]
    assert links.anchors((tmp_path / "a.md").read_text()) == {"one-two", "one-two-1", "xjson-so"}


def test_lines_that_the_site_would_not_show():
    """A line that begins with a percent sign is a comment for MyST, and is read on GitHub."""
    text = "77.5\n%; of them\n```\n% code\n```\n 5 %\n+++ more\n"
    assert [line.partition(": ")[0] for line in main.lost("a.md", text)] == ["a.md:2", "a.md:7"]


def test_links_of_a_site(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#x"></a><a href="b.html#y"></a><a href="c.html"></a>'
        '<script src="https://none/x.js"></script><a href="https://none"></a><p id="z"></p>'
        '<a href="#z"></a><img src="data:x">'
    )
    (tmp_path / "b.html").write_text('<h1 id="x"></h1>')
    assert links.faults_of_site(tmp_path) == [
        "a.html: b.html#y: expected an anchor of that page",
        "a.html: c.html: expected a file that is there",
        "a.html: https://none/x.js: expected nothing that is loaded from elsewhere",
    ]


def test_readme_is_one_screen():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 60 and len(text) <= 5500


def test_pages_are_of_a_readable_length():
    sizes = {page.name: len(page.read_text()) for page in main.markdown()}
    assert {name: size for name, size in sizes.items() if size > 32_000} == {}


# ---- commands ----


def test_each_command_is_told():
    text = (ROOT / "docs" / "commands.md").read_text()
    for name, one in COMMANDS.items():
        word = "make" if one.target else "rasca"
        assert re.search(rf"`{word} {re.escape(name)}[ `]", text), name
    for name in targets():
        assert f"`make {name}" in text, name


def test_pages_of_commands_and_variables():
    index, variables = reference.index(), reference.variables()
    for name in COMMANDS:
        assert f"[{name}](commands/{name}.md)" in index
    for target, one in targets().items():
        for variable in one.variables:
            line = next(
                line for line in variables.splitlines()
                if line.startswith(f"| `{variable.name}=") and re.search(rf"\b{target}\b", line)
            )  # fmt: skip
            assert variable.hint.replace("|", "\\|") in line


def parser():
    def work(
        thing: Annotated[Path, typer.Argument(help="what it is")],
        count: Annotated[int, typer.Option(min=1, help="how many | often")] = 3,
        quick: Annotated[bool, typer.Option("--quick", help="not all")] = False,
    ) -> None:
        """Does a thing.

        More of it.
        """

    return application("work", work)


def test_the_page_of_a_command():
    row = Command(
        "x:y",
        "does",
        (Variable("THING", "", "file", needed=True), Variable("COUNT", "--count", "3|4")),
        ("--quick",),
    )
    text = reference.page("work", row, parser(), {"../docs/a.md": "A"})
    assert text.startswith("# work\n\nDoes a thing.\n\n```text\nmake work THING=file [COUNT=3|4]\n")
    assert "| `THING` | path | needed | what it is | `THING=file` |" in text
    assert r"| `--count` | whole number from 1 | `3` | how many \| often | `COUNT=3\|4` |" in text
    assert "| `--quick` | - | - | not all | - |" in text
    assert "make adds `--quick`." in text and "[A](../../docs/a.md)" in text
    assert "no target" in reference.page("work", row._replace(target=False), parser(), {})


def test_an_option_that_no_word_is_said_of():
    def work(count: int = 3, told: int = typer.Option(1, help="told")) -> None:
        """Does a thing."""

    assert reference.untold(application("work", work)) == ["--count"]


def test_pages_that_tell_of_a_command():
    pages = {"a.md": "# `A`\nmake sim", "b.md": "# B\nrasca sim, make sim", "c.md": "make sim-x"}
    assert list(reference.telling("sim", pages).items()) == [("b.md", "B"), ("a.md", "A")]


# ---- keys of JSON files ----


def test_every_key_is_told_and_every_told_key_is_made():
    assert keys.faults(ROOT) == []


def test_keys_that_are_told_or_made_alone(tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    (tmp_path / "x.py").write_text(
        "NAMES = ('one', 'two')\nclass Row:\n    three: int\n    four = 1\n"
        "def make():\n    a = {'five': 1, **{'six': 2}}\n    a['seven'] = dict(eight=3)\n"
        "    return a['nine']\n"
    )
    page = tmp_path / "docs" / "p.md"
    told = "| key | is |\n|---|---|\n| `one`, `two` | `three`, `five` |\n| `six` {`seven`} | |\n"
    page.write_text(f"# P\n\n## f.json\n\n{told}\n## More\n\n`eight`\n")
    file = keys.JsonFile("f.json", "sim", "p", "## f.json", ("x.py:NAMES", "x.py:Row", "x.py:make"))
    monkeypatch.setattr(keys, "FILES", (file,))
    assert keys.keys(tmp_path, file) == "one two three five six seven eight".split()
    assert keys.faults(tmp_path) == ["docs/p.md: expected `eight` of f.json"]
    page.write_text(page.read_text().replace("`three`, ", "`eight`, ").replace("`two`", "`ten`"))
    assert keys.faults(tmp_path) == [
        "docs/p.md: expected `two` of f.json",
        "docs/p.md: expected `three` of f.json",
        "docs/p.md: f.json: expected a key that some code makes, not `ten`",
    ]
    monkeypatch.setattr(keys, "FILES", (file._replace(code=("x.py:none",)),))
    assert keys.faults(tmp_path) == [
        "x.py:none: expected a function, a class or a constant of that name"
    ]
    monkeypatch.setattr(keys, "FILES", (file._replace(begin="## none"),))
    assert keys.faults(tmp_path) == ["docs/p.md: expected a line that begins with ## none"]


WITHIN = set(
    "arguments coarse cut export found mapped netlist progress records routed rtl "
    "{TOP} TOP OUT".split()
)
"""JSON files between a command and its tools, or its own next run: nobody else reads them."""
DRAWN = {"wave_{key}", "bitstream_{board.name}_{name}", "config"}
"""WaveDrom's format; copies of a build's summary.json; LibreLane's configuration."""
READ = {"network", "annotations"}
"""What a stranger sends to be read (sim.strangers)."""


def test_no_json_file_is_left_out():
    told = " ".join(file.place for file in keys.FILES).replace("<name>", "{name}")
    found = set()
    for package in ("golden", "hw", "boards", "sim", "rasca"):
        for path in (ROOT / package).rglob("*.py"):
            if path.parent != ROOT / "rasca" / "site":
                found |= set(re.findall(r"([\w{}.]+)\.jsonl?\b", path.read_text()))
    assert {name for name in found - WITHIN - DRAWN - READ if f"{name}.json" not in told} == set()
    assert "{name}.flash" in found and "cases" in found


def test_the_page_of_keys():
    text = keys.page(ROOT)
    for file in keys.FILES:
        assert f"## {reference.cell(file.place)}\n" in text
        assert file.command in COMMANDS
    assert "| `rows`, `rows_equal` | row groups of a frame; those in which nothing " in text
    assert re.search(r"^\| `first_difference` \| \[build/sim/", text, re.M)


# ---- equations ----


def numbers(text):
    """Numbers of the equations that a text names, ranges written out."""
    found = set()
    for listed in re.findall(r"\bEq\. ?(\d+(?:(?:-|, | and )\d+)*)", text):
        for part in re.split(r", | and ", listed):
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    return found


def equations():
    """(name, paths) of each row of the table of docs/network.md."""
    text = (ROOT / "docs" / "network.md").read_text()
    for line in text.splitlines():
        cells = line.split(" | ")
        if line.startswith(("| Eq. ", "| Sec. ", "| Fig. ")):
            yield cells[0].removeprefix("| "), re.findall(r"\]\(\.\./([^)]+)\)", line)


def test_each_equation_has_its_files_and_they_name_it():
    told = set()
    for name, paths in equations():
        told |= numbers(name)
        assert paths, name
        for path in paths:
            text = (ROOT / path).read_text()
            if name.startswith("Eq."):
                assert numbers(name) <= numbers(text), f"{path} does not name {name}"
            else:
                assert name in text, f"{path} does not name {name}"
    assert told == set(range(1, 17))
    named = numbers((ROOT / "docs" / "network.md").read_text())
    assert named == told


def test_numbers_of_equations():
    assert numbers("(Eq. 1, 13), Eq. 2-4 and Eq. 7 and 9, Eq. x") == {1, 13, 2, 3, 4, 7, 9}


# ---- the drawing ----


def test_the_drawing_and_its_table_are_of_the_plan_as_it_is():
    """After a change of the plan: `rasca drawing`."""
    plan = drawing.plan()
    assert drawing.PICTURE.read_text() == drawing.svg(plan), "run: rasca drawing"
    assert f"\n{drawing.table(plan)}\n" in drawing.PAGE.read_text()
    other = compile_program(plan.model, EngineConfig.parse("8,1,4"))
    assert drawing.svg(other) != drawing.svg(plan) and drawing.table(other) != drawing.table(plan)


def test_the_drawing_tells_every_operation():
    plan = drawing.plan()
    text = drawing.svg(plan)
    for op in plan.operations:
        assert f"{op.name}: {drawing.what(op)}" in text
        assert f"cycles {op.start:,} to {op.last_step:,}" in text
    ends = drawing.Clock(plan).ends
    assert ends[0] == 0 and ends[-1] == pytest.approx(100) and ends == sorted(ends)
    assert f"{plan.cycles_per_row_group:,} cycles, to scale" in text
    attention = compile_program(
        drawing.preset("vww_105x120_full"), EngineConfig.parse(drawing.SHAPE)
    )
    assert "scores and softmax (Eq. 7)" in drawing.svg(attention)


# ---- the site ----


def test_what_is_missing_is_told(monkeypatch):
    monkeypatch.setattr(main, "missing", lambda: "sphinx")
    with pytest.raises(CommandError, match="the package sphinx, .*requirements-docs.lock brings"):
        main.main(check_only=False, folder=Path("none"))
    main.main(check_only=True, folder=Path("none"))


def test_a_wrong_page_ends_it(monkeypatch):
    monkeypatch.setattr(main, "check", lambda: ["a.md:1: b: expected a file that is there"])
    with pytest.raises(CommandError, match="a.md:1: b") as ended:
        main.main(check_only=True, folder=Path("none"))
    assert ended.value.status == 1


def test_source_files_that_pages_link_to_are_shown():
    made = {}
    page = ROOT / "docs" / "x.md"
    text = "[a](../golden/config.py) [b](network.md) [c](scan.png) [d](none.py)"
    assert main.shown(text, page, made) == text.replace("config.py", "config.py.md")
    assert [str(name) for name in made] == ["golden/config.py.md", "golden/config.py"]


@needs_sphinx
def test_a_site_of_two_pages(tmp_path):
    source, place = tmp_path / "source", tmp_path / "site"
    (source / "_static").mkdir(parents=True)
    place.mkdir()
    shutil.copy(ROOT / "docs" / "conf.py", source)
    shutil.copy(ROOT / "docs" / "site.css", source / "_static")
    first = "# A\n\n[b](b.md#so-it-is)\n\n```{toctree}\nb\n```\n"
    (source / "README.md").write_text(first)
    (source / "b.md").write_text("# B\n\n## So it is\n")
    assert main.build(source, place) == []
    assert (place / "b.html").is_file() and "site.css" in (place / "README.html").read_text()
    (source / "README.md").write_text(first.replace("#so-it-is", "#so-it-was"))
    (found,) = main.build(source, place)
    assert found.startswith("README.md:3: ") and "so-it-was" in found
