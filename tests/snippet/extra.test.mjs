import assert from "node:assert/strict";
import { test } from "node:test";
import { CORE, EXTRA, FEEDBACK, SEARCH, link, open, token } from "./page.mjs";

/** What the last call reported, without its id. */
function said(page) {
  const { i, ...event } = page.events().at(-1);
  assert.match(i, /^[\w-]{16}$/);
  return event;
}

test("a search is reported with its results, and later events belong to it", async () => {
  const { window, ...page } = await open(CORE + EXTRA);
  const g = window.clickmw.search({
    query: "tax form",
    total: 12,
    offset: 10,
    module: "BWEB",
    language: "en",
    profile: "all",
    tag: "beta",
    site: "nps.gov",
    results: [{ url: "https://other.example/a", position: 11, title: "A", item: "a-1" }, { url: "/b", module: "BOOS" }],
  });
  assert.match(g, /^[\w-]{16}$/);
  assert.deepEqual(said(page), {
    t: "search",
    g,
    s: "nps.gov",
    q: "tax form",
    n: 12,
    o: 10,
    m: "BWEB",
    l: "en",
    f: "all",
    a: "beta",
    r: [
      { u: "https://other.example/a", p: 11, d: "a-1", h: "A" },
      { u: "/b", m: "BOOS" },
    ],
  });
  window.clickmw.satisfaction(7);
  assert.deepEqual(said(page), { t: "feedback", g, y: 7 });
  assert.equal(page.posts.at(-1).how, "beacon");
});

test("a search may have an id already", async () => {
  const { window, ...page } = await open(CORE + EXTRA);
  assert.equal(window.clickmw.search({ query: "x", id: SEARCH }), SEARCH);
  assert.deepEqual(said(page), { t: "search", g: SEARCH, q: "x" });
});

const CALLS = {
  "a token": ["click", [token(3, "/c")], { t: "click", k: token(3, "/c") }],
  "a link's address": ["click", [`/_clicks/r/${token(3, "/c")}`], { t: "click", k: token(3, "/c") }],
  "an address with a view": [
    "click",
    [`https://site.example/_clicks/r/${token(3, "/c")}?v=${SEARCH}`],
    { t: "click", k: token(3, "/c"), v: SEARCH },
  ],
  "a result without a token": [
    "click",
    [{ url: "https://other.example/c", position: 3, module: "BWEB", item: "c-3", title: "C", query: "tax" }],
    { t: "result", u: "https://other.example/c", p: 3, m: "BWEB", d: "c-3", h: "C", q: "tax" },
  ],
  "a related search": [
    "related",
    [{ query: "tax", suggestion: "tax form", position: 2, module: "SPEL", search: token(1, "/a") }],
    { t: "related", g: SEARCH, q: "tax", x: "tax form", p: 2, m: "SPEL" },
  ],
  "an answer": [
    "answer",
    [{ question: "when?", answer: "in May", isQuestion: true }],
    { t: "answer", q: "when?", x: "in May", y: true },
  ],
  "a source of an answer": [
    "source",
    [{ question: "when?", url: "https://other.example/", title: "Dates", position: 1 }],
    { t: "source", q: "when?", u: "https://other.example/", h: "Dates", p: 1 },
  ],
  "satisfaction in words": [
    "satisfaction",
    [null, "more pictures", { query: "tax", search: SEARCH, site: "nps.gov" }],
    { t: "feedback", g: SEARCH, s: "nps.gov", q: "tax", y: null, x: "more pictures" },
  ],
  "a conversion": [
    "conversion",
    [{ order: "o-1", value: 12.5, currency: "EUR", url: "https://site.example/thanks" }],
    { t: "conversion", x: "o-1", y: 12.5, c: "EUR", u: "https://site.example/thanks" },
  ],
};
for (const [name, [call, values, event]] of Object.entries(CALLS)) {
  test(`${name} is reported`, async () => {
    const page = await open(CORE + EXTRA);
    page.window.clickmw[call](...values);
    assert.deepEqual(said(page), event);
  });
}

