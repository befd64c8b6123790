"""A checkpoint in the released layout: read as data, checked key by key, folded, quantised."""

import os
import pickle
from dataclasses import replace

import pytest
import torch
from PIL import Image

from golden.checkpoint import read_state_dict
from golden.command_line import calibration_pictures
from golden.config import PRESETS
from golden.float_model import load_checkpoint
from golden.images import calibration_images
from golden.model import IntegerModel
from golden.quantise import _fold
from golden.weights import Weights
from tests import released
from tests.command import invoke

SMALL = PRESETS["vww_105x120"]
GATE = "raster_rnn.gru.cell.conv_update.weight"


@pytest.fixture
def folder(tmp_path):
    """Six pictures, one of them in a folder of its own."""
    pictures = tmp_path / "pictures"
    (pictures / "more").mkdir(parents=True)
    for index, pixels in enumerate(calibration_images(SMALL)[:6]):
        place = pictures / "more" if index == 5 else pictures
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(place / f"{index}.png")
    return pictures


def run(*arguments):
    return invoke("import", *arguments)


@pytest.mark.parametrize("name", PRESETS)
def test_every_variant(name, tmp_path):
    config = PRESETS[name]
    model = load_checkpoint(released.save(tmp_path / "a.pth.tar", config), config)
    assert not model.training
    state = model.state_dict()
    assert set(state) == set(released.shapes(config))
    for key, value in released.state_dict(config).items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(state[key], value), key


@pytest.mark.parametrize(
    "changes",
    [
        dict(channel_attention=False),
        dict(spatial_attention="full", channel_attention=False),
        dict(heads=3, head_channels=(3, 5, 8, 12), state_channels=16),
    ],
    ids=str,
)
def test_other_sizes(changes, tmp_path):
    config = replace(SMALL, name="other", attention_hidden=None, classifier_hidden=None, **changes)
    load_checkpoint(released.save(tmp_path / "a.pt", config), config)


def test_optimizer_and_counters_may_be_absent(tmp_path):
    state = released.state_dict(SMALL)
    whole = load_checkpoint(released.save(tmp_path / "a.pt", SMALL), SMALL).state_dict()
    bare = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    torch.save({"state_dict": bare}, tmp_path / "b.pt")
    torch.save(bare, tmp_path / "c.pt")  # the state dict alone
    strange = {k: v.repeat(2) if v.dim() == 0 else v for k, v in state.items()}
    torch.save({"state_dict": strange}, tmp_path / "d.pt")  # counters are not looked at
    for name in "bcd":
        found = load_checkpoint(tmp_path / f"{name}.pt", SMALL).state_dict()
        assert all(torch.equal(found[key], value) for key, value in whole.items())


def test_kernels_of_width_one_in_any_shape(tmp_path):
    state = released.state_dict(SMALL)
    for key in (GATE, "raster_att.channel_prj.channel_att.0.weight"):
        state[key] = state[key].squeeze(-1)
    key = "raster_att.channel_prj.projection.0.weight"
    state[key] = state[key].unsqueeze(2)
    found = load_checkpoint(released.save(tmp_path / "a.pt", SMALL, state_dict=state), SMALL)
    assert torch.equal(found.cell.conv_update.weight[..., 0], state[GATE])


def _without(state):
    del state[GATE]


def _unknown(state):
    state["raster_att.spatial_attention_0.key_conv.weight"] = torch.zeros(40, 32, 1)


def _turned(state):
    state[GATE] = state[GATE].transpose(0, 1).contiguous()


def _short(state):
    state[GATE] = state[GATE][:39]


def _nan(state):
    state[GATE][3, 4] = float("nan")


def _infinite(state):
    state[GATE][3, 4] = float("inf")


def _whole(state):
    state[GATE] = state[GATE].to(torch.int32)


def _variance(state):
    state["out_classifier.out_classifier.1.running_var"][0] = -1.0


def _two(state):
    _without(state)
    _variance(state)


@pytest.mark.parametrize(
    "change, text",
    [
        (_without, f"key {GATE} is missing"),
        (_unknown, "key raster_att.spatial_attention_0.key_conv.weight does not belong there"),
        (_turned, rf"key {GATE} must have shape \(40, 80, 1\), not \(80, 40, 1\)"),
        (_short, rf"key {GATE} must have shape \(40, 80, 1\), not \(39, 80, 1\)"),
        (_nan, rf"key {GATE} holds 1 of 3200 values that are not finite \(NaN\)"),
        (_infinite, rf"key {GATE} holds 1 of 3200 values that are not finite \(infinite\)"),
        (_whole, f"key {GATE} must hold floating-point numbers, not int32"),
        (_variance, "key out_classifier.out_classifier.1.running_var holds a variance below 0"),
        (_two, "is missing; 1 more like this"),
    ],
)
def test_faults_are_named(change, text, tmp_path):
    state = released.state_dict(SMALL)
    change(state)
    path = released.save(tmp_path / "a.pt", SMALL, state_dict=state)
    with pytest.raises(ValueError, match=text) as caught:
        load_checkpoint(path, SMALL)
    assert "a.pt: not a checkpoint of vww_105x120: key" in str(caught.value)
    assert "\n" not in str(caught.value)


