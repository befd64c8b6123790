""".github/workflows: the commands of .ci/run and CONTRIBUTING.md, and nothing that is not there."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from rasca.commands import targets
from rasca.environment import NEWEST, OLDEST

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def commands(text):
    """Lines that the steps of a workflow run."""
    jobs = yaml.safe_load(text)["jobs"].values()
    steps = [step for job in jobs for step in job["steps"]]
    return [line for step in steps for line in step.get("run", "").splitlines()]


def every():
    return [line for file in FILES for line in commands(file.read_text())]


def unknown(line, known):
    """What is wrong with a command: no target of make, no file of the repository; "" if nothing."""
    words = shlex.split(line)
    if words[0] == "make":
        names = [word for word in words[1:] if "=" not in word]
        return ", ".join(name for name in names if name not in known)
    if words[0].startswith(".venv/bin/python"):
        return ", ".join(word for word in words[1:] if "." in word and not (ROOT / word).is_file())
    return "" if words[:2] == ["sudo", "apt-get"] else words[0]


def test_each_command_is_there():
    text = (ROOT / "Makefile").read_text()
    known = {*targets(), *re.findall(r"^(\S+): ", text, re.M)}
    assert [found for line in every() if (found := unknown(line, known))] == []
    assert unknown("make sim none", known) == "none" and unknown("curl x", known) == "curl"
    assert unknown(".venv/bin/python -m pip install -r none.lock", known) == "none.lock"


def test_they_are_those_of_ci_and_of_contributing():
    lines = every()
    run = (ROOT / ".ci" / "run").read_text()
    (last,) = re.findall(r"^exec (make .*)$", run, re.M)
    assert last in lines
    (package,) = re.findall(r"apt-get install -q -y (\w+)", run)
    assert f"sudo apt-get install -q -y {package}" in lines
    told = (ROOT / "CONTRIBUTING.md").read_text().split("```")[1].splitlines()
    wanted = {line.split("#")[0].strip() for line in told if line.startswith("make")}
    assert wanted == {"make lint", "make test", "make docs"} <= set(lines)


def test_nothing_of_one_place():
    """No absolute path, no host but of the actions; each action with its version."""
    for file in FILES:
        text = file.read_text()
        assert "://" not in text and not re.search(r"(^|[\s\"'=])/\w", text), file.name
        for used in re.findall(r"uses: (.*)", text):
            assert re.fullmatch(r"actions/[\w-]+@v\d+", used), used


@pytest.mark.parametrize("name", ["lint", "test", "docs"])
def test_there_is_one(name):
    found = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())
    assert found["name"] == name
    versions = str(found["jobs"][name])
    assert f"{OLDEST[0]}.{OLDEST[1]}" in versions
    assert name != "test" or f"{NEWEST[0]}.{NEWEST[1]}" in versions
