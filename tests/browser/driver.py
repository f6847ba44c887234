"""Drives Chromium through the example of a gateway, by the WebDriver protocol: see tests/browser/run.

    driver.py GATEWAY DIRECTORY     the built example, and an empty directory to work in
"""

import contextlib
import hashlib
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request

SECONDS = 30
# Of the video: red, then blue, with noise, so that a codec has much to store.
HALF = 20
WIDTH, HEIGHT = 640, 360
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
FLAGS = [
    "--headless",
    "--disable-gpu",
    # That of a container is too small.
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# What scripts of the pages use.
HELPERS = """
const hex = buffer => [...new Uint8Array(buffer)].map(byte => byte.toString(16).padStart(2, "0")).join("");
const sha256 = async bytes => hex(await crypto.subtle.digest("SHA-256", bytes));
const event = (target, name) => new Promise((done, failed) => {
    target.addEventListener(name, done, {once: true});
    target.addEventListener("error", () => failed(`error ${target.error?.message}`), {once: true});
});
"""

# Whole, and broken off in the middle and gone on with.
RESUME = """
const [url] = args;
const first = await fetch(url, {cache: "no-store"});
const size = Number(first.headers.get("content-length"));
const etag = first.headers.get("etag");
const chunks = [];
let come = 0;
const reader = first.body.getReader();
while (come < size / 2) {
    const {value} = await reader.read();
    chunks.push(value);
    come += value.length;
}
await reader.cancel();
const headers = {"Range": `bytes=${come}-`, "If-Range": etag};
const rest = await fetch(url, {cache: "no-store", headers});
const range = rest.headers.get("content-range");
chunks.push(new Uint8Array(await rest.arrayBuffer()));
const whole = new Uint8Array(await new Blob(chunks).arrayBuffer());
const outcome = {first: first.status, rest: rest.status, range, come, size, etag, sha256: await sha256(whole)};

// Replaced meanwhile, the rest is of another object: all of that comes.
const put = await fetch(url, {method: "PUT", body: "another"});
const other = await fetch(url, {cache: "no-store", headers});
return {...outcome, put: put.status, other: other.status, text: await other.text()};
"""

# Plays, seeks to the middle, and looks at the picture on either side.
PLAY = """
const video = document.querySelector("video");
video.muted = true;
const colour = () => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 1;
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(video, 0, 0, 1, 1);
    const [red, , blue] = context.getImageData(0, 0, 1, 1).data;
    return red > 2 * blue ? "red" : blue > 2 * red ? "blue" : `${red}, ${blue}`;
};
const played = async seconds => {
    const from = video.currentTime;
    await video.play();
    while (video.currentTime < from + seconds) await event(video, "timeupdate");
    video.pause();
    return colour();
};
if (video.readyState < 2) await event(video, "loadeddata");
const {videoWidth: width, videoHeight: height, duration} = video;
const before = await played(1);
const seeked = event(video, "seeked");
video.currentTime = duration / 2 + 1;
await seeked;
const middle = {at: video.currentTime, colour: colour()};
const after = await played(1);
return {width, height, duration, before, middle, after, at: video.currentTime, error: video.error?.message ?? null};
"""


class Browser:
    """A session of WebDriver: https://www.w3.org/TR/webdriver2/."""

    def __init__(self, driver, work):
        flags = [*FLAGS, f"--user-data-dir={work / 'profile'}"]
        if os.geteuid() == 0:
            # As root, Chromium has no sandbox.
            flags.append("--no-sandbox")
        options = {"args": flags, "prefs": {"download.default_directory": str(work / "downloads")}}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"performance": "ALL"}}
        self.session = driver
        started = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"{driver}/session/{started['sessionId']}"
        self.ask("POST", "/timeouts", {"script": SECONDS * 1000})

    def ask(self, method, path, body=None):
        body = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.session + path, body, {"content-type": "application/json"}, method=method)
        # No proxies: the driver is here.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=2 * SECONDS) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            told = json.load(error)["value"]
            raise RuntimeError(f"{told['error']}: {told['message']}") from None

    def go(self, url):
        self.ask("POST", "/url", {"url": url})

    def url(self):
        return self.ask("GET", "/url")

    def find(self, selector, by="css selector"):
        return "/element/" + self.ask("POST", "/element", {"using": by, "value": selector})[ELEMENT]

    def follow(self, link, place):
        self.ask("POST", self.find(link, by="link text") + "/click", {})
        until(lambda: urllib.parse.unquote(self.url()) == place, f"the way to {place}")

    def text(self):
        """What is shown; nothing while the page comes."""
        return self.ask("POST", "/execute/sync", {"script": "return document.body?.innerText ?? ''", "args": []})

    def run(self, script, *args):
        """The value of an async function of the page."""
        # WebDriver gives a script its arguments, and the callback as the last of them.
        script = f"""{HELPERS}
            const [args, done] = arguments;
            (async () => {{ {script} }})().then(value => done({{value}}), error => done({{error: String(error)}}));"""
        outcome = self.ask("POST", "/execute/async", {"script": script, "args": [list(args)]})
        if "error" in outcome:
            raise RuntimeError(outcome["error"])
        return outcome.get("value")

    def answers(self):
        """What came over the network since the last call: URL, status and headers of each answer."""
        urls, answers = {}, []
        for entry in self.ask("POST", "/se/log", {"type": "performance"}):
            message = json.loads(entry["message"])["message"]
            method, params = message["method"], message["params"]
            if method == "Network.requestWillBeSent":
                urls[params["requestId"]] = params["request"]["url"]
            elif method == "Network.responseReceivedExtraInfo":
                headers = {name.lower(): value for name, value in params["headers"].items()}
                answers.append((params["requestId"], params["statusCode"], headers))
        return [(urls.get(request, ""), status, headers) for request, status, headers in answers]


