"""A headless Chromium at the other end of its debugging protocol: sizes, colours, words, clicks."""

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
    --disable-background-networking --disable-component-update --hide-scrollbars
    --disable-dev-shm-usage --remote-debugging-port=0 about:blank""".split()
LIMIT_S = 60.0


class Browser:
    """A page in a browser; `async with Browser() as browser`."""

    async def __aenter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="rasca-browser-")
        self.process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={self.folder.name}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.numbers, self.session, self.errors = itertools.count(1), None, []
        told = Path(self.folder.name) / "DevToolsActivePort"
        end = time.monotonic() + LIMIT_S
        while not told.exists() or len(told.read_text().split()) < 2:
            assert time.monotonic() < end, "the browser does not start"
            await asyncio.sleep(0.05)
        port, path = told.read_text().split()
        address = HTTPRequest(f"ws://127.0.0.1:{port}{path}", connect_timeout=LIMIT_S)
        self.socket = await websocket_connect(address, max_message_size=64 << 20)
        target = await self.do("Target.createTarget", url="about:blank")
        attached = await self.do("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Accessibility"):
            await self.do(f"{domain}.enable")
        return self

    async def __aexit__(self, *_):
        self.socket.close()
        self.process.terminate()
        self.process.wait(LIMIT_S)
        with contextlib.suppress(OSError):  # it may still write
            self.folder.cleanup()

    async def do(self, method, **parameters):
        """A command of the protocol, and its result."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        await self.socket.write_message(json.dumps(message))
        while True:
            text = await asyncio.wait_for(self.socket.read_message(), LIMIT_S)
            assert text is not None, "the browser is gone"
            found = json.loads(text)
            if found.get("id") == number:
                assert "error" not in found, found
                return found["result"]
            self._event(found)

    def _event(self, found):
        """Whatever goes wrong in the page is kept."""
        content = found.get("params", {})
        if found.get("method") == "Runtime.exceptionThrown":
            self.errors.append(content["exceptionDetails"])
        elif found.get("method") == "Log.entryAdded" and content["entry"]["level"] == "error":
            self.errors.append(content["entry"])

    async def screen(self, width, height=800, *, dark=False, phone=False):
        """Size of the screen and its colours."""
        await self.do(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.do("Emulation.setEmulatedMedia", features=scheme)

    async def open(self, url):
        await self.do("Page.navigate", url=url)
        await self.until(
            f"location.href === {json.dumps(url)} && document.readyState === 'complete'"
        )

    async def ask(self, expression):
        """What JavaScript makes of an expression."""
        found = await self.do(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, expression, seconds=20.0):
        """Waits until an expression is true; its value."""
        end = time.monotonic() + seconds
        while True:
            found = await self.ask(expression)
            if found:
                return found
            assert time.monotonic() < end, f"never: {expression}"
            await asyncio.sleep(0.1)

    async def picture(self, path):
        """The whole page as a PNG file."""
        found = await self.do("Page.captureScreenshot", captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(found["data"]))
