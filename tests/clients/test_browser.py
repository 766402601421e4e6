"""The page for people in a real browser: what it shows after parsing and redirects, not what was sent to it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.clients.node_process import RunningNode, started_nodes
from tests.clients.test_pyhandle import put, text_values

BROWSER = "chromium"
TIMEOUT_S = 60
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
"""Nothing leaves the machine, whatever the browser would like to look up."""
NAME, CODE, ABSENT = "99.900/零件-1", "99.900/code-1", "99.900/none"
LONG = "https://example.org/" + "segment/" * 60
ATTACK = "<script>document.title='taken over'</script><img src=x onerror=\"document.title='taken over'\">"


class Text(HTMLParser):
    """The text a reader sees, the title apart, and where links lead."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.shown: list[str] = []
        self.title = ""
        self.links: list[str] = []
        self.language = ""
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.links += [values["href"] or ""] if tag == "a" else []
        self.language = values.get("lang") or self.language

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "title":
            self.title += data
        elif self.tags and self.tags[-1] != "style":
            self.shown.append(data)

    def __contains__(self, text: str) -> bool:
        return text in " ".join(self.shown)


class Pages:
    """Browsers that are all started first and read later, each with a profile of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def open(self, what: str, url: str, language: str) -> None:
        found = shutil.which(BROWSER)
        assert found is not None, f"{BROWSER} is not installed: run scripts/system-packages.sh"
        profile = f"--user-data-dir={self._folder / str(len(self._running))}"
        command = [found, *QUIET, profile, f"--accept-lang={language}", "--dump-dom", url]
        with (self._folder / "stderr").open("ab") as log:
            self._running[what] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)

    def read(self, what: str) -> Text:
        octets, _ = self._running[what].communicate(timeout=TIMEOUT_S)
        document = octets.decode()
        assert "</html>" in document, (self._folder / "stderr").read_text(errors="replace")[-2_000:]
        return Text(document)

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def country() -> Iterator[dict[str, RunningNode]]:
    with started_nodes() as listed:
        yield {str(node.description["role"]): node for node in listed}


def test_the_page_for_people(country: dict[str, RunningNode], tmp_path: Path) -> None:
    node, recursive = country["secondary"], country["recursive"]
    admin = f"{node.admin['index']}:{node.admin['handle']}", str(node.admin["secret"])
    shown = f"{recursive.http}/{quote(NAME)}?noredirect"
    values = {1: ("URL", LONG), 2: ("DESC", "数控龙门镗铣床"), 3: ("品名", ATTACK)}
    values |= {index: ("ATTR", f"value {index}") for index in range(10, 210)}
    put(node, quote(NAME), text_values(values), *admin)
    put(node, quote(CODE), text_values({1: ("URL", shown)}), *admin)
    pages = Pages(tmp_path)
    try:
        pages.open("zh", shown, "zh-CN")
        pages.open("en", shown, "en")
        pages.open("code", f"{node.http}/{CODE}", "zh-CN")
        pages.open("absent", f"{node.http}/{ABSENT}", "zh-CN")
        chinese, english, code, absent = (pages.read(what) for what in ("zh", "en", "code", "absent"))
    finally:
        pages.close()
    assert (chinese.language, english.language) == ("zh", "en")
    assert ("数据" in chinese, "Data" in english) == (True, True)
    for page in (chinese, english):
        assert page.title == NAME, "no script ran"
        assert page.tags.count("tr") == 1 + len(values)
        assert set(page.tags) & {"script", "img"} == set()
        for text in ("数控龙门镗铣床", ATTACK, LONG, "value 209"):
            assert text in page
        assert LONG in page.links
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", " ".join(english.shown))
    assert (code.title, code.shown) == (chinese.title, chinese.shown), "the printed code led to the page it names"
    assert "标识不存在" in absent
