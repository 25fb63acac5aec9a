"""Chromium without a window, driven over its debugging pipe: no package needed."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
_QUIET = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--hide-scrollbars"
)


class Page:
    """One page of the browser."""

    def __init__(self, write: Any, read: Any) -> None:
        self._write = write
        self._read = read
        self._numbers = itertools.count(1)
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "DOM", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Calls a method of the protocol and returns its result; events are passed over."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        self._write.flush()
        while True:
            reply = json.loads(self._message())
            if reply.get("id") == number:
                assert "error" not in reply, reply
                return reply["result"]

    def _message(self) -> bytes:
        found = bytearray()
        while (byte := self._read.read(1)) != b"\0":
            assert byte, "the browser ended"
            found += byte
        return bytes(found)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 200) -> Any:
        """The value of an expression once it is true."""
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, f"never: {expression}"
            time.sleep(0.05)
        return value

    def open(self, address: str, width: int = 1000, height: int = 900) -> None:
        """Goes to an address in a window of so many pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete'")

    def choose(self, selector: str, file: Path) -> None:
        """Picks a file as a user does."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def press(self, key: str) -> None:
        """Presses a key."""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode={"Tab": 9}[key],
            )

    def screenshot(self, file: Path) -> None:
        """Stores what is to be seen as PNG."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A browser with an empty profile in a folder."""
    assert CHROMIUM is not None
    (our_read, its_write), (its_read, our_write) = os.pipe(), os.pipe()
    # The protocol's pipes are descriptors 3 and 4 of the browser.
    command = [
        CHROMIUM,
        *_QUIET.split(),
        f"--user-data-dir={profile}",
        "--remote-debugging-pipe",
        "about:blank",
    ]
    shell = f'exec "$@" 3<&{its_read} 4>&{its_write}'
    process = subprocess.Popen(
        ["bash", "-c", shell, "bash", *command],
        pass_fds=(its_read, its_write),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    os.close(its_read)
    os.close(its_write)
    with open(our_write, "wb") as write, open(our_read, "rb") as read:
        try:
            yield Page(write, read)
        finally:
            process.kill()
            process.wait()
