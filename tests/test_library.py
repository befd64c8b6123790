"""docs/library.md and examples/rasca.ipynb, run as they stand; the facade's bad input."""

import ast
import doctest
import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import rasca
from golden.config import preset
from golden.model import IntegerModel
from golden.quantise import trained_weights
from golden.visualise import class_activation_map
from sim.study.point import Design, Use, evaluate

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "library.md"
NOTEBOOK = ROOT / "examples" / "rasca.ipynb"
NETWORK = "vww_105x120"


# ---- the page ----


def test_the_page_runs():
    found = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert found.attempted > 20 and found.failed == 0


def test_each_function_has_its_part():
    """A heading, its arguments as they are, an example that calls it, a line in the table."""
    text = PAGE.read_text(encoding="utf-8")
    parts = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, flags=re.M | re.S))
    functions = [name for name in rasca.__all__ if name[0].islower()]
    assert sorted(parts) == sorted(functions)
    for name in functions:
        signature = inspect.signature(getattr(rasca, name))
        plain = signature.replace(
            parameters=[one.replace(annotation=one.empty) for one in signature.parameters.values()],
            return_annotation=signature.empty,
        )
        assert f"`{name}{plain}`".replace("'", '"') in parts[name], name
        assert re.search(rf">>> .*rasca\.{name}\(", parts[name]), name
        assert f"[`{name}`](#{name})" in text


# ---- the notebook ----


def read():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def faults(notebook):
    """What is not as nbformat 4.5 has it, or is an output."""
    found = []
    if (notebook["nbformat"], notebook["nbformat_minor"]) != (4, 5):
        found.append("nbformat")
    for cell in notebook["cells"]:
        kind = cell["cell_type"]
        keys = {"cell_type", "id", "metadata", "source"}
        keys |= {"execution_count", "outputs"} if kind == "code" else set()
        lines = cell["source"]
        whole = all(line.endswith("\n") for line in lines[:-1]) and not lines[-1].endswith("\n")
        if kind not in ("code", "markdown") or set(cell) != keys or not whole:
            found.append(cell["id"])
        elif not re.fullmatch(r"[\w-]{1,64}", cell["id"]) or cell.get("outputs"):
            found.append(cell["id"])
        elif kind == "code" and cell["execution_count"] is not None:
            found.append(cell["id"])
    names = [cell["id"] for cell in notebook["cells"]]
    return found + ["id"] * (len(set(names)) != len(names))


def test_notebook_is_one_without_outputs():
    notebook = read()
    assert faults(notebook) == [] and len(notebook["cells"]) > 20
    first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    first["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["x"]}]
    notebook["cells"][1]["id"] = notebook["cells"][0]["id"]
    assert faults(notebook) == [first["id"], "id"]


def play(sources, names):
    """Runs cells in one namespace; yields what each shows: its last expression's value."""
    for source in sources:
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "cell", "exec"), names)
        yield last and eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def test_the_notebook_runs(monkeypatch, tmp_path, capsys):
    """Every cell, in another folder than the checkout; what a reader is to see is there."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    names = {}
    sources = ["".join(one["source"]) for one in read()["cells"] if one["cell_type"] == "code"]
    try:
        shown = list(play(sources, names))
        assert len(plt.get_fignums()) == 4
    finally:
        plt.close("all")
    by_kind = [type(one).__name__ for one in shown]
    assert by_kind.count("Image") == 2 and by_kind.count("Waveform") == 2
    (page,) = [one for one in shown if isinstance(one, rasca.Report)]
    frame = page._repr_html_()
    assert frame.startswith("<iframe srcdoc=") and "<html" not in frame and "&lt;html" in frame
    assert shown[by_kind.index("Waveform")]._repr_svg_().startswith("<svg ")
    said = capsys.readouterr().out
    plan = rasca.plan(NETWORK, "8,1,2")
    assert f"{plan.cycles_per_frame:,} a frame" in said
    assert sum(one["cycles"] for one in names["layers"]) == plan.cycles_per_row_group
    assert not list(tmp_path.iterdir())


# ---- what it tells ----


def test_map_is_the_states():
    """Of the model's own states on the stretched picture; grey ones go through it, too."""
    model = preset(NETWORK)
    weights = trained_weights(model)
    rows = torch.arange(model.image_height)[:, None, None]
    picture = ((rows * 3 + torch.arange(model.image_width)[None, :, None]) % 256).expand(-1, -1, 3)
    picture = picture.to(torch.uint8)
    result = IntegerModel(model, weights).run(picture.permute(2, 0, 1)[None])
    wanted = class_activation_map(result.state[0].numpy(), weights, model.stop_index)
    found = rasca.activation_map(NETWORK, picture.numpy())
    assert np.array_equal(found, wanted)
    assert not np.array_equal(rasca.activation_map(NETWORK, 255 - picture.numpy()), wanted)
    assert np.array_equal(rasca.activation_map(NETWORK, picture[..., 0].numpy()), wanted)


def test_sweep_is_the_exploration():
    shapes = ["8,1,2", "8,2,1"]
    found = rasca.sweep(NETWORK, shapes, tech="22nm", clock_mhz=50, fps=20)
    use = Use(technology="22nm", clock_mhz=50, frames_per_s=20)
    for one, shape in zip(found, shapes, strict=True):
        (wanted,) = evaluate(Design(preset=NETWORK, shape=shape), [use])
        assert one["shape"] == shape and one.items() <= wanted.items() and len(one) > 12
    assert rasca.sweep(NETWORK, []) == []


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: rasca.sweep(NETWORK, ["8,1"]), "a shape is three whole numbers"),
        (lambda: rasca.sweep(NETWORK, ["8,1,2"], tech="7nm"), "7nm"),
        (lambda: rasca.sweep(NETWORK, ["8,1,2"], clock_mhz=0), "must be above 0, not 0"),
        (lambda: rasca.report(NETWORK, tech="7nm"), "7nm"),
        (lambda: rasca.report(NETWORK, clock_mhz=1, fps=30), "need a clock of at least"),
        (lambda: rasca.draw(NETWORK, np.zeros((3, 3))), "picture must be uint8"),
        (lambda: rasca.activation_map(NETWORK, np.zeros(3, np.uint8)), "picture must be uint8"),
        (lambda: rasca.waveforms("none"), "preset must be one of"),
    ],
)
def test_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()
