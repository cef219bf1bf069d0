"""What kind of client an agent string stands for: a device, and whether a person is behind it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_AGENT_LIMIT = 512  # characters; real agents are shorter, and the cache keeps what it is given


class Agent(NamedTuple):
    """What an agent string says.

    ``device`` is desktop, mobile, tablet or other; ``robot`` the id of the rule that knows it as a
    robot, None for a person; ``declared``: a crawler that names itself, not just an HTTP library.
    """

    device: str
    robot: str | None
    declared: bool


# Rule id → words in lower case. The first rule that matches names the robot, so the general words come last.
_LIBRARIES = {
    "curl": r"\bcurl/|\blibcurl",
    "wget": r"\bwget\b",
    "python": r"\bpython\b|\bhttpx\b|aiohttp|urllib",
    "java": r"^java/|apache-httpclient|jakarta commons|okhttp|jersey/|reactor-?netty",
    "go": r"^go-http-client|\bgolang\b|\bgo-resty",
    "node": r"\baxios/|node-fetch|\bundici\b|^got[ /(]|superagent|^node(?:\.js)?(?:/|$)|\bdeno/|\bbun/",
    "ruby": r"^ruby\b|faraday|\bhttparty\b|typhoeus|mechanize",
    "php": r"^php\b|guzzle|symfony httpclient|\bwinhttp\b",
    "perl": r"libwww|^lwp|www-mechanize",
    "library": r"httpie|postmanruntime|insomnia/|restsharp|^dart/|^rust|reqwest|http-client|httpclient|^axios|powershell",
}
_CRAWLERS = {
    "googlebot": r"googlebot|google-inspectiontool|googleother|google-extended|mediapartners-google"
    r"|adsbot-google|apis-google|feedfetcher-google|google web preview|google-read-aloud|google-safety",
    "bingbot": r"bingbot|bingpreview|msnbot|adidxbot",
    "yandexbot": r"yandex\w*bot|yandex(?:images|metrika|webmaster|direct|media|video)",
    "baiduspider": r"baiduspider",
    "duckduckbot": r"duckduck(?:go-favicons-)?bot|duckassistbot",
    "applebot": r"applebot",
    "slurp": r"\bslurp\b",
    "openai": r"gptbot|chatgpt-user|oai-searchbot",
    "anthropic": r"claudebot|claude-(?:web|user|searchbot)|anthropic-ai",
    "perplexity": r"perplexity(?:bot|-user)",
    "commoncrawl": r"\bccbot\b",
    "bytespider": r"bytespider",
    "amazonbot": r"amazonbot",
    "meta": r"facebookexternalhit|facebookcatalog|facebookbot|meta-external",
    "preview": r"slackbot|slack-imgproxy|discordbot|twitterbot|telegrambot|linkedinbot|whatsapp/"
    r"|skypeuripreview|pinterest/0|pinterestbot|redditbot|embedly|iframely|vkshare|viber/|snap url preview"
    r"|link ?preview|url ?preview|mastodon/|bluesky|cardyb|imessagepreview",
    "seo": r"ahrefs|semrush|mj12bot|dotbot|screaming frog|sistrix|rogerbot|serpstat|dataforseo",
    "monitor": r"uptimerobot|pingdom|statuscake|site24x7|datadog|newrelicpinger|uptime-kuma|blackbox"
    r"|\bnagios|check_http|kube-probe|elb-healthchecker|googlehc|lighthouse|pagespeed|gtmetrix|ptst/",
    "archive": r"archive\.org|ia_archiver|heritrix|wayback",
    "scanner": r"nessus|nikto|sqlmap|nuclei|\bnmap\b|masscan|zgrab|censys|expanse|qualys|acunetix|\bwpscan",
    "headless": r"headless|phantomjs|puppeteer|playwright|selenium|webdriver|\bsplash\b|slimerjs",
    "crawler": r"crawl|scrapy|scrape|spider|harvest|\bfetch(?:er)?\b|nutch",
    # Cubot makes telephones.
    "bot": r"(?<!cu)bot(?:[^a-z]|$)|\bbot|robot",
    "feed": r"feedly|feedbin|inoreader|newsblur|\brss\b|feedparser|simplepie|tiny tiny rss|miniflux",
}


def _compile(rules: dict[str, str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{name}>{words})" for name, words in rules.items()))


# A crawler that says which library it is built with is a crawler: these are looked for first.
_CRAWLER = _compile(_CRAWLERS)
_LIBRARY = _compile(_LIBRARIES)
_TABLET = re.compile(r"ipad|tablet|kindle|silk/|playbook|android(?!.*mobi)", re.S)
_MOBILE = re.compile(r"mobi|iphone|ipod|windows phone|blackberry|opera mini")
_SCREEN = re.compile(r"smart-?tv|appletv|googletv|hbbtv|\btv\b|playstation|xbox|nintendo")
_DESKTOP = re.compile(r"windows nt|macintosh|x11|cros |linux")


def classify(agent: str | None) -> Agent:
    """Return what *agent*, a User-Agent header, stands for; without one it is robot ``empty``."""
    return _classify((agent or "")[:_AGENT_LIMIT])


@lru_cache(maxsize=4096)
def _classify(agent: str) -> Agent:
    lowered = agent.lower()
    device = _device(lowered)
    if not lowered.strip():
        return Agent(device, "empty", False)
    if found := _CRAWLER.search(lowered):
        return Agent(device, found.lastgroup, True)
    if found := _LIBRARY.search(lowered):
        return Agent(device, found.lastgroup, False)
    return _listed(agent, device)


def _device(agent: str) -> str:
    if _SCREEN.search(agent):
        return "other"
    if _TABLET.search(agent):
        return "tablet"
    if _MOBILE.search(agent):
        return "mobile"
    return "desktop" if _DESKTOP.search(agent) else "other"


def _listed(agent: str, device: str) -> Agent:
    """Ask the public list of crawlers, when it is installed."""
    # Imported only now: reading the list takes longer than everything else together.
    try:
        import crawleruseragents as public
    except ImportError:
        return Agent(device, None, False)
    if not public.is_crawler(agent):
        return Agent(device, None, False)
    entry = public.CRAWLER_USER_AGENTS_DATA[public.matching_crawlers(agent)[0]]
    name = re.sub(r"[^a-z0-9]+", "-", entry["pattern"].lower()).strip("-")[:32]
    return Agent(device, f"list.{name}", "http-library" not in entry.get("tags", ()))
