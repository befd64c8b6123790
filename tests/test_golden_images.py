"""Reading and stretching pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from golden.config import preset
from golden.images import calibration_images, default_images, load_folder, load_image

COLOUR = preset("vww_105x120")


def grey_config():
    return replace(COLOUR, in_channels=1)


def test_stretch_is_pillows(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = load_image(tmp_path / "a.png", COLOUR)
    wanted = Image.fromarray(pixels).resize((120, 105), Image.Resampling.BILINEAR)
    assert found.dtype == torch.uint8 and found.shape == (3, 105, 120)
    assert torch.equal(found, torch.from_numpy(np.array(wanted)).permute(2, 0, 1))
    # antialiasing: noise shrunk by a half loses most of its spread
    assert found.double().std() < 60 < pixels.std()


def test_same_size_is_untouched_and_grey_goes_to_all_channels(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (105, 120), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for config, channels in ((COLOUR, 3), (grey_config(), 1)):
        found = load_image(tmp_path / "a.png", config)
        assert found.shape[0] == channels
        assert (found == torch.from_numpy(pixels)).all()


def test_luma(tmp_path):
    Image.new("RGB", (50, 50), (200, 100, 50)).save(tmp_path / "a.png")
    assert set(load_image(tmp_path / "a.png", grey_config()).unique().tolist()) == {124}


def test_folder_is_sorted(tmp_path):
    for name, value in (("b.PNG", 2), ("a.jpg", 1), ("c.bmp", 3)):
        Image.new("L", (8, 8), value).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    paths, images = load_folder(tmp_path, COLOUR)
    assert [path.name for path in paths] == ["a.jpg", "b.PNG", "c.bmp"]
    assert images[:, 0, 0, 0].tolist() == [1, 2, 3]


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="none.png: no such file"):
        load_image(tmp_path / "none.png", COLOUR)
    (tmp_path / "bad.png").write_bytes(b"nothing")
    Image.new("L", (64, 64), 3).save(tmp_path / "cut.bmp")
    (tmp_path / "cut.bmp").write_bytes((tmp_path / "cut.bmp").read_bytes()[:200])
    for name in ("bad.png", "cut.bmp"):
        with pytest.raises(ValueError, match=f"{name}: not a readable picture") as error:
            load_image(tmp_path / name, COLOUR)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="none: no such folder"):
        load_folder(tmp_path / "none", COLOUR)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no picture in it"):
        load_folder(tmp_path / "empty", COLOUR)


def test_bundled_photographs():
    images = default_images(COLOUR)
    assert images.shape == (2, 3, 105, 120) and images.dtype == torch.uint8
    calibration = calibration_images(COLOUR)
    assert calibration.shape == (24, 3, 105, 120)
    assert torch.equal(calibration[0], images[0]) and torch.equal(calibration[3], images[1])
    assert len({image.numpy().tobytes() for image in calibration}) == 24
