"""boards/web: what a page is told of a board, over HTTP; the board is behind a pseudo terminal."""

import http.client
import json
import os
import pty
import random
import socket
import threading
import time
import tty
import zlib
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from boards import connection, packets
from boards.packets import BoardStatus, Counters, Decision, Kind, Preview, Row, State, Taken
from boards.port import BoardError
from boards.web import feed as feeds
from boards.web import link as links
from boards.web import replay, server
from boards.web.feed import Feed, Known
from boards.web.known import known
from boards.web.link import BoardLink, SmallLink, Wish
from boards.web.replay import Replay
from boards.web.server import Page
from golden.classifier import threshold
from golden.quantise import trained_weights
from golden.visualise import class_activation_map
from tests.command import invoke, refused
from tests.fake_board import HELLO, MODEL, CameraBoard, FakeBoard

WEIGHTS = trained_weights(MODEL)
SCALE = WEIGHTS.scales["logit"]
SHOWN = Known(model=MODEL, weights=WEIGHTS, text="those that come with Rasca")
PREVIEWING = replace(HELLO, status=int(BoardStatus.PREVIEW))
LIMIT_S = 20.0


@pytest.fixture
def quick(monkeypatch):
    """The weights are known without making their image, which takes a second."""
    monkeypatch.setattr(links, "known", lambda hello, model, weights_file: SHOWN)


