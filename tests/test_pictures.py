"""What each kind of picture file becomes, and which are refused (golden.images' rule)."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from golden import images
from golden.command_line import calibration_pictures
from golden.config import preset
from golden.images import load_folder, load_image

CONFIG = preset("vww_105x120")
GREY = replace(CONFIG, in_channels=1)


def drawn(height=105, width=120, channels=3):
    """A picture without symmetry."""
    shape = (height, width, channels)[: 2 + (channels > 1)]
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


def loaded(path, config=CONFIG):
    return load_image(path, config).permute(1, 2, 0).squeeze().numpy()


# ---- orientation ----


def stored(pixels, orientation, path):
    """A file whose pixels lie as `orientation` says, of an upright picture."""
    back = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6, 1: 1}[orientation]
    picture = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = back
    picture.info["exif"] = exif.tobytes()
    picture = ImageOps.exif_transpose(picture) if back != 1 else picture
    exif[0x0112] = orientation
    picture.save(path, exif=exif)
    return picture.size


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_a_picture_is_turned_upright(orientation, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    upright = np.repeat(np.repeat(drawn(7, 8), 15, 0), 15, 1)
    options = {"lossless": True} if suffix == ".webp" else {}
    size = stored(upright, orientation, path)
    if options:
        with Image.open(path) as picture:
            exif = picture.getexif()
            picture.load()
            picture.save(path, exif=exif, **options)
        stored(upright, orientation, tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as picture:
            picture.save(path, exif=picture.getexif(), **options)
    assert np.array_equal(loaded(path), upright)
    said = images.check_image(path)
    assert (said.width, said.height) == size and said.orientation == orientation


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_turns_with_its_picture(orientation, tmp_path):
    upright = np.zeros((60, 100, 3), dtype=np.uint8)
    upright[10:20, 70:90] = 255  # wide, upper right
    stored(upright, orientation, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        lying = np.array(picture)[:, :, 0] > 0
    rows, columns = np.nonzero(lying)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    height, width = lying.shape
    relative = tuple(side / of for side, of in zip(box, (width, height) * 2, strict=True))
    assert images.turned(relative, orientation) == pytest.approx((0.7, 1 / 6, 0.9, 1 / 3))


def test_broken_exif_leaves_the_picture_as_stored(tmp_path):
    Image.fromarray(drawn()).save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert np.array_equal(loaded(tmp_path / "a.png"), drawn())
    exif = Image.Exif()
    exif[0x0112] = 77
    Image.fromarray(drawn()).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(loaded(tmp_path / "a.png"), drawn())


# ---- bit depth ----


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("config", [CONFIG, GREY])
def test_16_bits_are_scaled(suffix, config, tmp_path):
    """Today's code clamps them to white."""
    ramp = np.linspace(0, 65535, 120 * 105).astype(np.uint16).reshape(105, 120)
    Image.fromarray(ramp).save(tmp_path / f"a{suffix}")
    found = loaded(tmp_path / f"a{suffix}", config)
    found = found if config is GREY else found[:, :, 1]
    assert np.array_equal(found, ramp >> 8)


def test_16_bits_of_an_8_bit_picture_are_that_picture(tmp_path):
    grey = drawn(channels=1)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "a.png")
    assert np.array_equal(loaded(tmp_path / "a.png", GREY), grey)


def write_deep_png(path, pixels):
    """A PNG of 16 bits and three channels, which Pillow does not write."""
    import struct
    import zlib

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    colour = {2: 4, 3: 2, 4: 6}[pixels.shape[2]]  # grey and alpha, colour, both
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )  # fmt: skip


def test_16_bits_of_colour(tmp_path):
    pixels = drawn().astype(np.uint16) * 257
    write_deep_png(tmp_path / "a.png", pixels)
    assert np.array_equal(loaded(tmp_path / "a.png"), pixels >> 8)
    write_deep_png(tmp_path / "a.png", pixels >> 4)  # 12 bits in 16
    with pytest.raises(ValueError, match="its depth is not known"):
        load_image(tmp_path / "a.png", CONFIG)


