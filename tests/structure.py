"""Figures of the code's structure: `python tests/structure.py [FOLDER]` prints them.

Product files are those of golden, hw, boards, sim and rasca. docs/architecture.md has the table.
"""

import ast
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
        "files that name compact": sum("compact" in p.read_text().lower() for p in lengths),
    }


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:34} {value}")