def until(found, what="it"):
    """Waits until a call gives something, which is returned."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        result = found()
        if result:
            return result
        time.sleep(0.01)
    raise AssertionError(f"{what} never came")


def everything(feed):
    return feed.since({})


# ---- the feed ----


def rows(frame, margins, first=0):
    return [
        Row(frame=frame, row_group=first + group, logits=(0, margin))
        for group, margin in enumerate(margins)
    ]


def shown(feed=None, **more):
    feed = feed or Feed(source="p", **more)
    feed.identify(SHOWN)
    return feed


def test_a_scan_and_its_decision():
    feed = shown()
    for event in rows(4, (-1000, 0, 200_000)):
        feed.take(event)
    scan = everything(feed)["scan"]
    chance = 1 / (1 + np.exp(-200_000 * SCALE))
    assert scan["frame"] == 4 and scan["decision"] is None and "before" not in scan
    assert [row[:2] for row in scan["rows"]] == [[0, -1000], [1, 0], [2, 200_000]]
    assert scan["rows"][1][2] == 0.5 and abs(scan["rows"][2][2] - chance) < 1e-4
    feed.take(Decision(frame=4, index=1, status=0, rows_used=3, logits=(0, 200_000)))
    found = everything(feed)
    assert found["scan"]["decision"]["class"] == "person"
    last = found["frames"]["last"][0]
    assert (last["number"], last["rows"], last["status"]) == (1, 3, "OK")
    assert (found["frames"]["seen"], found["frames"]["sought"], found["frames"]["lost"]) == (
        1,
        1,
        0,
    )
    # the next scan lies over the last one, and a lost frame has no probability
    feed.take(Row(frame=5, row_group=0, logits=(0, 7)))
    assert everything(feed)["scan"]["before"]["frame"] == 4
    feed.begin()
    feed.take(Row(frame=5, row_group=0, logits=(0, 7)))
    assert everything(feed)["scan"]["before"]["frame"] == 4
    feed.take(Decision(frame=5, index=0, status=2, rows_used=0, logits=(0, 0)))
    last = everything(feed)["frames"]["last"][0]
    assert (last["status"], last["probability"]) == ("TRUNCATED", None)
    assert everything(feed)["frames"]["lost"] == 1


def test_only_what_changed_is_told():
    feed, seen = shown(), {}
    assert set(feed.since(seen)) == set(Feed.SECTIONS)
    assert feed.since(seen) == {}
    feed.take(rows(0, (5,))[0])
    assert set(feed.since(seen)) == {"scan"}
    feed.say("up", "Connected.")
    assert feed.since(seen)["link"]["text"] == "Connected."
    feed.say("up", "Connected.")
    assert feed.since(seen) == {}


def test_unknown_weights_tell_margins():
    feed = Feed(source="p")
    feed.identify(Known(model=MODEL, weights=None, text="others"))
    feed.take(HELLO)
    for event in rows(0, (-3, 4)):
        feed.take(event)
    found = everything(feed)
    assert found["board"]["scale"] is None
    assert [row[1:] for row in found["scan"]["rows"]] == [[-3, None], [4, None]]
    # a network that nobody knows: the second class is the one looked for
    other = Feed(source="p")
    other.take(Row(frame=0, row_group=3, logits=(5, 9, 7)))
    assert everything(other)["scan"]["rows"] == [[3, 2, None]]


def test_identity_in_words():
    feed = shown()
    status = BoardStatus.LOAD_ERROR | BoardStatus.CAMERA_FAILED | packets.Problem.CRC
    feed.take(replace(HELLO, status=int(status), config=bytes(range(8))))
    board = everything(feed)["board"]
    assert ["Weights", "d5271961"] in [list(fact) for fact in board["facts"]]
    assert ["Network", "vww_105x120"] in [list(fact) for fact in board["facts"]]
    assert ["Configuration's digest", "0001020304050607"] in [list(f) for f in board["facts"]]
    wrong = " ".join(board["wrong"])
    for text in ("weights image in flash is damaged", "wrong length", "camera could not be set up"):
        assert text in wrong
    feed.take(replace(HELLO, weights=0))
    assert "no weights (nothing was loaded)" in everything(feed)["board"]["wrong"][0]
    feed.take(replace(HELLO, weights=0, status=int(BoardStatus.LOADING)))
    assert everything(feed)["board"]["wrong"] == [
        "The weights are still being read from the flash."
    ]


def test_counters_grow_over_their_wrap_and_over_a_lost_board():
    feed = shown()

    def told(**values):
        feed.take(Counters(values=tuple(values.get(name, 0) for name in packets.COUNTERS)))
        section = everything(feed)["counters"]
        return {name: count for name, _, count in section["board"] + section["here"] if count}

    assert told(line=65535) == {"line": 65535}
    assert told(line=1, uart=2) == {"line": 65537, "uart": 2}
    feed.begin()  # it may have been reset, and may not
    assert told(line=5) == {"line": 65537, "uart": 2}
    assert told(line=6) == {"line": 65538, "uart": 2}
    for frame in (254, 255, 3):
        feed.take(Decision(frame=frame, index=0, status=0, rows_used=1, logits=(0, 0)))
    assert told(line=6)["missed"] == 3
    assert set(feeds.COUNTER_TEXT) == set(packets.COUNTERS)


def test_activation_map_from_states():
    """As `make visualise` computes it, row group by row group; half a state gives nothing."""
    feed, source = shown(), np.random.default_rng(1)
    d, n = MODEL.state_channels, MODEL.n
    state = source.integers(-127, 128, (3, d, n)).astype(np.int8)
    for group in range(3):
        feed.take(Row(frame=0, row_group=group, logits=(0, 1)))
        for channel in range(d if group != 1 else d - 1):
            data = state[group, channel].tobytes()
            feed.take(State(frame=0, channel=channel, row_group=group, data=data))
    wanted = class_activation_map(state[[0, 2]], WEIGHTS, MODEL.stop_index)
    found = everything(feed)["scan"]["map"]
    assert list(found) == [0, 2]
    limit = np.quantile(np.abs(wanted), feeds.LIMIT_SHARE)
    assert np.allclose([found[0], found[2]], np.clip(wanted / limit, -1, 1), atol=1e-3)


def test_whatever_a_stranger_sends_is_bounded():
    """Good packets with any content, in any order, a hundred times what is kept."""
    source = random.Random(5)
    feeds_here = [shown(), Feed(source="p"), shown(replay=True)]

    def payload(size):
        return source.randbytes(size)

    for _ in range(4000):
        kind = source.choice([Kind.HELLO, Kind.ROW, Kind.STATE, Kind.DECISION, Kind.COUNTERS,
                              Kind.PREVIEW, Kind.TAKEN])  # fmt: skip
        size = {Kind.HELLO: 25, Kind.COUNTERS: 28, Kind.TAKEN: 9}.get(kind)
        if size is None:
            size = source.choice([11, 12, 16, 21, 68])
        try:
            event = packets.parse(packets.Packet(kind, payload(size)))
        except ValueError:
            continue
        for feed in feeds_here:
            feed.take(event)
    for feed in feeds_here:
        found = everything(feed)
        assert len(json.dumps(found)) < 60_000
        assert len(found["frames"]["last"]) <= feeds.MOST_FRAMES
        json.loads(json.dumps(found, allow_nan=False))
        rows, columns, channels, data = feed.picture()
        assert len(data) == rows * columns * channels <= 255 * 255 * 3


def test_rows_outside_of_the_network_are_counted():
    feed = shown()
    feed.take(Row(frame=0, row_group=MODEL.row_groups, logits=(0, 1)))
    found = everything(feed)
    assert found["scan"] is None
    assert ("strange", 1) in [(name, count) for name, _, count in found["counters"]["here"]]


def test_fast_scans_are_shown_whole():
    now = [0.0]
    feed = shown(clock=lambda: now[0])
    for frame in range(12):
        for event in rows(frame, (1, 2)):
            feed.take(event)
        now[0] += 0.05
        feed.take(Decision(frame=frame, index=1, status=0, rows_used=2, logits=(0, 2)))
    assert everything(feed)["frames"]["rate"] == 20.0
    feed.take(Row(frame=12, row_group=0, logits=(0, 9)))
    scan = everything(feed)["scan"]
    assert scan["frame"] == 11 and scan["decision"] is not None


# ---- which weights ----


def test_weights_are_known_by_their_digest():
    image = connection.weights_image(HELLO, MODEL, WEIGHTS)
    good = replace(HELLO, weights=zlib.crc32(image))
    found = known(good, MODEL, None)
    assert found.scale == SCALE and found.text == "those that come with Rasca"
    other = known(replace(good, weights=zlib.crc32(image) ^ 1), MODEL, None)
    assert other.weights is None and "not those that come with Rasca" in other.text
    for wrong in ((255, 255, 255), (8, 99, 2), (0, 0, 0)):
        assert known(replace(good, shape=wrong), MODEL, None).text.startswith("cannot be compared")
    assert known(replace(good, weights=0), MODEL, None).text == "none"
    assert "no such file" in known(good, MODEL, "no/such.safetensors").text


# ---- over HTTP ----


@contextmanager
def served(feed, control=None):
    """A page of a feed; its port."""
    import asyncio

    page = Page(feed, control, port=0)
    thread = threading.Thread(target=lambda: asyncio.run(page.serve()), daemon=True)
    thread.start()
    try:
        yield page
    finally:
        page.over.set()
        thread.join(LIMIT_S)
        assert not thread.is_alive()
        page.close()


def number(page):
    return int(page.url.rpartition(":")[2].strip("/"))


def ask(page, method="GET", path="/", body=None, **headers):
    """Status, headers and content."""
    link = http.client.HTTPConnection("127.0.0.1", number(page), timeout=LIMIT_S)
    try:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        link.request(method, path, body=body, headers=names)
        answer = link.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        link.close()


def post(page, body, **headers):
    """The page's own request, unless headers say otherwise."""
    own = {"Content_Type": "application/json", "Origin": f"http://127.0.0.1:{number(page)}"}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, _, content = ask(page, "POST", "/settings", data, **own | headers)
    return status, json.loads(content)


