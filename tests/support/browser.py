"""Chromium for tests, controlled over a pipe by its own protocol (chromedevtools.github.io/devtools-protocol)."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-pipe",
    "--window-size=1280,1600",
)
# Reported by the browser, independently of the page's scripts.
NOTE_VIOLATIONS = """
    window.violations = [];
    document.addEventListener("securitypolicyviolation", event =>
        violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
"""


class Page:
    """A page in the browser. `errors` has the errors in its console, including exceptions."""

    def __init__(self, commands: Any, events: Any) -> None:
        self._commands, self._events = commands, events
        self._number = 0
        self._session: dict[str, str] = {}
        self.errors: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        self._call("Page.addScriptToEvaluateOnNewDocument", source=NOTE_VIOLATIONS)

    def open(self, url: str) -> None:
        failure = self._call("Page.navigate", url=url).get("errorText")
        assert not failure, failure

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 20) -> Any:
        """Wait until a JavaScript expression is true, and return its value."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, f"{script} is not true after {seconds} s: {self.errors}"
            time.sleep(0.1)
        return value

    def click(self, selector: str) -> None:
        self.wait_for(f"document.querySelector({json.dumps(selector)}) !== null")
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector: str, text: str) -> None:
        self.wait_for(f"document.querySelector({json.dumps(selector)}) !== null")
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self._call("Input.insertText", text=text)

    def screenshot(self) -> str:
        """Return the page as a PNG in base64."""
        return str(self._call("Page.captureScreenshot", format="png")["data"])

    def _call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while True:
            answer = json.loads(self._read())
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._note(answer.get("method"), answer.get("params", {}))

    def _read(self) -> bytes:
        message = bytearray()
        while (byte := self._events.read(1)) != b"\0":
            assert byte, "the browser has ended"
            message += byte
        return bytes(message)

    def _note(self, event: str, parameters: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            self.errors.append(str(parameters["exceptionDetails"]))
        elif event == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
        elif event == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(part.get("value")) for part in parameters["args"]))


def find() -> str:
    """Return the path of Chromium or a browser based on it. Fail if none is installed."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    assert path, f"There is no browser: none of {', '.join(NAMES)} is installed. On Debian: apt install chromium."
    return path


@contextlib.contextmanager
def page(profile: Path) -> Iterator[Page]:
    """Yield a new page in a new Chromium, with its files in the folder `profile`."""
    path = find()
    read_commands, write_commands = os.pipe()
    read_events, write_events = os.pipe()

    def hand_over_pipes() -> None:
        # Chromium reads commands from file 3 and writes events to file 4.
        os.dup2(read_commands, 30)
        os.dup2(write_events, 31)
        os.dup2(30, 3)
        os.dup2(31, 4)

    process = subprocess.Popen(
        [path, *OPTIONS, f"--user-data-dir={profile}"],
        pass_fds=(3, 4),
        preexec_fn=hand_over_pipes,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_commands)
    os.close(write_events)
    try:
        with open(write_commands, "wb") as commands, open(read_events, "rb") as events:
            yield Page(commands, events)
    finally:
        process.terminate()
        process.wait(20)
