"""A user's own network from a TOML, YAML or JSON file, and every error in one line."""

import json
from pathlib import Path

import pytest

from golden.config import ModelConfig, preset

FIELDS = {
    "image_height": 21,
    "image_width": 64,
    "heads": 1,
    "state_channels": 6,
    "classes": ["nothing", "cat", "dog"],
    "stop_class": "dog",
    "in_channels": 1,
}
BLOCKS = [
    {"rows": 3, "columns": 3, "channels": 2},
    {"rows": 1, "columns": 3, "channels": 3},
    {"rows": 3, "columns": 1, "channels": 4},
    {"rows": 1, "columns": 3, "channels": 5},
    {"rows": 3, "columns": 3, "channels": 6},
]
WANTED = ModelConfig(
    name="net",
    head_channels=(2, 3, 4, 5, 6),
    head_kernels=((3, 3), (1, 3), (3, 1), (1, 3), (3, 3)),
    **FIELDS,
)
TOML = """
image_height = 21
image_width = 64
heads = 1
state_channels = 6
classes = ["nothing", "cat", "dog"]
stop_class = "dog"
in_channels = 1
"""
TOML_BLOCKS = """
blocks = [
    {rows = 3, columns = 3, channels = 2},
    {rows = 1, columns = 3, channels = 3},
    {rows = 3, columns = 1, channels = 4},
    {rows = 1, columns = 3, channels = 5},
    {rows = 3, columns = 3, channels = 6},
]
"""
YAML = """
image_height: 21
image_width: 64
heads: 1
state_channels: 6
classes: [nothing, cat, dog]
stop_class: dog
in_channels: 1
head_channels: [2, 3, 4, 5, 6]
head_kernels: [[3, 3], [1, 3], [3, 1], [1, 3], [3, 3]]
"""
GOOD = {
    "net.toml": TOML + TOML_BLOCKS,
    "net.yaml": YAML,
    "net.yml": YAML.replace("classes: [nothing, cat, dog]", "classes:\n- nothing\n- cat\n- dog"),
    "net.json": json.dumps(FIELDS | {"blocks": BLOCKS}),
    "net.TOML": TOML + TOML_BLOCKS,
    "other.json": "\ufeff" + json.dumps(FIELDS | {"blocks": BLOCKS, "name": "net"}),
}


@pytest.mark.parametrize("name", GOOD)
def test_formats(tmp_path, name):
    path = tmp_path / name
    path.write_text(GOOD[name], encoding="utf-8")
    assert preset(str(path)) == WANTED and preset(path) == WANTED
    assert preset(path).digest == WANTED.digest


def test_a_file_beside_the_presets(tmp_path, monkeypatch):
    """A name without a folder is a file by its ending; the paper's kernels need not be written."""
    monkeypatch.chdir(tmp_path)
    fields = "image_height: 105\nimage_width: 120\nheads: 2\nstate_channels: 40\n"
    (tmp_path / "own.yaml").write_text(fields + "head_channels: [5, 9, 18, 32]\n")
    assert preset("own.yaml").digest == preset("vww_105x120").digest
    assert preset("own.yaml").name == "own"


def json_of(**changes):
    fields = FIELDS | {"blocks": BLOCKS} | changes
    return json.dumps({key: value for key, value in fields.items() if value is not ...})


