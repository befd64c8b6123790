"""make release: archives that are the same twice, what is in them, and what is told as missing."""

import gzip
import io
import json
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from rasca import release, version
from tests.command import invoke

ROOT = Path(__file__).resolve().parents[1]
FILES = {"b/x.v": b"module x; endmodule\n", "a.txt": b"a"}


def test_an_archive_is_the_same_twice_whatever_the_order():
    again = release.packed("f", dict(reversed(FILES.items())), 1_700_000_000)
    first = release.packed("f", FILES, 1_700_000_000)
    assert first == again and first != release.packed("f", FILES, 1_700_000_001)
    assert first != release.packed("f", FILES | {"a.txt": b"b"}, 1_700_000_000)
    whole = FILES | {"LICENSE": (ROOT / "LICENSE").read_bytes()}
    whole[release.SUMS] = release.sums(whole).encode()
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        members = archive.getmembers()
        assert [one.name for one in members] == [f"f/{name}" for name in sorted(whole)]
        for one in members:
            assert (one.mtime, one.mode, one.uid, one.uname) == (1_700_000_000, 0o644, 0, "")
            assert archive.extractfile(one).read() == whole[one.name.removeprefix("f/")]
    assert b"x.v" not in first[:64] and gzip.decompress(first)


def zipped(names, date, mode):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            one = zipfile.ZipInfo(name, date)
            one.external_attr = mode << 16
            archive.writestr(one, name.encode())
    return made.getvalue()


def test_a_wheel_is_the_same_twice_whenever_it_was_built():
    names = ("z.py", "a/b.py", "x.dist-info/METADATA", "x.dist-info/RECORD")
    first = release.repacked(zipped(names, (2020, 1, 1, 0, 0, 0), 0o100600), 1_700_000_000)
    other = zipped(reversed(names), (2024, 5, 6, 7, 8, 10), 0o100664)
    assert release.repacked(other, 1_700_000_000) == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert archive.namelist() == ["a/b.py", "x.dist-info/METADATA", "z.py", names[-1]]
        assert {one.date_time for one in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}
        assert archive.read("a/b.py") == b"a/b.py"
    release.repacked(other, 0)  # before a ZIP begins


def test_sums_are_what_sha256sum_reads(tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / release.SUMS).write_text(release.sums(FILES))
    check = ["sha256sum", "--check", "--quiet", release.SUMS]
    assert subprocess.run(check, cwd=tmp_path).returncode == 0
    (tmp_path / "a.txt").write_bytes(b"b")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode == 1


def built(place, board, name, **figures):
    folder = place / "build" / board / name
    folder.mkdir(parents=True)
    (folder / "rasca.bit").write_bytes(b"bits")
    (folder / "nextpnr.log").write_text("log")
    (folder / "summary.json").write_text(json.dumps(figures))


def kept(place, board, name, **figures):
    (place / "results").mkdir(exist_ok=True)
    (place / "results" / f"bitstream_{board}_{name}.json").write_text(json.dumps(figures))


