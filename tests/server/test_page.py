"""The chat page in a real Chromium: what a person does with it."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

WAIT_S = 10


class Page:
    """The page as a person sees it."""

    def __init__(self, driver: Any, address: str) -> None:
        self.driver = driver
        self.address = address
        driver.get(address + "/")
        driver.execute_script("localStorage.clear(); sessionStorage.clear()")
        driver.refresh()

    def element(self, name: str) -> Any:
        return self.driver.find_element("id", name)

    def until(self, what: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + WAIT_S
        while not (result := what()):
            assert time.monotonic() < deadline, self.driver.page_source
            time.sleep(0.02)
        return result

    def turns(self) -> list[tuple[str, str]]:
        found = self.driver.find_elements("css selector", ".turn")
        return [
            (
                turn.find_element("class name", "who").text,
                turn.find_element("class name", "text").get_property("textContent"),
            )
            for turn in found
        ]

    def note(self) -> str:
        return str(self.driver.find_elements("css selector", ".turn .note")[-1].text)

    def send(self, text: str) -> None:
        self.element("prompt").send_keys(text + "\n")

    def reply(self) -> str:
        """Of the last message, when it is complete."""
        self.until(lambda: self.element("send").is_displayed() and self.note())
        return self.turns()[-1][1]

    def set(self, name: str, value: str) -> None:
        if not self.element("settings").is_displayed():
            self.element("toggle-settings").click()
        field = self.element(name)
        if field.tag_name == "select":
            field.find_element("css selector", f"option[value={value}]").click()
        else:
            field.clear()
            field.send_keys(value + "\t")

    def complaints(self) -> list[str]:
        """What the browser wrote to its console: scripts that failed or were forbidden."""
        log = self.driver.get_log("browser")
        return [entry["message"] for entry in log if entry["level"] in ("WARNING", "SEVERE")]


@pytest.fixture
def open_page(serve: Callable[..., str], browser_driver: Any) -> Callable[..., Page]:
    def start(*flags: str) -> Page:
        browser_driver.get_log("browser")  # forget earlier ones
        return Page(browser_driver, serve(*flags))

    return start


def metric(page: Page, name: str) -> float:
    with urllib.request.urlopen(page.address + "/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith(name + "{")).split()[-1])


def test_talks(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.until(lambda: page.element("model").text == "fake")
    page.send("Hello")
    assert page.reply() == "Hello"
    assert "tokens" in page.note()
    page.send("again")  # the echo has the whole conversation
    assert page.reply() == "HelloHelloagain"
    assert [who for who, _ in page.turns()] == ["You", "Model", "You", "Model"]
    page.element("new-chat").click()
    assert page.turns() == []
    page.send("fresh")
    assert page.reply() == "fresh"
    assert page.complaints() == []


def test_streams_and_stops(open_page: Callable[..., Page]) -> None:
    page = open_page("--step-us", "20000")
    text = "abcdefghij" * 100  # 20 s
    page.send(text)
    seen = page.until(lambda: page.turns()[-1][1] if len(page.turns()) == 2 else "")
    assert 0 < len(seen) < len(text) and text.startswith(seen)
    page.until(lambda: len(page.turns()[-1][1]) > len(seen))
    page.element("stop").click()
    assert text.startswith(page.reply())
    assert page.note() == "stopped"
    page.until(lambda: metric(page, "vllm:num_requests_running") == 0)
    page.element("new-chat").click()
    page.send("ok")
    assert page.reply() == "ok"


def test_shows_text_as_text(open_page: Callable[..., Page]) -> None:
    page = open_page()
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script> <b>bold</b> &amp; \u00e9\U0001f642"
    page.driver.execute_script("arguments[0].value = arguments[1]", page.element("prompt"), hostile)
    page.element("send").click()
    assert page.reply() == hostile
    assert page.driver.find_elements("css selector", "#log img, #log script, #log b") == []
    assert page.complaints() == []


def test_settings_reach_the_request(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.set("system", "Be brief.")
    page.set("max_tokens", "11")
    page.set("temperature", "0.5")
    page.set("seed", "7")
    page.send("Hi there")
    assert page.reply() == "Be brief.Hi"
    page.driver.refresh()  # they are kept
    assert page.element("system").get_property("value") == "Be brief."
    page.set("temperature", "9")
    page.send("Hi")
    page.reply()
    assert "temperature" in page.note()


def test_colours(open_page: Callable[..., Page]) -> None:
    page = open_page()
    seen = {}
    for theme in ("dark", "light"):
        page.set("theme", theme)
        seen[theme] = page.driver.find_element("tag name", "body").value_of_css_property("background-color")
    assert seen == {"dark": "rgba(20, 24, 29, 1)", "light": "rgba(255, 255, 255, 1)"}


def test_asks_for_the_key(open_page: Callable[..., Page]) -> None:
    page = open_page("--api-key", "secret")
    page.until(lambda: "API key" in page.element("model").text)
    page.set("api-key", "secret")
    page.until(lambda: page.element("model").text == "fake")
    page.send("Hello")
    assert page.reply() == "Hello"


def test_needs_nothing_from_elsewhere(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.send("Hello")
    page.reply()
    names = page.driver.execute_script("return performance.getEntriesByType('resource').map((e) => e.name)")
    assert names and all(name.startswith((page.address, "data:")) for name in names)


def test_survives_a_server_that_goes(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.driver.execute_cdp_cmd("Network.enable", {})
    page.driver.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1},
    )
    page.send("Hello")
    page.reply()
    assert page.note() != ""
    page.driver.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1},
    )
    page.send("Hello")
    assert page.reply() == "Hello"