@pytest.mark.parametrize("channels", [2, 4])
def test_12_bits_in_16_beside_alpha(channels, tmp_path):
    """The white that shows through is no bright sample: the picture became nearly black."""
    pixels = drawn()[..., :channels].astype(np.uint16) << 4
    pixels = np.concatenate([pixels[..., : channels - 1], np.full_like(pixels[..., :1], 65535)], 2)
    if channels == 4:
        pixels = np.concatenate([drawn().astype(np.uint16) << 4, pixels[..., -1:]], 2)
    pixels[0, 0, -1] = 0
    write_deep_png(tmp_path / "a.png", pixels)
    with pytest.raises(ValueError, match="its depth is not known"):
        load_image(tmp_path / "a.png", CONFIG)
    pixels[..., :-1] <<= 4  # all 16 bits
    write_deep_png(tmp_path / "a.png", pixels)
    assert (loaded(tmp_path / "a.png")[1:] == pixels[1:, :, :-1] >> 8).all()


@pytest.mark.parametrize("kind", [b"P5", b"P6", b"P2", b"P3"])
def test_a_dark_pgm_or_ppm(kind, tmp_path):
    """Its own maximum says what is white, but for 16 bits, which hold samples of fewer, too."""
    dark = np.full((9, 9, 3 if kind in (b"P6", b"P3") else 1), 900, dtype=">u2")
    samples = dark.tobytes() if kind in (b"P5", b"P6") else b" ".join([b"900"] * dark.size)
    path = tmp_path / "a.ppm"
    path.write_bytes(kind + b" 9 9 4095\n" + samples)
    assert abs(loaded(path).astype(int) - 56).max() <= 1
    path.write_bytes(kind + b" 9 9 65535\n" + samples)
    with pytest.raises(ValueError, match="its depth is not known"):
        load_image(path, CONFIG)


def test_a_pgm_is_scaled_by_its_own_maximum(tmp_path):
    ramp = np.arange(4096, dtype=">u2").reshape(64, 64)
    (tmp_path / "a.pgm").write_bytes(b"P5 64 64 4095\n" + ramp.tobytes())
    with Image.open(tmp_path / "a.pgm") as picture:
        whole = np.asarray(picture)
    assert whole.max() == 65535
    config = replace(GREY, image_height=64, image_width=64)
    found = loaded(tmp_path / "a.pgm", config).astype(int)
    assert abs(found - (ramp.astype(int) >> 4)).max() <= 1


def test_one_bit(tmp_path):
    bits = drawn(channels=1) > 99
    Image.fromarray(bits).save(tmp_path / "a.png")
    assert np.array_equal(loaded(tmp_path / "a.png", GREY), bits * 255)


@pytest.mark.parametrize(
    "pixels, said",
    [
        (np.full((9, 9), 4095, np.uint16), "16 bits a sample, but none above 4,095 of 65,535"),
        (np.full((9, 9), 16383, np.uint16), "its depth is not known, save it with 8 bits"),
        (np.full((9, 9), 99, np.int32), "32-bit integers, of which none is known to be white"),
        (np.full((9, 9), 0.5, np.float32), "floats, of which none is known to be white"),
    ],
)
def test_samples_of_unknown_range_are_refused(pixels, said, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=f"a.tif: not a readable picture .*{said}") as error:
        load_image(tmp_path / "a.tif", CONFIG)
    assert "\n" not in str(error.value)


def test_a_deep_tiff_whose_0_is_white_is_refused(tmp_path):
    values = np.full((9, 9), 60000, np.uint16)
    Image.fromarray(values).save(tmp_path / "a.tif", tiffinfo={262: 0})
    with Image.open(tmp_path / "a.tif") as picture:
        assert picture.tag_v2[262] == 0
    with pytest.raises(ValueError, match="0 is white"):
        load_image(tmp_path / "a.tif", CONFIG)


def test_black_of_16_bits_is_black(tmp_path):
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(tmp_path / "a.png")
    assert not loaded(tmp_path / "a.png").any()


# ---- colours ----


