"""A headless Chromium for tests, driven over WebDriver's HTTP (W3C WebDriver) without a library.

The browser resolves no names, so nothing that it is told can leave this machine.
"""

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

PATIENCE = 60

_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def missing():
    """What of Chromium is not here; empty when all is."""
    return [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]


class WebDriverError(Exception):
    pass


class Browser:
    """One window with a new profile. Use as a context, or close()."""

    def __init__(self, dark=False):
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._session = None
        # It takes a free port of IPv4 and wants the same one of IPv6, which may be taken.
        for _ in range(5):
            self._driver = subprocess.Popen(
                ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            self._url = self._listening_at()
            if self._url:
                break
            self._driver.stdout.close()
            self._driver.wait()
        try:
            if not self._url:
                raise WebDriverError("chromedriver ended before it listened")
            self._open(dark)
        except BaseException:
            self.close()
            raise

    def _listening_at(self):
        """Where chromedriver listens; None when it ended instead."""
        for line in self._driver.stdout:
            if "started successfully on port " in line:
                return f"http://127.0.0.1:{int(line.rstrip().rstrip('.').split()[-1])}"
        return None

    def _open(self, dark):
        options = {
            "binary": shutil.which("chromium"),
            "args": [*_FLAGS, f"--user-data-dir={self._profile.name}"],
            "perfLoggingPrefs": {"enableNetwork": True},
        }
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        opened = self._call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self._session = opened["sessionId"]
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self._session is not None:
            try:
                self._call("DELETE", f"/session/{self._session}")
            except (WebDriverError, OSError):
                pass
            self._session = None
        self._driver.terminate()
        self._driver.wait(PATIENCE)
        self._driver.stdout.close()
        self._profile.cleanup()

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._url + path, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            raise WebDriverError(error.read().decode()) from None

    def _in_session(self, method, path, body=None):
        return self._call(method, f"/session/{self._session}{path}", body)

    def devtools(self, command, **parameters):
        return self._in_session("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url):
        self._in_session("POST", "/url", {"url": url})

    def resize(self, width, height):
        """The size of the page's area."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def run(self, script, *arguments):
        """Runs the body of a JavaScript function and returns what it returns."""
        return self._in_session("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, selector):
        return self._in_session("POST", "/element", {"using": "css selector", "value": selector})[_ELEMENT]

    def click(self, selector):
        self._in_session("POST", f"/element/{self.find(selector)}/click", {})

    def type(self, selector, text):
        element = self.find(selector)
        self._in_session("POST", f"/element/{element}/clear", {})
        self._in_session("POST", f"/element/{element}/value", {"text": text})

    def text(self, selector):
        """What a reader sees of the first such element; empty without one."""
        return self.run("const e = document.querySelector(arguments[0]); return e ? e.innerText : '';", selector)

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText);", selector)

    def wait(self, what, condition):
        """The first true value of condition(); fails, saying `what`, when none comes."""
        end = time.monotonic() + PATIENCE
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"waited {PATIENCE} s for {what}; the page shows:\n{self.text('body')}")
            time.sleep(0.05)

    def wait_text(self, selector, part):
        return self.wait(f"{part!r} in {selector}", lambda: part in self.text(selector))

    def log(self, kind="browser"):
        """What was logged since the last call: "browser" (the page's console) or "performance" (DevTools events)."""
        return self._in_session("POST", "/se/log", {"type": kind})

    def requests(self):
        """The URLs that were asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def screenshot(self, path, whole=True):
        shot = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))
