"""A headless Chromium, driven over a pipe by the Chrome DevTools Protocol."""

import base64
import contextlib
import itertools
import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from programs import need

# The protocol's pipe: Chromium reads commands from 3 and writes answers to 4.
_SHELL = 'read_end=$1 write_end=$2; shift 2; exec "$@" 3<&"$read_end" 4>&"$write_end"'
_ARROWS = ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown")
_LONGEST = 120  # seconds without an answer
_CODES = {"Enter": 13, **{key: 37 + place for place, key in enumerate(_ARROWS)}}


def wait_for(condition: Callable[[], Any], *, seconds: float = 60) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)


class Browser:
    """A page in a browser."""

    def __init__(self, commands: BinaryIO, answers: BinaryIO):
        self._commands, self._answers = commands, answers
        self._numbers = itertools.count(1)
        self._buffer = b""
        self._errors: list[str] = []
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.call("Runtime.enable")
        self.call("Log.enable")
        self.call("Page.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command, and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while True:
            answer = self._receive()
            entry = answer.get("params", {}).get("entry", {})
            thrown = answer.get("method") == "Runtime.exceptionThrown"
            if thrown or entry.get("level") == "error":
                self._errors.append(json.dumps(answer["params"]))
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    @property
    def errors(self) -> list[str]:
        """Exceptions of the page's scripts, and what the browser refused or failed at.

        Those until now: the browser sends them before its answer to one more call.
        """
        self.run("0")
        return self._errors

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], _LONGEST)
            assert ready, f"no answer in {_LONGEST} s"
            chunk = os.read(self._answers.fileno(), 1 << 16)
            assert chunk, "the browser ended"
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def close(self) -> None:
        """End the browser, which writes what pages have stored."""
        self._session = None
        self.call("Browser.close")

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, script: str, *, seconds: float = 60) -> None:
        """Wait until an expression is true."""
        wait_for(lambda: self.run(script), seconds=seconds)

    def open(self, page: Path, *, width: int = 1280, height: int = 900) -> None:
        """Open a file, in a window of so many pixels."""
        self.resize(width, height)
        self.run("window.left = true")
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait("!window.left && document.readyState === 'complete'")

    def resize(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 1},
            mobile=False,
        )

    def press(self, key: str) -> None:
        """Press and release a key."""
        fields = {"key": key, "windowsVirtualKeyCode": _CODES.get(key, ord(key[0]))}
        if key not in _CODES:
            fields["text"] = key
        self.call("Input.dispatchKeyEvent", type="keyDown", **fields)
        self.call("Input.dispatchKeyEvent", type="keyUp", **fields)

    def click(self, selector: str, *, at: tuple[float, float] = (0.5, 0.5)) -> None:
        """Click on an element, at a share of its width and height."""
        box = f"document.querySelector({selector!r}).getBoundingClientRect()"
        x, y, width, height = self.run(f"(b => [b.x, b.y, b.width, b.height])({box})")
        place = {"x": x + at[0] * width, "y": y + at[1] * height}
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent",
                **place,
                type=kind,
                button="left",
                clickCount=1,
            )

    def save_downloads(self, folder: Path) -> None:
        """Let downloads go to a folder."""
        self.call(
            "Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder)
        )

    def picture(self, path: Path) -> None:
        """Write a PNG of the window, once it shows what was done."""
        self.call(
            "Runtime.evaluate",
            expression="new Promise(done => requestAnimationFrame(() => "
            "requestAnimationFrame(done)))",
            awaitPromise=True,
        )
        image = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(image))


@contextlib.contextmanager
def open_browser(profile: Path, *options: str) -> Iterator[Browser]:
    """Yield a browser that keeps what pages store in a folder; skip without Chromium.

    It has no network, and draws WebGL without a GPU.

    Args:
        options: more of Chromium's.
    """
    need("chromium")
    read_commands, commands = os.pipe()
    answers, write_answers = os.pipe()
    arguments = (
        "--headless=new --remote-debugging-pipe --no-sandbox --use-gl=angle "
        "--use-angle=swiftshader --enable-unsafe-swiftshader --hide-scrollbars "
        "--disable-dev-shm-usage --no-first-run --proxy-server=127.0.0.1:9"
    ).split()
    process = subprocess.Popen(
        ["bash", "-c", _SHELL, "bash", str(read_commands), str(write_answers)]
        + ["chromium", *arguments, *options, f"--user-data-dir={profile}"]
        + ["about:blank"],
        pass_fds=(read_commands, write_answers),
        stderr=subprocess.DEVNULL,
    )
    os.close(read_commands)
    os.close(write_answers)
    with os.fdopen(commands, "wb") as writer, os.fdopen(answers, "rb") as reader:
        try:
            browser = Browser(writer, reader)
            yield browser
            browser.close()
            process.wait(timeout=60)
        finally:
            process.kill()
            process.wait()