def test_alpha_is_laid_over_white(tmp_path):
    pixels = np.zeros((105, 120, 4), dtype=np.uint8)  # black that is not to be seen
    pixels[:, :60, 3], pixels[:, 60:80, 3] = 0, 128
    pixels[:, 80:, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = loaded(tmp_path / "a.png")
    assert (found[:, :60] == 255).all() and (found[:, 80:] == 0).all()
    assert abs(found[:, 60:80].astype(int) - 127).max() <= 1
    Image.fromarray(pixels[:, :, 2:]).save(tmp_path / "grey.png")  # LA
    assert np.array_equal(loaded(tmp_path / "grey.png"), found)
    picture = Image.new("P", (120, 105), 1)
    picture.putpalette([9, 9, 9, 200, 10, 20])
    picture.save(tmp_path / "palette.png", transparency=0)
    assert (loaded(tmp_path / "palette.png") == (200, 10, 20)).all()
    picture.save(tmp_path / "palette.png", transparency=1)
    assert (loaded(tmp_path / "palette.png") == 255).all()


def test_cmyk(tmp_path):
    Image.new("CMYK", (120, 105), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    assert (loaded(tmp_path / "a.tif") == (255, 0, 0)).all()
    Image.new("CMYK", (120, 105), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    assert abs(loaded(tmp_path / "a.jpg").astype(int) - (255, 0, 0)).max() <= 2


def test_lab_is_refused(tmp_path):
    Image.new("LAB", (9, 9)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="colours in LAB: save it with 8 or 16 bits"):
        load_image(tmp_path / "a.tif", CONFIG)


def test_a_colour_profile_is_not_applied(tmp_path):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(drawn()).save(tmp_path / "a.png", icc_profile=profile)
    assert np.array_equal(loaded(tmp_path / "a.png"), drawn())


# ---- files ----


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_the_first_picture_of_several_is_taken(suffix, tmp_path):
    frames = [Image.new("RGB", (30, 30), colour) for colour in ((10, 20, 200), (200, 0, 0))]
    more = {"lossless": True} if suffix == ".webp" else {}
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], **more)
    assert (loaded(tmp_path / f"a{suffix}") == (10, 20, 200)).all()


def test_bombs_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    Image.new("L", (101, 100)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(images, "MOST_PIXELS", 10_000)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(ValueError, match="101 x 100 pixels, at most 10,000 are read"):
        load_image(tmp_path / "bomb.png", CONFIG)


def test_large_pictures_are_read_without_a_warning(tmp_path):
    Image.new("1", (12_000, 9_000), 1).save(tmp_path / "big.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (loaded(tmp_path / "big.png") == 255).all()


def test_other_formats_are_refused(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a.png: not a readable picture \(none of AVIF, BMP, GIF"):
        load_image(tmp_path / "a.png", CONFIG)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".gif", ".webp", ".bmp"])
def test_whatever_is_broken_is_one_line(suffix, tmp_path):
    Image.fromarray(drawn(40, 40)).save(tmp_path / f"a{suffix}")
    whole = (tmp_path / f"a{suffix}").read_bytes()
    draw = np.random.default_rng(5)
    for _ in range(60):
        data = bytearray(whole)
        for at in draw.integers(0, len(data), 6):
            data[at] = draw.integers(256)
        (tmp_path / f"a{suffix}").write_bytes(data[: draw.integers(1, len(data) + 1)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                load_image(tmp_path / f"a{suffix}", CONFIG)
            except ValueError as error:
                assert str(error).startswith(f"{tmp_path}/a{suffix}: not a readable picture (")
                assert "\n" not in str(error)


# ---- folders ----


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.jpg"):
        Image.new("L", (8, 8), 7).save(tmp_path / name)
    (tmp_path / "._a.jpg").write_bytes(b"\0\5\26\7Mac OS X")
    (tmp_path / ".hidden").mkdir()
    Image.new("L", (8, 8), 7).save(tmp_path / ".hidden" / "c.png")
    return tmp_path


def test_hidden_files_are_no_pictures(folder):
    paths, pixels = load_folder(folder, CONFIG)
    assert [path.name for path in paths] == ["a.jpg", "b.png"] and len(pixels) == 2
    assert len(calibration_pictures(folder, CONFIG)) == 2


def test_broken_files_are_left_out_on_request(folder, capsys):
    (folder / "broken.png").write_bytes(b"nothing")
    for load in (load_folder, calibration_pictures):
        with pytest.raises(ValueError, match="broken.png: not a readable .*SKIP_BAD=1 leaves"):
            load(folder, CONFIG)
    told = []
    paths, pixels = load_folder(folder, CONFIG, skip_bad=True, tell=told.append)
    assert [path.name for path in paths] == ["a.jpg", "b.png"]
    assert told == ["left out: 1 of 3 pictures that cannot be read (broken.png)"]
    assert torch.equal(calibration_pictures(folder, CONFIG, skip_bad=True), pixels)
    assert told[0] in capsys.readouterr().err
    for name in ("a.jpg", "b.png"):
        (folder / name).unlink()
    with pytest.raises(ValueError, match="broken.png: not a readable picture"):
        load_folder(folder, CONFIG, skip_bad=True)