const NUMBERS = {
  "an order": ["conversion", [{ order: 1003, value: 12.5 }], { t: "conversion", x: "1003", y: 12.5 }],
  "order 0": ["conversion", [{ order: 0 }], { t: "conversion", x: "0" }],
  "a result's id": ["click", [{ url: "/c", item: 17, position: 3 }], { t: "result", u: "/c", d: "17", p: 3 }],
  "a query": ["related", [{ query: 2025, suggestion: 2026 }], { t: "related", q: "2025", x: "2026" }],
  "a search": ["satisfaction", [0, null, { search: 7 }], { t: "feedback", g: "7", y: 0, x: null }],
};
for (const [name, [call, values, event]] of Object.entries(NUMBERS)) {
  test(`${name} that is a number is reported as text, and amounts as numbers`, async () => {
    const page = await open(CORE + EXTRA);
    page.window.clickmw[call](...values);
    assert.deepEqual(said(page), event);
  });
}

test("ids that are numbers are reported as text in a search, too", async () => {
  const page = await open(CORE + EXTRA);
  const results = [{ url: "/a", item: 1003, title: 1984, position: 1 }];
  assert.equal(page.window.clickmw.search({ query: 404, id: 12, total: 1, results }), "12");
  const r = [{ u: "/a", p: 1, d: "1003", h: "1984" }];
  assert.deepEqual(said(page), { t: "search", g: "12", q: "404", n: 1, r });
});

test("a link of the page may be given itself, clean or not", async () => {
  const page = await open(CORE + EXTRA + link(1, "/a"));
  const [clean] = page.document.querySelectorAll("a");
  page.window.clickmw.click(clean);
  assert.deepEqual(said(page), { t: "click", k: token(1, "/a") });
  page.document.body.innerHTML = link(2, "/b");
  page.window.clickmw.click(page.document.querySelector("a"));
  assert.deepEqual(said(page), { t: "click", k: token(2, "/b") });
});

test("without a search of its own, an event belongs to the one that the page shows", async () => {
  const page = await open(CORE + EXTRA + link(1, "/a"));
  page.window.clickmw.satisfaction(0);
  assert.deepEqual(said(page), { t: "feedback", g: SEARCH, y: 0 });
});

test("who does not want to be measured is not", async () => {
  const page = await open(CORE + EXTRA, { doNotTrack: "1" });
  assert.match(page.window.clickmw.search({ query: "x" }), /^[\w-]{16}$/);
  page.window.clickmw.satisfaction(1);
  assert.deepEqual(page.posts, []);
});

test("nothing is lost on a page that is only prepared", async () => {
  const page = await open(CORE + EXTRA);
  Object.defineProperty(page.document, "prerendering", { value: true, configurable: true });
  page.window.clickmw.search({ query: "x" });
  assert.deepEqual(page.posts, []);
  delete page.document.prerendering;
  page.document.dispatchEvent(new page.window.Event("prerenderingchange"));
  assert.equal(said(page).q, "x");
});

test("with data-observe new content is found", async () => {
  const page = await open(CORE + EXTRA.replace("src", "data-observe src"));
  page.document.body.insertAdjacentHTML("beforeend", `<p>${link(1, "/a")}`);
  await new Promise((resolve) => setTimeout(resolve, 150));
  assert.deepEqual(page.hrefs(), ["/a"]);
  page.document.querySelector("a").setAttribute("href", `/_clicks/r/${token(2, "/b")}`);
  await new Promise((resolve) => setTimeout(resolve, 150));
  assert.deepEqual(page.hrefs(), ["/b"]);
});

const files = { CORE, EXTRA, FEEDBACK };
const orders = Object.keys(files).flatMap((first) =>
  Object.keys(files)
    .filter((second) => second !== first)
    .map((second) => [first, second, ...Object.keys(files).filter((last) => ![first, second].includes(last))]),
);
for (const order of orders) {
  test(`${order.join(", ")}: the order of the files does not matter`, async () => {
    const early = "<script>document.currentScript.remove()</script>";
    const page = await open(`<body><clickmw-feedback></clickmw-feedback>${order.map((name) => files[name]).join(early)}`);
    page.window.clickmw.search({ query: "x" });
    assert.equal(said(page).q, "x");
    assert.equal(page.document.querySelectorAll("clickmw-feedback form").length, 1);
    assert.deepEqual(page.errors, []);
  });
}

test("what is called before the core is here is reported when it is", async () => {
  const call = "<script>clickmw.search({ query: 'early' })</script>";
  const page = await open(EXTRA + call + CORE);
  assert.equal(said(page).q, "early");
});