HUGE = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
BAD = {
    # name: (content, what the error says after the path)
    "gone.toml": (None, "no such file"),
    "net.txt": ("heads = 1", r"must end in .toml, .yaml, .yml, .json, not '.txt'"),
    "a.toml": ("heads = ]", "not a TOML file .*line 1"),
    "twice.toml": ("heads = 1\nheads = 2", "not a TOML file .*Cannot overwrite a value"),
    "a.yaml": ("heads: [1", "not a YAML file .*line 1"),
    "tag.yaml": ("heads: !!python/object/apply:os.getpid []", "not a YAML file .*constructor"),
    "twice.yaml": ("heads: 1\nheads: 2", "not a YAML file .*field 'heads' is given twice"),
    "list.yaml": ("- heads", r"must hold fields \(name: value\), not \['heads'\]"),
    "empty.yml": ("", r"must hold fields \(name: value\), not None"),
    "huge.yaml": (HUGE, "'a' is no field; there are name, image_height"),
    "a.json": ("{", "not a JSON file .*line 1"),
    "twice.json": ('{"heads": 1, "heads": 2}', "field 'heads' is given twice"),
    "number.json": ("5", r"must hold fields \(name: value\), not 5"),
    "deep.json": ("[" * 100_000, "not a JSON file"),
    "bytes.toml": (b"\xff\xfe", "not a TOML file .*utf-8"),
    "word.json": (json_of(head=1), "'head' is no field; .*; did you mean heads"),
    "none.json": (json_of(heads=...), "heads is missing$"),
    "above.json": (json_of(name=".."), "name must be of letters, .*not begin with '.'.*, not '..'"),
    "blocks.json": (json_of(blocks=...), r"head_channels is missing \(or blocks\)$"),
    "both.json": (json_of(head_channels=[1]), "give either blocks or head_channels, not both"),
    "also.json": (json_of(head_kernels=[[3, 3]]), "give either blocks or head_kernels, not both"),
    "value.json": (json_of(heads=9), "heads must be an integer, 1..4, not 9"),
    "text.json": (json_of(heads="2"), "heads must be an integer, 1..4, not '2'"),
    "float.json": (json_of(image_height=21.0), "image_height must be an integer, .*, not 21.0"),
    "null.json": (json_of(classes=None), "classes must be a list of 2..16 names, not None"),
    "stop.json": (json_of(stop_class="cow"), "stop_class must be one of nothing, cat, dog, not"),
    "no_blocks.json": (json_of(blocks=[]), r"blocks must be a list of blocks, not \[\]"),
    "block.json": (json_of(blocks=[3]), r"blocks\[0\] must have rows, columns, channels .*, not 3"),
    "more.json": (
        json_of(blocks=[BLOCKS[0] | {"pool": 2}]),
        r"blocks\[0\] must have rows, columns, channels and nothing else, not .*pool",
    ),
    "rows.json": (
        json_of(blocks=[*BLOCKS[:1], BLOCKS[1] | {"rows": 2}]),
        r"blocks\[1\].rows must be 1, 3, 5, 7 or 9, not 2",
    ),
    "columns.json": (
        json_of(blocks=[BLOCKS[0] | {"columns": 5}]),
        r"blocks\[0\].columns must be 1 or 3, not 5",
    ),
    "channels.json": (
        json_of(blocks=[BLOCKS[0] | {"channels": 0}]),
        r"blocks\[0\].channels must be an integer, at least 1, not 0",
    ),
    "sum.json": (json_of(blocks=BLOCKS[1:2]), "reduce to one must be 3, 5, 7 or 9, not 1"),
    "name.json": (json_of(name="../a b"), r"name must be of letters, .*, not '\.\./a b'"),
    "none_name.json": (json_of(name=""), "name must be a text that is not empty, not ''"),
    "spaces in it.json": (json_of(), "name must be of letters, .*, not 'spaces in it'"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_in_one_line(tmp_path, name):
    content, text = BAD[name]
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=text) as error:
        preset(str(path))
    said = str(error.value)
    assert said.startswith(f"{path}: ") and "\n" not in said and len(said) < 600


def test_a_folder_is_no_network(tmp_path):
    with pytest.raises(ValueError, match="net.toml: no such file .expected .* not a folder"):
        (tmp_path / "net.toml").mkdir()
        preset(tmp_path / "net.toml")


def test_the_example_of_the_documentation(tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "network.md").read_text()
    text = page.split("```toml\n")[1].split("```")[0]
    (tmp_path / "net.toml").write_text(text)
    config = preset(tmp_path / "net.toml")
    assert (config.rows_per_group, config.class_count, config.in_channels) == (7, 3, 1)
    assert config.stop_class == "cat" and config.name == "net"
    for name in ("vww_210x240", "vww_210x240_banded", "vww_105x120", "vww_105x120_full"):
        row = next(line for line in page.splitlines() if name.split("_full")[0] in line
                   and f"{preset(name).operations:,}" in line)  # fmt: skip
        for figure in ("parameters", "peak_elements", "array_macs_row_group", "array_macs_frame"):
            assert f"{getattr(preset(name), figure):,}" in row
