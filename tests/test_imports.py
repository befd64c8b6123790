"""Arrows point one way: golden <- hw.plan <- hw <- boards <- sim <- rasca, and never in circles."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("golden", "hw.plan", "hw", "boards", "sim", "rasca")
"""Each imports those before it only; wherever in the file, also inside functions."""
UNRULY: dict[tuple[str, str], str] = {}
"""Arrows that are still to be turned, (from, to) and by whom; the list only gets shorter."""


def modules():
    """Name to path of every module of the product."""
    found = {}
    for folder in ("golden", "hw", "boards", "sim", "rasca"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(path, name=""):
    """(module, line, whether it is imported at run time) of what a file imports of the product."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    only_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        found = []
        if isinstance(node, ast.Import):
            found = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            for _ in range(node.level - 1):
                package = package.rpartition(".")[0]
            base = ".".join(filter(None, (package if node.level else "", node.module)))
            inner = [f"{base}.{one.name}" for one in node.names]
            found = [one if one in MODULES else base for one in inner]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            text = node.args[0]
            if isinstance(text, ast.JoinedStr):  # "boards.{name}"
                text = text.values[0]
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                found = [text.value.rstrip(".")]
        for one in found:
            if one in MODULES:
                yield one, node.lineno, id(node) not in only_types


def layer(module):
    """Number of the layer that a module is in."""
    inside = [one for one in LAYERS if module == one or module.startswith(f"{one}.")]
    return LAYERS.index(max(inside, key=len))


def upward():
    """(from, to) to the place of every arrow that points the wrong way."""
    return {
        (name, other): f"{path.relative_to(ROOT)}:{line}"
        for name, path in MODULES.items()
        for other, line, _ in imports(path, name)
        if layer(other) > layer(name)
    }


def circles():
    """Sets of modules that import each other (Tarjan)."""
    graph = {
        name: {other for other, _, now in imports(path, name) if now and other != name}
        for name, path in MODULES.items()
    }
    index, low, stack, found = {}, {}, [], []

    def visit(name):
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            circle = set()
            while name not in circle:
                circle.add(stack.pop())
            if len(circle) > 1:
                found.append(frozenset(circle))

    for name in graph:
        if name not in index:
            visit(name)
    return set(found)


def test_arrows_point_down():
    found = upward()
    new = [f"{place}: {a} imports {b}" for (a, b), place in found.items() if (a, b) not in UNRULY]
    assert not new, "\n".join(new)
    gone = [arrow for arrow in UNRULY if arrow not in found]
    assert not gone, f"turned, take them out of UNRULY: {gone}"


def test_no_circles():
    found = [" <-> ".join(sorted(circle)) for circle in circles()]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("import sim.main", ["sim.main"]),
        ("from sim import main", ["sim.main"]),
        ("from sim.main import OUTPUT", ["sim.main"]),
        ("def f():\n    from hw import top", ["hw.top"]),
        ("importlib.import_module('hw.plan').plan", ["hw.plan"]),
        ("import numpy, hwx", []),
        ("from hw.plan import compile_program, cost", ["hw.plan", "hw.plan.cost"]),
    ],
)
def test_every_way_to_import_is_seen(text, wanted, tmp_path):
    path = tmp_path / "a.py"
    path.write_text(text)
    assert [one for one, _, _ in imports(path, "golden.a")] == wanted


def test_layers():
    assert [layer(one) for one in ("golden.model", "hw.plan.cost", "hw.top", "sim.study.asic")] == [
        0, 1, 2, 4,
    ]  # fmt: skip
    assert layer("hw.plan") == 1 and layer("hw.planning") == 2


def test_plan_needs_no_torch_and_no_amaranth():
    """Nor does anything that it stands on."""
    seen, todo = set(), ["hw.plan"]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        text = MODULES[name].read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            names = []
            if isinstance(node, ast.Import):
                names = [one.name for one in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            wrong = {one.partition(".")[0] for one in names} & {"torch", "amaranth", "typer"}
            assert not wrong, f"{name} imports {wrong}"
        todo += [other for other, _, now in imports(MODULES[name], name) if now]
    assert "golden.config" in seen


def test_pyosys_stays_in_a_process_of_its_own():
    """From its import on, whatever is loaded mixes its names with all that is loaded: matplotlib
    breaks at torch's. Only the process of boards/yosys.py imports it, and texts that are run."""
    files = [*MODULES.values(), *(ROOT / "tests").glob("*.py")]
    found = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "pyosys" for name in names):
                found.add(path.relative_to(ROOT).as_posix())
    assert found == {"boards/yosys.py"}