def test_bitstreams_that_are_there_and_those_that_are_not(tmp_path):
    same = dict(shape="1,1,1", clock_mhz=50.0, lut=7)
    built(tmp_path, "one", "net", **same, timing_met=True)
    kept(tmp_path, "one", "net", **same)
    built(tmp_path, "two", "net", **same, timing_met=False)
    kept(tmp_path, "two", "net", **same | {"clock_mhz": 51.0})
    kept(tmp_path, "three-12f", "other_net", **same)
    kept(tmp_path, "four", "net", **same)
    (tmp_path / "build" / "four" / "net").mkdir(parents=True)
    (tmp_path / "build" / "four" / "net" / "summary.json").write_text("{}")  # its bits are gone
    found, missing = release.bitstreams(tmp_path / "build", tmp_path / "results")
    assert sorted(found) == [
        f"{board}/net/{name}" for board in ("one", "two") for name in ("rasca.bit", "summary.json")
    ]
    assert missing == [
        "bitstream two_net: its timing is not met",
        "bitstream two_net: it is not the build that docs/results.md tells of",
        "bitstream four_net: not built here; make bitstream BOARD=four PRESET=net",
        "bitstream three-12f_other_net: not built here; "
        "make bitstream BOARD=three-12f PRESET=other_net",
    ]


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Runs the command with a wheel and a kit that take no time, on a commit of its own."""
    said = {"rev-parse": b"c0ffee\n", "log": b"1700000000\n", "status": b""}
    monkeypatch.setattr(release, "git", lambda word, *words: said[word])
    monkeypatch.setattr(release, "wheel_of_commit", lambda epoch: ("x.whl", b"%d" % epoch))
    monkeypatch.setattr(release, "verilog", lambda name: (name, dict(FILES)))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)

    def run(*words, place="out"):
        result = invoke("release", "--folder", tmp_path / place, *words)
        folder = tmp_path / place / version.version()
        found = {one.name: one.read_bytes() for one in folder.glob("*") if folder.is_dir()}
        return result, found

    run.said = said
    return run


def test_a_release_twice(quick, tmp_path, monkeypatch):
    built(tmp_path, "one", "net", shape="1,1,1")
    words = ("--build", tmp_path / "build", "--preset", "vww_105x120")
    result, found = quick(*words)
    assert result.exit_code == 0, result.output
    archive = f"rasca-{version.version()}-bitstreams.tar.gz"
    assert set(found) == {"x.whl", "vww_105x120.tar.gz", archive, "release.json", release.SUMS}
    again, same = quick(*words, place="again")
    assert same == found
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    assert quick(*words, place="other")[1]["x.whl"] == b"1600000000"
    listed = json.loads(found["release.json"])
    assert (listed["version"], listed["commit"], listed["epoch"]) == (
        version.version(), "c0ffee", 1_700_000_000,
    )  # fmt: skip
    for one in listed["files"]:
        assert one["sha256"] == release.digest(found[one["name"]])
        assert one["bytes"] == len(found[one["name"]])
    assert found[release.SUMS].decode() == release.sums(
        {name: content for name, content in found.items() if name != release.SUMS}
    )
    assert "missing: bitstream ulx3s_vww_210x240: not built here" in result.output
    assert listed["missing"] and f"missing: {listed['missing'][0]}" in result.output
    with tarfile.open(fileobj=io.BytesIO(found[archive])) as inner:
        top = archive.removesuffix(".tar.gz")
        assert f"{top}/one/net/rasca.bit" in inner.getnames()


def test_no_bitstream_and_no_release_of_changes(quick, tmp_path, monkeypatch):
    result, found = quick("--build", tmp_path / "none", "--preset", "vww_105x120")
    assert "missing: no bitstream in" in result.output and len(found) == 4
    quick.said["status"] = b" M README.md\n M x\n"
    result, found = quick("--preset", "vww_105x120", place="other")
    assert (result.exit_code, found) == (2, {})
    assert "expected every change committed, not a changed README.md" in result.stderr
    quick.said["status"] = b""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "now")
    result, _ = quick("--preset", "vww_105x120", place="other")
    assert result.exit_code == 2 and "seconds in SOURCE_DATE_EPOCH, not 'now'" in result.stderr


def test_a_wheel_that_pip_does_not_build(quick, monkeypatch):
    def broken(epoch):
        raise RuntimeError("expected pip to build a wheel, but:\n  no")

    monkeypatch.setattr(release, "wheel_of_commit", broken)
    result, found = quick("--preset", "vww_105x120")
    assert (result.exit_code, found) == (3, {})
    assert "expected pip to build a wheel, but: no" in result.stderr


def test_no_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(release, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="expected a git checkout with a commit, not "):
        release.git("rev-parse", "HEAD")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="expected git, which is not on PATH"):
        release.git("rev-parse", "HEAD")


def test_the_changelog_is_of_this_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    first = next(line for line in text.splitlines() if line.startswith("## "))
    assert first == f"## {version.version()}"


def test_version_of_what_was_installed(monkeypatch):
    monkeypatch.setattr(version, "_PROJECT", Path("none"))
    monkeypatch.setattr(version.metadata, "version", lambda name: f"{name} 9")
    assert version.version() == "rasca 9"
