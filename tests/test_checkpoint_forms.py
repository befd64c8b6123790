"""Checkpoints as training scripts write them, and files that are given to the wrong command."""

import argparse

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from golden.checkpoint import read_state_dict
from golden.config import PRESETS
from golden.float_model import load_checkpoint
from golden.quantise import random_weights
from golden.weights import Weights
from tests import released

CONFIG = PRESETS["vww_105x120"]
KEY = "raster_rnn.gru.cell.conv_update.weight"


@pytest.fixture(scope="module")
def state():
    return released.state_dict(CONFIG)


@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "model.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.model."],
)
@pytest.mark.parametrize("place", [None, "state_dict", "model_state_dict", "model", "net"])
def test_usual_prefixes_and_keys(prefix, place, state, tmp_path):
    keyed = {prefix + key: value for key, value in state.items()}
    torch.save(keyed if place is None else {place: keyed, "epoch": 3}, tmp_path / "a.pt")
    model = load_checkpoint(tmp_path / "a.pt", CONFIG)
    assert torch.equal(model.state_dict()[KEY], state[KEY])


def test_prefixes_in_safetensors(state, tmp_path):
    tensors = {"module." + key: value.clone() for key, value in state.items()}
    save_file(tensors, tmp_path / "a.safetensors")
    assert set(read_state_dict(tmp_path / "a.safetensors")) == set(state)


def test_a_prefix_of_some_keys_is_none(state, tmp_path):
    torch.save({"module.x": torch.ones(1), **state}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="key module.x does not belong there"):
        load_checkpoint(tmp_path / "a.pt", CONFIG)


@pytest.mark.parametrize(
    "value, kind",
    [
        (torch.ones(3, 3).to_sparse(), "sparse"),
        (torch.empty(3, device="meta"), "meta"),
    ],
)
@pytest.mark.filterwarnings("ignore:Sparse")
def test_tensors_that_are_none(value, kind, state, tmp_path):
    torch.save({**state, KEY: value}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=rf"a.pt: {KEY} must be a dense float tensor, not {kind}"):
        load_checkpoint(tmp_path / "a.pt", CONFIG)


@pytest.mark.parametrize("more", [argparse.Namespace(lr=1), np.float64(3)])
def test_metadata_that_is_code_names_the_way_out(more, state, tmp_path):
    torch.save({"state_dict": state, "args": more}, tmp_path / "a.pt")
    try:
        read_state_dict(tmp_path / "a.pt")
    except ValueError as error:  # numpy's numbers may be plain values for some versions of torch
        assert "refused: its pickle asks for" in str(error)
        assert "torch.save(model.state_dict(), file)" in str(error) and "\n" not in str(error)
    else:
        assert not isinstance(more, argparse.Namespace)


def test_names_in_a_pickle_are_told_in_one_short_line(tmp_path):
    """Whatever they are made of: line breaks, what a terminal obeys, a megabyte."""
    for module in ("a\nb", "a\r\x1b[2J", "a\x85b\u2028c", "m" * 1_000_000):
        text = module.encode()
        name = b"X" + len(text).to_bytes(4, "little") + text  # BINUNICODE
        (tmp_path / "a.pt").write_bytes(b"\x80\x04" + name + b"X\x04\x00\x00\x00exec\x93.")
        with pytest.raises(ValueError, match="refused: its pickle asks for") as error:
            read_state_dict(tmp_path / "a.pt")
        said = str(error.value)
        assert said.isprintable() and len(said.splitlines()) == 1 and len(said) < 500


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_integers_given_as_a_checkpoint(name, tmp_path):
    random_weights(CONFIG, 0).save(tmp_path / name)
    with pytest.raises(ValueError, match="integer weights: expected a float .*: WEIGHTS=") as error:
        load_checkpoint(tmp_path / name, CONFIG)
    assert "\n" not in str(error.value)


def test_floats_given_as_weights(state, tmp_path):
    torch.save({"state_dict": state}, tmp_path / "a.pt")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file({key: value.clone() for key, value in state.items()}, tmp_path / "a.safetensors")
    for name in ("a.pt", "old.pt", "a.safetensors"):
        with pytest.raises(
            ValueError, match="a float checkpoint: expected .* not .* make import CHECKPOINT="
        ):
            Weights.load(tmp_path / name, CONFIG)
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        Weights.load(tmp_path / "a.safetensors", CONFIG)
