"""The page of boards/web in a real browser: phone and desktop, light and dark."""

import asyncio
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from boards import packets
from boards.packets import BoardStatus, Counters, Decision, Preview, Row, State, Taken
from boards.web import link as links
from boards.web.feed import Feed
from boards.web.replay import Replay
from golden.classifier import threshold
from tests.browser import Browser, needs_browser
from tests.fake_board import HELLO, MODEL, CameraBoard
from tests.test_web import SCALE, SHOWN, served, watched

pytestmark = needs_browser
PREVIEWING = replace(HELLO, status=int(BoardStatus.PREVIEW))

MEASURE = Path(__file__).with_name("measure.js").read_text()
"""What a browser sees of the page."""


def faults(found):
    """What is wrong with a page as a browser shows it."""
    wrong = []
    if found["scroll"] > found["width"]:
        wrong.append("the page is wider than the screen")
    wrong += [f"{name} is outside of the screen" for name in found["outside"]]
    wrong += [f"{name} is cut off" for name in found["cut"]]
    wrong += [f"too little contrast: {text}" for text in found["faint"]]
    wrong += [f"too small to touch: {name}" for name in found["small"]]
    if found["smallest"] < 12:
        wrong.append("text is too small")
    wrong += [f"{name} is empty" for name, count in found["ink"].items() if count < 8]
    return wrong


def run():
    """A recorded run: two frames with pictures, states, and a stop."""
    yield PREVIEWING
    yield Taken(flags=int(packets.Setting.STOP), stop=threshold(0.9, SCALE, up=True))
    yield Counters(values=(1, *(0,) * 13))
    for frame in range(2):
        for group in range(MODEL.row_groups):
            for row in range(5 * group, 5 * group + 5):
                line = bytes((3 * row + 2 * x + 90 * frame) & 255 for x in range(120))
                yield Preview(rows=105, columns=120, channels=1, row=row, column=0, data=line)
            margin = (1 - 2 * frame) * 80_000 * (group - 6)
            yield Row(frame=frame, row_group=group, logits=(0, margin))
            for channel in range(MODEL.state_channels):
                data = bytes((7 * channel + 31 * group + 50 * x) & 255 for x in range(MODEL.n))
                yield State(frame=frame, channel=channel, row_group=group, data=data)
        yield Decision(frame=frame, index=1 - frame, status=0, rows_used=21, logits=(0, margin))


@contextmanager
def replayed(monkeypatch, speed=3.0):
    monkeypatch.setattr(links, "known", lambda *_: SHOWN)
    feed = Feed(source="a recorded run", replay=True)
    played = Replay(feed, list(run()), speed=speed)
    played.start()
    try:
        with served(feed) as page:
            yield page
    finally:
        played.close()


def browse(work):
    """A coroutine with a browser in its hands, on an event loop of its own."""

    async def whole():
        async with Browser() as browser:
            await work(browser)
            assert browser.errors == []

    asyncio.run(whole())


def test_replay_on_phone_and_desktop_light_and_dark(monkeypatch):
    async def work(browser):
        for width, dark in ((360, False), (360, True), (1280, False), (1280, True)):
            await browser.screen(width, 800, dark=dark, phone=width < 500)
            await browser.open(page.url)
            await browser.until('document.querySelectorAll("#frames-rows tr").length >= 1')
            await browser.until("pixels && now.scan && Object.keys(now.scan.map).length > 3")
            for part in ("numbers", "counters details"):
                await browser.ask(f'document.querySelector("#{part}").open = true')
            await asyncio.sleep(0.3)
            found = await browser.ask(MEASURE)
            assert found["width"] == width and found["dark"] == dark
            assert faults(found) == [], (width, dark)
        said = await browser.ask('document.getElementById("said").textContent')
        assert said in ("person", "no person")
        taken = await browser.ask('document.getElementById("taken").textContent')
        assert taken == "A replay: nothing can be set. It was run with stop at 90.0 %, skip off."
        assert await browser.ask('document.getElementById("fields").disabled')
        counted = await browser.ask('document.getElementById("counters-text").textContent')
        assert counted == "overrun: 1 (frames lost because the camera was faster than the engine)"
        link = await browser.ask('document.getElementById("link").textContent')
        assert link.startswith("A replay of a recorded run, again and again")
        # each control has a name, and each picture words
        tree = (await browser.do("Accessibility.getFullAXTree"))["nodes"]
        roles = ("checkbox", "spinbutton", "button", "image", "img", "table", "heading")
        for node in tree:
            if not node["ignored"] and node.get("role", {}).get("value") in roles[:5]:
                assert node["name"]["value"], node

    with replayed(monkeypatch) as page:
        browse(work)


