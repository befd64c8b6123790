"""What a stranger may send is refused in one line, and before it takes time or memory."""

import gzip
import io
import random
import zipfile

import pytest
import torch

from golden import checkpoint, config_file, training_run
from golden.weights import Weights
from sim.study import explore, liberty
from tests import strangers


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return strangers.readers(tmp_path_factory.mktemp("known"))


NAMES = (
    *("checkpoint.pt", "weights.safetensors", "network.yaml", "network.toml", "network.json"),
    *("space.yaml", "cells.lib", "annotations.json", "serial.bin"),
    *(f"picture.{kind}" for kind in ("png", "gif", "bmp", "jpeg", "tiff", "webp", "ppm")),
)


@pytest.mark.parametrize("name", NAMES)
def test_changed_files_are_taken_or_refused(name, known, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    whole, read = known[name]
    assert strangers.play(name, read, whole, tmp_path)
    for seed in range(20):
        data = strangers.changed(whole, random.Random(f"{seed} {name}"))
        strangers.play(name, read, data, tmp_path)


def test_all_are_played(known):
    assert set(known) == set(NAMES)


def test_what_is_neither_is_found(tmp_path):
    def read(path):
        return path.read_bytes()[99]

    with pytest.raises(AssertionError, match="a.bin: IndexError"):
        strangers.play("a.bin", read, b"x", tmp_path)


def test_two_lines_are_found(tmp_path):
    def read(path):
        raise ValueError("a\nb")

    with pytest.raises(AssertionError, match="more than a line"):
        strangers.play("a.bin", read, b"x", tmp_path)


def packed_zeros(path, count):
    """A checkpoint whose zeros are compressed, as torch.save never does."""
    plain = io.BytesIO()
    torch.save({"state_dict": {"a": torch.zeros(count)}}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))


def test_an_archive_that_unpacks_to_more(tmp_path):
    path = tmp_path / "bomb.pt"
    packed_zeros(path, 1 << 20)
    with pytest.raises(ValueError, match="bomb.pt: refused: .* at most its own .* not 4,19"):
        checkpoint.read_state_dict(path)
    with pytest.raises(ValueError, match="bomb.pt: refused"):
        training_run.check_packed(path)


def test_a_view_of_any_shape(tmp_path):
    path = tmp_path / "view.pt"
    torch.save({"state_dict": {"a": torch.zeros(1).expand(1 << 20, 1 << 20)}}, path)
    with pytest.raises(ValueError, match="view.pt: a must have at most the file's .* not 4,398"):
        checkpoint.read_state_dict(path)


def lines_of_merges(count):
    lines = ["a0: &a0 {b: 1, c: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, count)]
    return "\n".join(lines)


def test_merges(tmp_path):
    path = tmp_path / "laughs.yaml"
    path.write_text(lines_of_merges(60))
    for read in (config_file.read_fields, explore.read_space):
        with pytest.raises(ValueError, match="laughs.yaml.*tag:yaml.org,2002:merge"):
            read(path)


@pytest.mark.parametrize("ending", ["yaml", "toml", "json"])
def test_a_large_file_of_fields(ending, tmp_path):
    path = tmp_path / f"large.{ending}"
    path.write_text(" " * (config_file.MOST_BYTES + 1))
    for read in (config_file.read_fields, explore.read_space):
        with pytest.raises(ValueError, match="must have at most 1,048,576 bytes, not 1,048,577"):
            read(path)


@pytest.mark.parametrize("ending", ["yaml", "toml", "json"])
def test_brackets_in_brackets(ending, tmp_path):
    path = tmp_path / f"deep.{ending}"
    path.write_text(("a = " if ending == "toml" else "") + "[" * 2000)
    for read in (config_file.read_fields, explore.read_space):
        with pytest.raises(ValueError, match="deep"):
            read(path)


def test_groups_in_groups(tmp_path):
    path = tmp_path / "deep.lib"
    path.write_text("library (a) {" + "b (c) {" * 20000)
    with pytest.raises(ValueError, match="deep.lib is no Liberty file that can be read"):
        liberty.read(path)


def test_long_functions():
    assert liberty.value("!" * 100 + "a", {"a": 1}) == 1
    with pytest.raises(ValueError, match="at most 200 words, not 5001"):
        liberty.value("!" * 5000 + "a", {"a": 1})


def test_a_library_that_unpacks_to_more(monkeypatch, tmp_path):
    monkeypatch.setattr(liberty, "MOST_BYTES", 1 << 20)
    path = tmp_path / "bomb.lib.gz"
    path.write_bytes(gzip.compress(b" " * (1 << 21)))
    with pytest.raises(ValueError, match="bomb.lib.gz: must unpack to at most 1,048,576 bytes"):
        liberty.read(path)
    path.write_bytes(b"\n" * (1 + (1 << 20)))
    with pytest.raises(ValueError, match="must have at most 1,048,576 bytes, not 1,048,577"):
        liberty.read(path)


def test_deep_metadata(tmp_path):
    from safetensors.torch import save_file

    from golden.weights import _METADATA_KEY

    path = tmp_path / "deep.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={_METADATA_KEY: "[" * 100_000})
    with pytest.raises(ValueError, match="deep.safetensors: not a whole safetensors file"):
        Weights.load(path, strangers.MODEL)
