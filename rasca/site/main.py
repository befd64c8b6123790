"""`make docs`: the pages of docs/ and those that are made from the code, as a site.

The folder that Sphinx reads has the repository's own layout, so that links are what they are on
GitHub: README.md is the first page, docs/ lies below it, reference/ is made here, and each source
file that a page links to gets a page that shows it.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from golden import files
from golden.command_line import bad_input
from golden.errors import DIFFERENT, CommandError, note
from rasca.commands import COMMANDS
from rasca.site import keys, links, navigation, reference
from rasca.version import version

ROOT = files.ROOT
NEEDS = ("sphinx", "myst_parser", "furo")
SHOWN = (".py", ".toml", ".json", ".c", ".h", ".ipynb")
"""Endings of files that get a page which shows them where a page links to them."""


def markdown() -> list[Path]:
    """Every page that somebody wrote."""
    return [ROOT / f"{page}.md" for page in (navigation.ROOT_PAGE, *navigation.pages())
            if not page.startswith(navigation.MADE)]  # fmt: skip


def unlisted() -> list[str]:
    """Pages of docs/ that the navigation has not, and pages that it has and that are not there."""
    listed = set(markdown())
    found = {ROOT / "README.md", *(ROOT / "docs").glob("*.md")}
    lines = [f"{one.relative_to(ROOT)}: expected in rasca/site/navigation.py"
             for one in sorted(found - listed)]  # fmt: skip
    return lines + [
        f"{one.relative_to(ROOT)}: expected a page, as rasca/site/navigation.py has it"
        for one in sorted(listed)
        if not one.is_file()
    ]


def lost(name: str, text: str) -> list[str]:
    """Lines of a page that the site would not show: MyST takes them for comments."""
    return [
        f"{name}:{number}: expected another beginning of the line than {line.split()[0]}"
        for number, line in links.prose(text)
        if line.lstrip().startswith(("%", "+++"))
    ]


def check() -> list[str]:
    """All that is wrong with the pages and can be told without building them."""
    pages = [one for one in markdown() if one.is_file()]
    hidden = [
        line
        for page in pages
        for line in lost(str(page.relative_to(ROOT)), page.read_text(encoding="utf-8"))
    ]
    return [*unlisted(), *links.faults(ROOT, pages), *hidden]


def missing() -> str | None:
    """The first package of the extra that is not installed."""
    return next((one for one in NEEDS if importlib.util.find_spec(one) is None), None)


def shown(text: str, page: Path, made: dict[Path, str]) -> str:
    """A page whose links to source files lead to pages that show them, put in `made`."""

    def led(found: re.Match[str]) -> str:
        place = (page.parent / found[1]).resolve()
        if not place.is_file():
            return found[0]
        name = place.relative_to(ROOT)
        if place.suffix in SHOWN or place.name == "LICENSE":
            made[name.with_name(f"{name.name}.md")] = (
                f"---\norphan: true\n---\n\n# {reference.cell(name)}\n\n"
                f"```{{literalinclude}} {name.name}\n```\n"
            )
            made[name] = place.read_text(encoding="utf-8")
            return found[0].replace(found[1], f"{found[1]}.md")
        return found[0]

    return re.sub(r"\]\(([^)#\s:]+)\)", led, text)


def commands(pages: Mapping[str, str]) -> dict[str, str]:
    """The pages of reference/ that are made from the command table.

    Raises
    ------
    ValueError
        An option that no word is said of.
    """
    from rasca.__main__ import load

    made = {"commands.md": reference.index(), "variables.md": reference.variables()}
    for name, command in COMMANDS.items():
        parser = load(name)
        bare = reference.untold(parser)
        if bare:
            raise ValueError(f"rasca {name}: expected a help text for {', '.join(bare)}")
        told = {f"../{place}": title for place, title in reference.telling(name, pages).items()}
        made[f"commands/{name}.md"] = reference.page(name, command, parser, told)
    return made


def lay_out(folder: Path) -> None:
    """All that Sphinx reads, in a new folder."""
    made: dict[Path, str] = {}
    pages = {}
    for page in markdown():
        name = page.relative_to(ROOT)
        text = page.read_text(encoding="utf-8")
        pages[str(name)] = text
        made[name] = shown(text, page, made)
    made[Path("README.md")] += "\n" + navigation.toctrees()
    for name, text in {**commands(pages), "keys.md": keys.page(ROOT)}.items():
        made[Path(reference.FOLDER) / name] = text
    made[Path("conf.py")] = (ROOT / "docs" / "conf.py").read_text(encoding="utf-8")
    made[Path("_static/site.css")] = (ROOT / "docs" / "site.css").read_text(encoding="utf-8")
    for name, text in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    for picture in sorted((ROOT / "docs").iterdir()):
        if picture.suffix in (".png", ".svg", ".gif"):
            shutil.copyfile(picture, folder / "docs" / picture.name)


def build(source: Path, place: Path) -> list[str]:
    """Sphinx's HTML of a folder of pages; a line for each warning and each link that leads nowhere.

    Parameters
    ----------
    source : path
        With conf.py.
    place : path
        Gets the HTML; a folder that is there.
    """
    work = place / ".work"
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q"]
    command += ["-d", str(work / "doctrees"), "-D", f"release={version()}"]
    done = subprocess.run(
        [*command, str(source), str(work / "html")], capture_output=True, text=True
    )
    if done.returncode:
        return [line.replace(f"{source}/", "") for line in done.stderr.splitlines() if line]
    for one in (work / "html").iterdir():
        if one.name not in (".buildinfo", "_sources", "objects.inv"):
            one.rename(place / one.name)
    shutil.rmtree(work)
    return links.faults_of_site(place)


def main(
    check_only: Annotated[
        bool, typer.Option("--check", help="only what can be checked without Sphinx")
    ] = False,
    folder: Annotated[Path, typer.Option(help="where to write")] = files.BUILD / "site",
) -> None:
    """Builds the documentation as a site, without a warning or not at all."""
    if not (ROOT / "docs").is_dir():
        raise CommandError(f"expected a checkout with docs/, not {ROOT}")
    wrong = [*check(), *keys.faults(ROOT)]
    if wrong:
        raise CommandError("\n".join(wrong), DIFFERENT)
    if check_only:
        return
    package = missing()
    if package is not None:
        raise CommandError(
            f"expected the package {package}, which make docs needs; "
            ".venv/bin/python -m pip install --require-hashes --no-deps -r requirements-docs.lock "
            "brings it"
        )
    with bad_input():
        files.check_folder(folder)
        with files.run_folder(folder) as place:
            source = place / ".source"
            source.mkdir()
            lay_out(source)
            wrong = build(source, place)
            shutil.rmtree(source)
            if wrong:
                raise CommandError("\n".join(wrong), DIFFERENT)
            shutil.copyfile(place / f"{navigation.ROOT_PAGE}.html", place / "index.html")
            count = len(list(place.rglob("*.html")))
    note(f"{folder}/index.html: {count} pages, every link checked")