class Stream:
    """A browser's stream; sections as they came last are in `now`."""

    def __init__(self, page):
        self.link = http.client.HTTPConnection("127.0.0.1", number(page), timeout=LIMIT_S)
        self.link.request("GET", "/stream")
        self.answer = self.link.getresponse()
        self.now = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.link.close()
        self.answer.close()

    def until(self, right, what="it"):
        end = time.monotonic() + LIMIT_S
        while not (self.now and right(self.now)):
            assert time.monotonic() < end, f"{what} never came: {self.now}"
            line = self.answer.readline()
            assert line, "the stream has ended"
            if line.startswith(b"data: "):
                self.now |= json.loads(line[6:])
        return self.now


def test_the_page_needs_nothing_from_outside():
    with served(shown()) as page:
        text = b""
        for path, kind in (("/", "text/html"), ("/page.css", "text/css"),
                           ("/page.js", "text/javascript")):  # fmt: skip
            status, headers, content = ask(page, path=path)
            assert status == 200 and headers["Content-Type"].startswith(kind)
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert headers["Cache-Control"] == "no-store" and "Server" not in headers
            text += content
        assert b"http:" not in text and b"https:" not in text and b"innerHTML" not in text
        assert b"//cdn" not in text and b"style=" not in text
        for path in ("/etc/passwd", "/../feed.py", "/page.py", "/settings/"):
            status, _, content = ask(page, path=path)
            assert status == 404 and json.loads(content) == {"error": "there is no such page"}
        assert ask(page, "GET", "/settings")[0] == 405


