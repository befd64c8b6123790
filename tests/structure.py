"""Figures of the code's structure: `python tests/structure.py [FOLDER]` prints them.

Product files are those of golden, hw, boards, sim and rasca. docs/architecture.md has the table.
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(sys.argv[1]) if __name__ == "__main__" and sys.argv[1:] else Path(__file__).parents[1]
PACKAGES = ("golden", "hw", "boards", "sim", "rasca")


def files():
    """Product files in order."""
    return [p for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py"))]


def elaborates():
    """(lines, "file:Class") of every `elaborate` method, longest first."""
    found = []
    for path in files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                for part in node.body:
                    if isinstance(part, ast.FunctionDef) and part.name == "elaborate":
                        lines = part.end_lineno - part.lineno + 1
                        found.append((lines, f"{path.relative_to(ROOT)}:{node.name}"))
    return sorted(found, reverse=True)


def classes():
    """("file:Class", its node) of hw and boards."""
    for path in files():
        if path.relative_to(ROOT).parts[0] in ("hw", "boards"):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef):
                    yield f"{path.relative_to(ROOT)}:{node.name}", node


def ports(node):
    """Names of the ports, or of a signature's members, that a class gives itself."""
    made = [part for part in node.body if getattr(part, "name", "") == "__init__"]
    for part in (inner for method in made for inner in ast.walk(method)):
        if isinstance(part, ast.Dict):
            for key, value in zip(part.keys, part.values, strict=True):
                if isinstance(key, ast.Constant) and _PORT.search(ast.unparse(value)):
                    yield key.value
        elif isinstance(part, ast.Call) and ast.unparse(part.func) == "dict.fromkeys":
            if len(part.args) == 2 and _PORT.search(ast.unparse(part.args[1])):
                names = ast.walk(part.args[0])
                yield from (name.value for name in names if isinstance(name, ast.Constant))


def told(node):
    """Names of which a class's docstring tells the direction and the shape."""
    text = ast.get_docstring(node) or ""
    return {name for names in _LINE.findall(text) for name in names.split(", ")}


_PORT = re.compile(r"\b(In|Out)\(")
_LINE = re.compile(r"((?:\w+, )*\w+) : (?:In|Out)\(")


def untold():
    """`file:Class port` of every port without a line of its own."""
    return [
        f"{place} {name}"
        for place, node in classes()
        for name in ports(node)
        if name not in told(node)
    ]


def measure():
    long = elaborates()
    lengths = {p: len(p.read_text().splitlines()) for p in files()}
    longest = max(lengths, key=lengths.get)
    return {
        "product files": len(lengths),
        "longest file": f"{longest.relative_to(ROOT)}, {lengths[longest]} lines",
        "files over 400 lines": sum(n > 400 for n in lengths.values()),
        "longest elaborate": f"{long[0][1]}, {long[0][0]} lines",
        "elaborate methods over 100 lines": f"{sum(n > 100 for n, _ in long)} of {len(long)}",
        "ports": f"{sum(len([*ports(node)]) for _, node in classes())}, {len(untold())} untold",
        "files that name compact": sum("compact" in p.read_text().lower() for p in lengths),
    }


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:34} {value}")
