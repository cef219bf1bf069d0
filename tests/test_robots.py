"""Robots, people, and what they hold in their hands."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickmw.robots import Agent, classify

CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1"
ANDROID = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0"
)


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        (CHROME, "desktop"),
        (CHROME + " Edg/142.0.0.0", "desktop"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", "desktop"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15", "desktop"),
        ("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36", "desktop"),
        (IPHONE, "mobile"),
        (IPHONE + " [FBAN/FBIOS;FBAV/480.0]", "mobile"),
        (ANDROID + " Mobile Safari/537.36", "mobile"),
        ("Mozilla/5.0 (Linux; Android 9; CUBOT_P20) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Mobile Safari/537.36", "mobile"),
        (ANDROID + " Safari/537.36", "tablet"),
        ("Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1", "tablet"),
        ("Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/538.1 (KHTML, like Gecko) Version/6.0 TV Safari/538.1", "other"),
        (CHROME + " OPR/120.0.0.0", "desktop"),
        (CHROME + " YaBrowser/25.10 Yowser/2.5", "desktop"),
        ("Mozilla/5.0 (Android 14; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0", "mobile"),
    ],
)  # fmt: skip
def test_people_browse_with_a_device(agent: str, device: str) -> None:
    assert classify(agent) == Agent(device, None, False)


@pytest.mark.parametrize(
    ("agent", "robot"),
    [
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "googlebot"),
        ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "bingbot"),
        ("Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)", "slurp"),
        ("Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)", "openai"),
        ("Mozilla/5.0 (compatible; ClaudeBot/1.0; +claudebot@anthropic.com)", "anthropic"),
        ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "meta"),
        ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "preview"),
        ("WhatsApp/2.23.20.0", "preview"),
        ("TelegramBot (like TwitterBot)", "preview"),
        (CHROME.replace("Chrome/", "HeadlessChrome/"), "headless"),
        ("Mozilla/5.0 (compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "monitor"),
        ("Scrapy/2.11 (+https://scrapy.org)", "crawler"),
        ("Mozilla/5.0 (compatible; SomeNewBot/0.1)", "bot"),
        ("my-robot", "bot"),
        ("python-requests/2.32 MyCrawler", "crawler"),
    ],
)  # fmt: skip
def test_a_crawler_says_that_it_is_one(agent: str, robot: str) -> None:
    found = classify(agent)
    assert (found.robot, found.declared) == (robot, True)


@pytest.mark.parametrize(
    ("agent", "robot"),
    [
        ("curl/8.5.0", "curl"),
        ("Wget/1.21.4", "wget"),
        ("python-requests/2.32.3", "python"),
        ("python-httpx/0.28.1", "python"),
        ("Python-urllib/3.11", "python"),
        ("okhttp/4.12.0", "java"),
        ("Java/17.0.1", "java"),
        ("Go-http-client/2.0", "go"),
        ("axios/1.7.2", "node"),
        ("node", "node"),
        ("Ruby", "ruby"),
        ("GuzzleHttp/7", "php"),
        ("libwww-perl/6.72", "perl"),
        ("PostmanRuntime/7.39.0", "library"),
        ("", "empty"),
        ("  ", "empty"),
        (None, "empty"),
    ],
)
def test_a_library_is_a_robot_that_declares_nothing(agent: str | None, robot: str) -> None:
    found = classify(agent)
    assert (found.robot, found.declared) == (robot, False)


def test_the_public_list_knows_robots_with_plain_names() -> None:
    pytest.importorskip("crawleruseragents")
    found = classify("Mozilla/5.0 (compatible; Qwantify/2.4w; +https://www.qwant.com/)/2.4w")
    assert found.robot is not None
    assert found.robot.startswith("list.")
    assert found.declared


def test_the_public_list_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crawleruseragents", None)
    assert classify(CHROME + " without-the-list").robot is None


@given(st.text(st.characters(), max_size=2000))
def test_any_text_has_a_class(agent: str) -> None:
    found = classify(agent)
    assert found.device in {"desktop", "mobile", "tablet", "other"}
    assert found.robot is None or len(found.robot) <= 40


def test_what_stands_far_behind_is_not_looked_at() -> None:
    assert classify(CHROME + " " * 600 + "bot") == classify(CHROME)