class Touch:
    """A pickle of it makes a file when it is loaded as code."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("how", ["new", "old", "plain"])
def test_code_is_refused_and_does_not_run(how, tmp_path):
    evil, path = Touch(tmp_path / "made"), tmp_path / "evil.pt"
    content = {"state_dict": released.state_dict(SMALL), "optimizer": evil}
    if how == "plain":
        path.write_bytes(pickle.dumps({"optimizer": evil}))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "new")
    with pytest.raises(ValueError, match=r"evil.pt: refused: its pickle asks for \w+\.mkdir"):
        read_state_dict(path)
    result = run(path, "--preset", SMALL.name, "--calibrate", tmp_path, "-o", tmp_path / "w")
    assert result.exit_code == 2 and "refused" in result.stderr
    assert not (tmp_path / "made").exists()


def test_other_files(tmp_path):
    with pytest.raises(ValueError, match="none.pt: no such file"):
        read_state_dict(tmp_path / "none.pt")
    (tmp_path / "a.pt").write_bytes(b"not a pickle at all")
    with pytest.raises(ValueError, match="a.pt: not a PyTorch checkpoint"):
        read_state_dict(tmp_path / "a.pt")
    whole = released.save(tmp_path / "b.pt", SMALL).read_bytes()
    (tmp_path / "b.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="b.pt: not a PyTorch checkpoint"):
        read_state_dict(tmp_path / "b.pt")
    for content in ([1, 2], {}, {"state_dict": {}}, {"state_dict": 3}):
        torch.save(content, tmp_path / "c.pt")
        with pytest.raises(ValueError, match="c.pt: not a checkpoint .no state_dict of tensors"):
            read_state_dict(tmp_path / "c.pt")
    torch.save({"state_dict": {"a": 3.0}}, tmp_path / "c.pt")
    with pytest.raises(ValueError, match="'a' is a float"):
        read_state_dict(tmp_path / "c.pt")


def test_batch_norm_is_folded_in_float64(tmp_path):
    """With variances of 1.7e5 the folded weight keeps more digits than float32 has."""
    state = released.state_dict(SMALL)
    model = load_checkpoint(released.save(tmp_path / "a.pt", SMALL), SMALL)
    block = model.raster_cnn_0.conv_block1
    weight, bias = _fold(block.conv.weight, block.bn)
    prefix = "raster_cnn_0.conv_block1"
    part = {name: state[f"{prefix}.bn.{name}"].double() for name in ("weight", "bias")}
    part |= {k: state[f"{prefix}.bn.running_{k}"].double() for k in ("mean", "var")}
    gain = part["weight"] / (part["var"] + 1e-5).sqrt()
    wanted = state[f"{prefix}.conv.weight"].double() * gain[:, None, None, None]
    assert weight.dtype == torch.float64
    assert torch.equal(weight, wanted)
    assert torch.equal(bias, part["bias"] - part["mean"] * gain)
    assert not torch.equal(weight, wanted.float().double())


def test_import(folder, tmp_path):
    path, output = released.save(tmp_path / "a.pth.tar", SMALL), tmp_path / "w.safetensors"
    result = run(path, "--preset", SMALL.name, "--calibrate", folder, "-o", output)
    assert result.exit_code == 0, result.output
    assert "calibrated on 6 pictures" in result.stdout
    weights = Weights.load(output, SMALL)
    assert weights.digest[:12] in result.stdout
    images = calibration_images(SMALL)[:2]
    assert IntegerModel(SMALL, weights).run(images).logits.abs().sum() > 0
    again = tmp_path / "again.safetensors"
    run(path, "--preset", SMALL.name, "--calibrate", folder, "-o", again)
    assert again.read_bytes() == output.read_bytes()


def test_calibration_pictures(folder, tmp_path):
    assert len(calibration_pictures(folder, SMALL)) == 6
    some = calibration_pictures(folder, SMALL, 3)
    whole = calibration_pictures(folder, SMALL)
    assert torch.equal(some, whole[::2])  # spread over the names
    assert len(calibration_pictures(None, SMALL)) == 24
    (folder / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="broken.jpg: not a readable picture"):
        calibration_pictures(folder, SMALL)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no picture in it"):
        calibration_pictures(tmp_path / "empty", SMALL)


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"FILE": "none.pt"}, "none.pt: no such file"),
        ({"--preset": "vww"}, "preset must be one of"),
        ({"--preset": "vww_105x120_full"}, "key raster_att.spatial_attention_0.key_conv.weight"),
        ({"--calibrate": "none"}, "none: no such folder"),
        ({"-o": "nowhere/w.safetensors"}, "expected an existing folder to write it to, not "),
        ({"--count": "0"}, "count must be at least 1"),
    ],
)
def test_bad_input_is_one_line(changes, text, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    released.save(tmp_path / "a.pt", SMALL)
    given = {"--preset": SMALL.name, "--calibrate": "pictures", "-o": "w.safetensors"}
    given |= {key: value for key, value in changes.items() if key != "FILE"}
    result = run(changes.get("FILE", "a.pt"), *(word for pair in given.items() for word in pair))
    assert result.exit_code == 2
    assert result.stderr.startswith("rasca: ") and result.stderr.count("\n") == 1
    assert text in result.stderr
    assert not (tmp_path / "w.safetensors").exists()