def test_the_browsers_check_can_fail(monkeypatch):
    async def work(browser):
        await browser.screen(360, 800)
        await browser.open(page.url)
        await browser.until("pixels && now.scan")
        await browser.ask(
            """(() => { const add = (text, style) => { const p = document.createElement("p");
            p.textContent = text; for (const [k, v] of Object.entries(style)) p.style[k] = v;
            document.body.append(p); };
            add("wide", {width: "400px"}); add("pale", {color: "#999"});
            add("tiny", {fontSize: "9px"});
            document.getElementById("key").getContext("2d").clearRect(0, 0, 128, 10);
            const stop = document.getElementById("stop");
            stop.style.cssText = "min-height: 0; height: 9px; padding: 0"; })()"""
        )
        wrong = faults(await browser.ask(MEASURE))
        assert "the page is wider than the screen" in wrong
        assert "P# is outside of the screen" in wrong
        assert any(line.startswith("too little contrast: pale: 2.") for line in wrong)
        assert "text is too small" in wrong and "key is empty" in wrong
        assert "too small to touch: stop" in wrong

    with replayed(monkeypatch) as page:
        browse(work)


def test_thresholds_from_the_page_to_the_board_and_back(tmp_path, monkeypatch):
    """Typed and sent; told as the board took them; drawn. Then the cable, then the host tool."""
    monkeypatch.setattr(links, "known", lambda *_: SHOWN)
    monkeypatch.setattr(links, "RETRY_S", 0.05)

    async def work(browser):
        await browser.screen(1280, 800)
        await browser.open(page.url)
        await browser.until('!document.getElementById("fields").disabled && now.board.scale')
        text = await browser.until("""(t => t.startsWith("Connected to") && t)
            (document.getElementById("link").textContent)""")
        assert "No frame" not in text or "No frame yet" in text
        await browser.ask("""(() => { const stop = document.getElementById("stop");
            stop.value = "70"; stop.dispatchEvent(new Event("input", {bubbles: true}));
            document.querySelector("#form button").click(); })()""")
        await browser.until("""document.getElementById("taken").textContent ===
            "The board has: stop at 70.0 %, skip off." """)
        assert board.now.stop == threshold(0.7, SCALE, up=True) and board.now.skip is None
        # the page says what is wrong with a wish, and the board keeps what it has
        await browser.ask("""(() => { const stop = document.getElementById("stop");
            stop.value = "170"; stop.dispatchEvent(new Event("input", {bubbles: true}));
            document.querySelector("#form button").click(); })()""")
        await browser.until("""document.getElementById("taken").textContent ===
            "stop must lie between 0 and 100 %, not at 170 %" """)
        assert board.now.stop == threshold(0.7, SCALE, up=True)
        await browser.until("pixels && pixels.rows === 4")
        board.do("unplug")
        await browser.until("""document.getElementById("link").textContent
            .startsWith("Not connected, and trying again")""")
        board.do("plug")
        await browser.until("""document.getElementById("link").textContent
            .startsWith("Connected to")""")
        assert board.now.stop == threshold(0.7, SCALE, up=True)
        page.over.set()
        await browser.until("""document.getElementById("link").textContent
            .startsWith("The host tool does not answer")""")
        browser.errors.clear()  # of the stream that it lost

    with CameraBoard(tmp_path, rate=8, hello=PREVIEWING) as board:
        with watched(board) as (_, page):
            browse(work)


def test_a_board_without_picture_and_unknown_weights(tmp_path, monkeypatch):
    """What there is, in words: bands by row group, margins instead of probabilities."""
    others = replace(SHOWN, weights=None, text="others")
    monkeypatch.setattr(links, "known", lambda *_: others)

    async def work(browser):
        await browser.screen(360, 800, phone=True)
        await browser.open(page.url)
        await browser.until("""document.getElementById("picture-text").textContent.startsWith(
            "This board sends no picture (make bitstream OUTPUTS=preview ")""")
        await browser.until("now.scan && now.frames.seen > 1")
        caption = await browser.ask('document.getElementById("curve-text").textContent')
        assert caption == "person: margin (units of the logits), by row group"
        await asyncio.sleep(0.3)
        assert faults(await browser.ask(MEASURE)) == []
        assert await browser.ask('document.getElementById("colour-field").hidden')

    with CameraBoard(tmp_path, rate=8) as board, watched(board) as (_, page):
        browse(work)
