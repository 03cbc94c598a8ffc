"""A headless Chromium over the DevTools protocol, on a pipe: no port, no package.

https://chromedevtools.github.io/devtools-protocol: JSON messages, each ended by a zero byte, on the file
descriptors 3 (to the browser) and 4 (from it).
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from distiller.spaces.errors import InputError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
VARIABLE = "BROWSER_PATH"
ARGUMENTS = (
    "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check",
    "--hide-scrollbars", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio",
    # The page is a file of this machine; nothing that it or the browser asks for leaves it.
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
READ = 1 << 16


def find_browser() -> str | None:
    """Path of an installed Chromium, Chrome or Edge; what `BROWSER_PATH` says comes first."""
    if named := os.environ.get(VARIABLE):
        found = shutil.which(named)
        if found is None:
            raise InputError(f"{VARIABLE}={named}: no such program; name a Chromium, Chrome or Edge")
        return found
    return next((path for name in (*NAMES, MAC) if (path := shutil.which(name))), None)


class Page:
    """One page of a running browser.

    Attributes:
        events: what the browser has said unasked, in order.
    """

    def __init__(self, browser: subprocess.Popen[bytes], seconds: float):
        self._to, self._from = _piped(browser)
        self._deadline = time.monotonic() + seconds
        self._session: str | None = None
        self._left = b""
        self._count = 0
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command; RuntimeError where the browser refuses it, TimeoutError in time."""
        self._count += 1
        said = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            said["sessionId"] = self._session
        self._to.write(json.dumps(said).encode() + b"\0")
        self._to.flush()
        while (answer := self._receive()).get("id") != self._count:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"the browser: {method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, path: Path, width: int, height: int = 900) -> None:
        """Loads a local file in a window of that many CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        seen = len(self.events)
        failed = self.call("Page.navigate", url=path.resolve().as_uri()).get("errorText")
        if failed:
            raise RuntimeError(f"the browser: {path}: {failed}")
        while not any(event["method"] == "Page.loadEventFired" for event in self.events[seen:]):
            self.events.append(self._receive())

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression, a promise's when it has one; RuntimeError where it throws."""
        told = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if wrong := told.get("exceptionDetails"):
            said = wrong.get("exception", {}).get("description") or wrong["text"]
            raise RuntimeError(f"the page: {said}")
        return told["result"].get("value")

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            wait = self._deadline - time.monotonic()
            if wait <= 0 or not select.select([self._from], [], [], wait)[0]:
                raise TimeoutError("the browser did not answer in time")
            more = os.read(self._from.fileno(), READ)
            if not more:
                raise RuntimeError("the browser ended")
            self._left += more
        message, _, self._left = self._left.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        return told


def _piped(browser: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert browser.stdin is not None
    assert browser.stdout is not None
    return browser.stdin, browser.stdout


@contextmanager
def browser_page(program: str, seconds: float = 300.0) -> Iterator[Page]:
    """A page of a browser of its own, which ends with the block.

    Raises:
        InputError: the program does not start as a browser.
    """
    arguments = [program, *ARGUMENTS]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium's sandbox refuses root
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, tempfile.TemporaryFile() as said:
        arguments.append(f"--user-data-dir={profile}")
        process = subprocess.Popen(
            ["/bin/sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null', "sh", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            bufsize=0,
            start_new_session=True,
        )
        try:
            try:
                page = Page(process, seconds)
            except (RuntimeError, OSError) as error:
                said.seek(0)
                lines = said.read().decode(errors="replace").split("\n")
                why = next((line.strip() for line in reversed(lines) if line.strip()), str(error))
                raise InputError(f"{program} does not start as a headless browser: {why[:300]}") from error
            yield page
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Closing its pipe ends a browser; what is still there after a while is killed with its children."""
    for stream in _piped(process):
        stream.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