def test_others_set_nothing():
    """Other pages of the same browser, names that point here, forms, too much of it."""
    wishes = []

    def control(wish):
        wishes.append(wish)
        from concurrent.futures import Future

        future = Future()
        future.set_result(None)
        return future

    with served(shown(), control) as page:
        own = number(page)
        for headers in (
            {"Origin": "http://elsewhere.example"},
            {"Origin": "null"},
            {"Origin": f"http://127.0.0.1:{own + 1}"},
            {"Origin": f"https://127.0.0.1:{own}"},
            {"Content_Type": "text/plain"},
            {"Content_Type": "application/x-www-form-urlencoded"},
            {"Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "same-site"},
            {"Host": "rebound.example", "Origin": "http://rebound.example"},
        ):
            status, found = post(page, {"stop": 0.9}, **headers)
            assert status == 403 and found["error"], headers
        assert ask(page, Host="rebound.example")[0] == 403
        assert ask(page, Host="[::1")[0] in (400, 403)
        assert ask(page, path="/stream", Host="rebound.example:80")[0] == 403
        # another page may not even ask whether it may
        status, headers, _ = ask(page, "OPTIONS", "/settings", Origin="http://elsewhere.example")
        assert status == 405 and "Access-Control-Allow-Origin" not in headers
        assert wishes == []
        for body, said in (
            (b"{", "expected JSON"),
            (b"[1]", "expected a JSON object"),
            ({"stop": "high"}, 'expected a number for stop, not "high"'),
            ({"stop": True}, "expected a number for stop, not true"),
            ({"skip": 1}, "skip must lie between 0 and 100 %, not at 100 %"),
            ({"stop": -0.5}, "stop must lie between 0 and 100 %, not at -50 %"),
            (b'{"stop": NaN}', "expected a number for stop, not NaN"),
            (b'{"stop": 1e999}', "expected a number for stop, not Infinity"),
            ({"skip": -(10**400)}, f"expected a number for skip, not -1{38 * '0'}"),
        ):
            assert post(page, body) == (400, {"error": said})
        try:
            assert post(page, b" " * 100_000)[0] in (400, 413)
        except (OSError, json.JSONDecodeError):
            pass  # it hung up in the middle, of what is sent or of its answer
        assert wishes == []
        assert post(page, {"stop": 0.9, "skip": None}) == (200, {"taken": None})
        assert post(page, {}, Sec_Fetch_Site="same-origin", Host=f"localhost:{own}",
                    Origin=f"http://localhost:{own}")[0] == 200  # fmt: skip
        assert wishes == [Wish(stop=threshold(0.9, SCALE, up=True)), Wish()]


def test_thresholds_without_probabilities():
    """Margins where the logits' unit is not known."""
    for value, steps in ((5, 5), (-7.0, -7), (None, None), (2**31 - 1, 2**31 - 1)):
        assert server.steps("stop", value, None, up=True) == steps
    for value in (0.5, 2**31, -(2**40), float("inf"), 10**300, 10**400):
        with pytest.raises(ValueError, match="stop"):
            server.steps("stop", value, None, up=True)


def test_names_of_this_machine():
    for good in ("127.0.0.1:8765", "[::1]:80", "localhost", "192.168.1.7:1", "board.local:9"):
        assert server.welcome(good, "board.local")
    for bad in (
        "[::1",
        "a]b",
        "\u2100",
        "",
        "elsewhere.example",
        "127.0.0.1.example:80",
        "localhost.example",
        "board",
    ):
        assert not server.welcome(bad, "127.0.0.1")


def test_picture():
    feed = shown()
    with served(feed) as page:
        status, headers, content = ask(page, path="/picture")
        assert (status, headers["X-Size"], content) == (200, "0,0,1", b"")
        feed.take(Preview(rows=2, columns=3, channels=1, row=1, column=1, data=b"\x07\x08"))
        assert everything(feed)["picture"]["missing"] == 4
        _, headers, content = ask(page, path="/picture")
        assert (headers["X-Size"], content) == ("2,3,1", b"\0\0\0\0\x07\x08")


def test_streams_are_counted_and_stalled_ones_let_go(monkeypatch):
    monkeypatch.setattr(server, "MOST_STREAMS", 2)
    monkeypatch.setattr(server, "STALLED_S", 0.3)
    monkeypatch.setattr(server, "BEAT_S", 0.1)
    feed = shown()
    with served(feed) as page:
        with Stream(page) as first, Stream(page) as second:
            first.until(lambda now: "link" in now)
            second.until(lambda now: "link" in now)
            assert ask(page, path="/stream")[0] == 503
        until(lambda: page.streams == 0, "the end of both")
        # one that never reads: what it should have got stays bounded, and it is let go
        stalled = socket.create_connection(("127.0.0.1", number(page)))
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        stalled.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: page.streams == 1)
        frame = 0
        with Stream(page) as lively:
            end = time.monotonic() + LIMIT_S
            while page.streams == 2 or not frame:
                assert time.monotonic() < end
                for event in rows(frame & 255, range(MODEL.row_groups)):
                    feed.take(event)
                feed.say("up", "x" * 200_000 + str(frame))
                lively.until(lambda now, frame=frame: now["link"]["text"].endswith(f"x{frame}"))
                frame += 1
        stalled.close()