def until(condition, what):
    deadline = time.monotonic() + SECONDS
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not in {SECONDS} seconds")
        time.sleep(0.05)
    return value


@contextlib.contextmanager
def started(command, says):
    """A process; yields what the pattern finds in its output."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            if found := re.search(says, line):
                yield found[1]
                break
        else:
            raise RuntimeError(f"{command[0]} ended with status {process.wait()}")
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def make_video(path):
    red, blue = (f"color={name}:size={WIDTH}x{HEIGHT}:rate=25:duration={HALF}" for name in ["red", "blue"])
    both = ["-f", "lavfi", "-i", red, "-f", "lavfi", "-i", blue]
    noisy = ["-filter_complex", "[0][1]concat,noise=alls=60:allf=t", "-pix_fmt", "yuv420p"]
    fast = ["-c:v", "libvpx", "-b:v", "8M", "-deadline", "realtime", "-cpu-used", "8"]
    subprocess.run(["ffmpeg", "-loglevel", "error", "-nostdin", *both, *noisy, *fast, path], check=True)


def equal(what, found, expected):
    if found != expected:
        raise AssertionError(f"{what}: {found!r} in place of {expected!r}")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Checks:
    """Each needs those before it."""

    def __init__(self, browser, root, work):
        self.browser, self.root, self.work = browser, root, work
        self.video, self.data, self.odd = work / "video.webm", work / "data.bin", work / "a b#ü & 100%.txt"
        make_video(self.video)
        self.data.write_bytes(random.Random(7).randbytes(24 << 20))
        self.odd.write_text("odd\n")

    def the_page_lists_objects_and_a_link_leads_to_one(self):
        self.browser.go(f"{self.root}/")
        equal("title", self.browser.ask("GET", "/title"), "Objects")
        self.browser.follow("readme.txt", f"{self.root}/readme.txt")
        equal("text", self.browser.text().split("\n")[:100], ["Objects over HTTP."] * 100)

    def files_that_are_chosen_on_the_page_are_stored(self):
        self.browser.go(f"{self.root}/")
        files = [self.video, self.data, self.odd]
        chooser = self.browser.find("input[type=file]")
        self.browser.ask("POST", f"{chooser}/value", {"text": "\n".join(map(str, files))})
        until(lambda: self.odd.name in self.browser.text(), "the files in the list")
        lines = self.browser.text().split("\n")
        for file in files:
            equal(f"{file.name} is listed", f"{file.name} {file.stat().st_size}" in lines, True)

    def a_key_that_urls_escape_is_opened_by_its_link(self):
        self.browser.follow(self.odd.name, f"{self.root}/{self.odd.name}")
        equal("text", self.browser.text().strip(), "odd")

    def a_video_plays_and_seeks(self):
        self.browser.go(f"{self.root}/")
        self.browser.answers()
        self.browser.follow("video.webm", f"{self.root}/video.webm")
        seen = self.browser.run(PLAY)
        print(f"  {seen}")
        equal("error", seen["error"], None)
        equal("size", (seen["width"], seen["height"]), (WIDTH, HEIGHT))
        equal("duration", round(seen["duration"]), 2 * HALF)
        equal("the pictures", (seen["before"], seen["middle"]["colour"], seen["after"]), ("red", "blue", "blue"))
        equal("where the seek led to", round(seen["middle"]["at"]), HALF + 1)
        equal("played on", seen["at"] > HALF + 1.9, True)

    def the_video_came_in_ranges(self):
        size = self.video.stat().st_size
        answers = [(status, headers) for url, status, headers in self.browser.answers() if url.endswith("/video.webm")]
        ranges = [headers.get("content-range") for _, headers in answers]
        print(f"  {ranges}")
        # The first answer is to the link, before the browser knows that it is a video.
        equal("statuses", {status for status, _ in answers[1:]}, {206})
        equal("each of the whole", all(told.endswith(f"/{size}") for told in ranges[1:]), True)
        begins = [int(re.match(r"bytes (\d+)-", told)[1]) for told in ranges[1:]]
        equal("a range for the middle", any(size // 3 < begin < size * 2 // 3 for begin in begins), True)

    def bytes_are_those_of_the_file(self):
        digest = self.browser.run("return sha256(await (await fetch(args[0])).arrayBuffer())", "/data.bin")
        equal("SHA-256", digest, sha256(self.data))

    def what_is_cached_is_asked_for_again_by_its_etag(self):
        script = 'const read = await fetch(args[0], {cache: "no-cache"}); return (await read.arrayBuffer()).byteLength'
        self.browser.run(script, "/readme.txt")
        self.browser.answers()
        equal("bytes", self.browser.run(script, "/readme.txt"), 1900)
        equal("statuses", [status for _, status, _ in self.browser.answers()], [304])

    def a_download_is_saved_as_a_file(self):
        saved = self.work / "downloads" / self.data.name
        self.browser.run("location = args[0]", "/data.bin?download")
        until(saved.exists, "the download")
        equal("SHA-256", sha256(saved), sha256(self.data))

    def a_download_that_breaks_off_is_resumed_and_never_mixed(self):
        seen = self.browser.run(RESUME, "/data.bin")
        print(f"  {seen}")
        size = self.data.stat().st_size
        equal("statuses", (seen["first"], seen["rest"]), (200, 206))
        equal("range", seen["range"], f"bytes {seen['come']}-{size - 1}/{size}")
        equal("a part was left", seen["come"] < size, True)
        equal("SHA-256", seen["sha256"], sha256(self.data))
        equal("after it was replaced", (seen["put"], seen["other"], seen["text"]), (201, 200, "another"))


def main():
    gateway, work = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    passed = 0
    names = [name for name, value in vars(Checks).items() if callable(value) and not name.startswith("_")]
    with contextlib.ExitStack() as running:
        root = running.enter_context(started([gateway, "--listen", "127.0.0.1:0"], r"^(http://\S+)"))
        port = running.enter_context(started(["chromedriver", "--port=0"], r"successfully on port (\d+)"))
        browser = Browser(f"http://127.0.0.1:{port}", work)
        running.callback(browser.ask, "DELETE", "")
        checks = Checks(browser, root, work)
        for name in names:
            begun = time.monotonic()
            try:
                getattr(checks, name)()
            except Exception as error:
                print(f"{name}: FAILED: {error}")
            else:
                print(f"{name}: ok, {time.monotonic() - begun:.1f} s")
                passed += 1
    print(f"browser: {passed} of {len(names)} checks passed")
    sys.exit(passed != len(names))


main()