# ---- a board behind a pseudo terminal ----


@contextmanager
def watched(board, patience=5.0, **more):
    """A board with a page: (link, page)."""
    feed = Feed(source=board.port)
    link = BoardLink(feed, board.port, 1_000_000, patience, **more)
    link.start()
    try:
        with served(feed, link.wish) as page:
            yield link, page
    finally:
        link.close()


def test_a_board_in_two_browsers(tmp_path, quick):
    """Scans, decisions, the picture; thresholds go round and both see them; one leaves."""
    with CameraBoard(tmp_path, hello=PREVIEWING) as board, watched(board) as (link, page):
        with Stream(page) as one:
            with Stream(page) as other:
                for stream in (one, other):
                    now = stream.until(
                        lambda now: (
                            now["frames"]["seen"] > 1 and now["scan"] and now["board"]["scale"]
                        )
                    )
                    assert now["link"]["state"] == "up" and now["board"]["classes"]
                    assert now["board"]["preview"] and len(now["scan"]["rows"]) == 21
                    stream.until(lambda now: now["picture"]["rows"] == 4, "a picture")
                status, found = post(page, {"stop": 0.7, "skip": 0.005})
                steps = {"stop": threshold(0.7, SCALE, up=True),
                         "skip": threshold(0.005, SCALE, up=False)}  # fmt: skip
                assert (status, found) == (200, {"taken": steps})
                assert (board.now.stop, board.now.skip) == (steps["stop"], steps["skip"])
                for stream in (one, other):
                    stream.until(lambda now: now["settings"]["taken"] == steps, "thresholds")
                    # the board stops earlier now, with a person
                    stream.until(
                        lambda now: (
                            now["frames"]["last"][0]["index"] == 1
                            and now["frames"]["last"][0]["rows"] == -(-steps["stop"] // 50_000)
                        )
                    )
            seen = one.now["frames"]["seen"]
            one.until(lambda now: now["frames"]["seen"] > seen + 3)
            assert post(page, {"stop": None, "skip": None})[1] == {
                "taken": {"stop": None, "skip": None}
            }
        assert ask(page, path="/picture")[1]["X-Size"] == "4,6,1"
        assert not board.now.flags & packets.Setting.COLOUR
        post(page, {"colour": True})
        assert board.now.flags & packets.Setting.COLOUR


def test_what_the_board_took_is_what_is_told(tmp_path, quick):
    """A board that takes another threshold is seen; one that says nothing is not believed."""
    with CameraBoard(tmp_path, wrong=1) as board, watched(board) as (_, page):
        until(lambda: page.feed.known and page.feed.known.scale)
        steps = threshold(0.7, SCALE, up=True)
        assert post(page, {"stop": 0.7})[1] == {"taken": {"stop": steps + 1, "skip": None}}
        now = everything(page.feed)["settings"]
        assert now["asked"]["stop"] == steps and now["taken"]["stop"] == steps + 1
    with CameraBoard(tmp_path, echo=False) as board, watched(board) as (_, page):
        until(lambda: page.feed.known and page.feed.known.scale)
        assert post(page, {"stop": 0.7}) == (200, {"taken": None})
        assert board.now.stop == steps
        assert everything(page.feed)["settings"]["taken"] is None


class Deaf:
    """A port that takes bytes until it is lost."""

    lost = False

    def write(self, data):
        if self.lost:
            raise BoardError("the cable")

    def close(self):
        pass


def test_each_page_is_told_what_became_of_its_own_wish():
    """Settings of two pages at once; one answer may stand for both. A wish that cannot be sent any
    more is answered at once."""
    link = BoardLink(Feed(source="x"), "x", 1_000_000)
    link._hello, link._transport = HELLO, Deaf()

    def granted(*wishes):
        futures = [link.wish(wish) for wish in wishes]
        link._grant()
        return futures

    def taken(stop):
        link._take(Taken(flags=0, stop=stop))

    first, second = granted(Wish(stop=5), Wish(stop=7))
    taken(5)
    assert first.result(0).stop == 5 and not second.done()
    taken(7)
    assert second.result(0).stop == 7
    both = granted(Wish(stop=5), Wish(stop=7))
    taken(7)
    assert [future.result(0).stop for future in both] == [7, 7]
    both = granted(Wish(stop=5), Wish(stop=7))
    taken(6)
    assert [future.result(0).stop for future in both] == [6, 6]
    link._transport.lost = True
    future = link.wish(Wish(stop=1))
    with pytest.raises(BoardError, match="the cable"):
        link._grant()
    link._close()
    with pytest.raises(BoardError, match="the board is gone"):
        future.result(0)


def test_a_board_that_goes_away_and_comes_back(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(links, "RETRY_S", 0.05)
    with CameraBoard(tmp_path) as board, watched(board) as (_, page), Stream(page) as stream:
        until(lambda: page.feed.known and page.feed.known.scale)
        post(page, {"stop": 0.9})
        steps = board.now.stop
        seen = stream.until(lambda now: now["frames"]["seen"] > 2)["frames"]["seen"]
        board.do("unplug")
        text = stream.until(lambda now: now["link"]["state"] == "lost")["link"]["text"]
        assert text.startswith("Not connected, and trying again: ") and text.count("\n") == 0
        status, found = post(page, {"stop": 0.8})
        assert status == 503 and "gets these when it is back" in found["error"]
        board.do("plug")
        stream.until(lambda now: now["link"]["state"] == "up", "the board")
        stream.until(lambda now: now["frames"]["seen"] > seen + 2, "frames")
        assert board.now.stop == threshold(0.8, SCALE, up=True) != steps
        assert board.now.flags & packets.Setting.ROWS
        # no decision counts as lost because the board counts its frames anew
        counts = everything(page.feed)["counters"]["here"]
        assert {name: count for name, _, count in counts}["missed"] == 0


def test_a_board_that_falls_silent(tmp_path, quick, monkeypatch):
    """Its terminal stays, but nothing comes."""
    monkeypatch.setattr(links, "RETRY_S", 0.05)
    with CameraBoard(tmp_path, rate=0) as board, watched(board, 0.6) as (_, page):
        board.do(lambda: setattr(board, "_take", lambda packet: None))
        found = until(
            lambda: (now := everything(page.feed)["link"])["state"] == "lost" and now["text"]
        )
        assert "the board has sent nothing for 0.6 s" in found
        board.do(lambda: delattr(board, "_take"))
        until(lambda: everything(page.feed)["link"]["state"] == "up")


def test_a_board_that_is_reset_gets_its_settings_again(tmp_path, quick):
    with CameraBoard(tmp_path) as board, watched(board) as (_, page):
        until(lambda: page.feed.known and page.feed.known.scale)
        post(page, {"stop": 0.9})
        wanted = board.now
        board.do("reset")
        until(lambda: board.now == wanted, "the settings")


@pytest.mark.parametrize("echo", [True, False])
def test_a_reset_whose_hello_is_lost_is_seen_by_its_rows(tmp_path, quick, monkeypatch, echo):
    monkeypatch.setattr(links, "SETTLE_S", 0.05)
    with CameraBoard(tmp_path, echo=echo) as board, watched(board):
        until(lambda: board.now.flags & packets.Setting.ROWS)
        board.do(lambda: setattr(board, "now", Taken(flags=0)))
        until(lambda: board.now.flags & packets.Setting.ROWS, "the settings")


def test_noise_and_strange_packets_are_counted(tmp_path, quick):
    with CameraBoard(tmp_path) as board, watched(board) as (_, page):
        damaged = bytearray(packets.encode(Kind.ROW, bytes(12)))
        damaged[6] ^= 4
        board.do(lambda: board._write(b"noise" + packets.encode(0x33, b"what") + damaged))

        def counts():
            now = everything(page.feed)["counters"]
            found = {name: count for name, _, count in now["here"]}
            return found["damaged"] and found

        found = until(counts)
        assert found["strange"] == 1 and found["noise"] == 5 + len(damaged)
        assert everything(page.feed)["link"]["state"] == "up"


def test_a_board_that_says_something_else_each_time(tmp_path, monkeypatch):
    """Its weights are looked up one after the other, and the last ones in the end."""
    running, most, asked = [], [], []

    def slow(hello, model, weights_file):
        running.append(hello)
        most.append(len(running))
        time.sleep(0.05)
        running.pop()
        asked.append(hello.weights)
        return replace(SHOWN, text=f"number {hello.weights}")

    monkeypatch.setattr(links, "known", slow)
    with CameraBoard(tmp_path, rate=0) as board, watched(board) as (_, page):
        until(lambda: asked)
        for number in range(1, 200):
            board.hello = replace(HELLO, weights=number)
            board.do(lambda: board.send(board.hello))
        until(lambda: page.feed.known.text == "number 199", "the last one")
        assert max(most) == 1 and len(asked) < 60


# ---- small boards ----


def test_a_small_board(monkeypatch):
    """Bytes: decisions, reports, what is neither; a picture that is asked for, and the next."""
    monkeypatch.setattr(links, "PICTURE_S", LIMIT_S)
    master, slave = pty.openpty()
    for end in (master, slave):
        tty.setraw(end)
    feed = Feed(source="p", small=True)
    feed.identify(Known(model=MODEL, weights=None, text=""))
    link = SmallLink(feed, os.ttyname(slave), 115_200)
    link.start()
    try:
        assert os.read(master, 9) == packets.SMALL_ASK
        os.write(master, bytes([0x80, 0x00, 0x02, 0x65, 0xC0]))
        for column, data in enumerate((b"a", b"b")):
            piece = Preview(rows=1, columns=2, channels=1, row=0, column=column, data=data)
            os.write(master, packets.encode(Kind.PREVIEW, piece.pack()))
        until(lambda: feed.picture()[3] == b"ab", "the picture")
        now = everything(feed)
        assert [one["class"] for one in now["frames"]["last"]] == [
            "no person",
            "no person",
            "person",
        ]
        assert [one["status"] for one in now["frames"]["last"]] == ["TRUNCATED", "OK", "OK"]
        assert len(now["board"]["wrong"]) == 2 and "flash is damaged" in now["board"]["wrong"][0]
        assert {name: count for name, _, count in now["counters"]["here"]}["noise"] == 1
        assert now["settings"]["settable"] is False and now["board"]["small"]
        assert os.read(master, 9) == packets.SMALL_ASK
    finally:
        link.close()
        os.close(master)
        os.close(slave)


# ---- recorded runs ----


def recording(count=2):
    found = [HELLO, Taken(flags=int(packets.Setting.STOP), stop=500), Counters()]
    for frame in range(count):
        found += rows(frame, range(-10, MODEL.row_groups - 10))
        end = Decision(frame=frame, index=1, status=0, rows_used=21, logits=(0, 10))
        found.append(end)
    return found


def packed(events):
    return b"".join(packets.encode(Kind[type(e).__name__.upper()], e.pack()) for e in events)


def test_a_replay(tmp_path, quick):
    """From a file, again and again; nothing can be set."""
    (tmp_path / replay.NAME).write_bytes(packed(recording()))
    events = replay.read(tmp_path)
    assert events == recording() == replay.read(tmp_path / replay.NAME)
    feed = Feed(source="run", replay=True)
    played = Replay(feed, events, speed=200)
    played.start()
    try:
        until(lambda: everything(feed)["frames"]["seen"] > 4)
        # the frame before the first one is the last one
        until(lambda: [feed._scan and feed._scan.frame, feed._before.frame] == [0, 1])
        now = everything(feed)
        assert now["link"]["state"] == "replay" and now["board"]["scale"] == SCALE
        assert now["settings"]["taken"] == {"stop": 500, "skip": None}
        assert now["settings"]["settable"] is False
        assert {name: count for name, _, count in now["counters"]["here"]}["missed"] == 0
        with served(feed) as page:
            assert post(page, {"stop": 0.5})[0] == 409
    finally:
        played.close()


# ---- the command ----


def test_bad_input(tmp_path, monkeypatch):
    """One line with what was expected and what came, and exit status 2."""
    (tmp_path / "text").write_text("words")
    (tmp_path / "odd").write_bytes(packed(recording()) + packets.encode(0x44, b"x"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "hello").write_bytes(packed([HELLO]))
    web = ("host", "--web")
    for words, said in (
        ((), "expected --port (serial port, or a pyserial URL), not nothing"),
        (("--port", tmp_path / "none"), "there is no such port"),
        (("--port", "p", "--replay", "r"), "expected --port or --replay, not both"),
        (("--port", "p", "--image", "i"), "expected --web or --image, not both"),
        (("--port", "p", "--picture", "i"), "expected --web or --picture, not both"),
        (("--replay", tmp_path / "none"), "none"),
        (("--replay", tmp_path / "empty"), replay.NAME),
        (("--replay", tmp_path / "text"), "not 0 packets without any"),
        (("--replay", tmp_path / "hello"), "not 1 packets without any"),
        (("--replay", tmp_path / "odd"), "a packet of unknown kind 0x44"),
        (("--port", "p", "--web-port", 70000), "--web-port must lie inside 0..65535, not 70000"),
        (("--port", "p", "--web-address", "no.such.example"), "an address of this machine"),
        (("--port", "p", "--web-address", "192.0.2.1"), "an address of this machine"),
        (("--port", "p", "--baud", "-1"), "p: expected a serial port that can be opened"),
    ):
        free = () if "--web-port" in words else ("--web-port", 0)
        line = refused(*web, *free, *words)
        assert said in line, line
    assert "--replay goes with --web" in refused("host", "--replay", "r")
    monkeypatch.setattr(replay, "MOST_BYTES", 4)
    assert "at most 0 MiB" in refused(*web, "--replay", tmp_path / "text")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(*web, "--port", "p", "--web-port", port)
        assert f"expected a free port, not {port}, which another program has" in line


def test_boards_that_cannot_be_shown():
    """Their port is taken, the baud rate is wrong: status 2; nobody there: 3, as elsewhere."""
    web = ("host", "--web", "--web-port", 0, "--patience", 0.3)
    with FakeBoard() as board:
        first = links.open_port(board.port, 1_000_000)
        assert "another program has it open" in refused(*web, "--port", board.port)
        first.close()
    with FakeBoard("garbage", 300) as board:
        line = refused(*web, "--port", board.port)
        assert "bytes came, but no packet: is the baud rate right?" in line
    with FakeBoard("silent") as board:
        found = invoke(*web, "--port", board.port)
        assert found.exit_code == 3 and "nothing came at all" in found.stderr


def test_the_command_serves(tmp_path, quick):
    web = ("host", "--web", "--web-port", 0, "--seconds", 0.2)
    with CameraBoard(tmp_path) as board:
        found = invoke(*web, "--port", board.port)
    assert found.exit_code == 0, found.output
    assert found.stdout.startswith("http://127.0.0.1:") and board.port in found.stdout
    (tmp_path / replay.NAME).write_bytes(packed(recording()))
    found = invoke(*web, "--replay", tmp_path, "--web-address", "0.0.0.0")
    assert found.exit_code == 0, found.output
    assert "whoever reaches 0.0.0.0 sees the page" in found.stderr
