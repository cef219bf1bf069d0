import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { CORE, SEARCH, link, open, token } from "./page.mjs";

const RESULTS = link(1, "/a") + link(2, "https://other.example/b");
const REDIRECTS = [token(1, "/a"), token(2, "https://other.example/b")].map((each) => `/_clicks/r/${each}`);
const PLAIN = ["/a", "https://other.example/b"];

const tokens = process.env.CLICKMW_TOKENS;
test("a token says what clickmw/tokens.py wrote into it", { skip: !tokens && "run by pytest" }, async () => {
  const cases = JSON.parse(readFileSync(tokens, "utf-8"));
  const page = await open(CORE);
  for (const [text] of cases) {
    const each = page.document.createElement("a");
    each.setAttribute("href", `/_clicks/r/${text}`);
    page.document.body.append(each);
  }
  page.window.clickmw.scan();
  await page.settle();
  assert.deepEqual(page.hrefs(), cases.map(([, { location }]) => location));

  for (const each of page.watched) each.show(1);
  await new Promise((resolve) => setTimeout(resolve, 1100));
  page.window.dispatchEvent(new page.window.Event("pagehide"));
  const places = page.events().flatMap(({ k, p }) => p.map((place) => [k.split(":")[1], ...place]));
  const expected = cases.map(([, { query_id, module_code, position }]) => [query_id, module_code, position]);
  assert.deepEqual(places.sort(), expected.sort());
});

test("an id is the time and chance, in 16 URL-safe characters", async () => {
  const searches = Array.from({ length: 300 }, (_, n) => `AZdz2LAAAAAA${String(n).padStart(4, "0")}`);
  const links = searches.map((search) => link(1, "/a", search)).join("");
  const before = Date.now();
  const page = await open(`<script src="/_clicks/clickmw.js" data-view="shared"></script>${links}`);
  const ids = page.events().map(({ v }) => v);

  assert.equal(new Set(ids).size, 300);
  for (const id of ids) {
    assert.match(id, /^[\w-]{16}$/);
    const made = Buffer.from(id, "base64url").readUIntBE(0, 6);
    assert.ok(before <= made && made <= Date.now(), `${made}`);
  }
});

test("links get their addresses back when our server has answered", async () => {
  const page = await open(CORE + RESULTS);
  assert.deepEqual(page.posts, [{ how: "fetch", address: "https://site.example/_clicks/e", events: [] }]);
  assert.deepEqual(page.hrefs(), PLAIN);
});

for (const status of [0, 200, 403, 404, 500, 503]) {
  test(`links stay redirects when ${status || "nobody"} answers`, async () => {
    const page = await open(CORE + RESULTS, { status });
    assert.deepEqual(page.hrefs(), REDIRECTS);
  });
}

test("a server that could not be reached is left alone", async () => {
  const page = await open(CORE + RESULTS, { status: 0 });
  page.window.clickmw.scan();
  await page.settle();
  assert.equal(page.posts.length, 1);
});

test("one report is enough for all that comes later", async () => {
  const page = await open(CORE + RESULTS);
  page.document.body.insertAdjacentHTML("beforeend", link(3, "/c"));
  page.window.clickmw.scan();
  await page.settle();
  assert.deepEqual(page.hrefs(), [...PLAIN, "/c"]);
  assert.equal(page.posts.length, 1);
});

test("links outside the root are left for later", async () => {
  const page = await open(CORE);
  page.document.body.innerHTML = `<div>${link(1, "/a")}</div>${link(2, "/b")}`;
  page.window.clickmw.scan(page.document.querySelector("div"));
  await page.settle();
  assert.deepEqual(page.hrefs(), ["/a", `/_clicks/r/${token(2, "/b")}`]);
});

test("the folder of the script is the server's prefix", async () => {
  const moved = (html) => html.replaceAll("/_clicks/", "/shop/see/");
  const page = await open(moved(CORE + RESULTS) + link(3, "/c"));
  assert.equal(page.posts[0].address, "https://site.example/shop/see/e");
  assert.deepEqual(page.hrefs(), [...PLAIN, `/_clicks/r/${token(3, "/c")}`]);
});

test("a server elsewhere has the links that name it, and no others", async () => {
  const there = (html) => html.replaceAll("/_clicks/", "https://clicks.example/_clicks/");
  const page = await open(there(CORE + RESULTS) + link(3, "/c"));
  assert.equal(page.posts[0].address, "https://clicks.example/_clicks/e");
  assert.equal(page.hrefs()[1], PLAIN[1]);
  assert.equal(page.hrefs()[2], `/_clicks/r/${token(3, "/c")}`);
});

for (const place of [
  "javascript:alert(1)",
  "JavaScript:x",
  "javascript:https:~~x",
  "javascript:x:~y",
  "data:text~html,3B.x",
  "blob:https:~~x",
  ",6A.avascript:x",
  "",
]) {
  test(`a forged link to ${JSON.stringify(place)} never runs as a script`, async () => {
    const forged = `<a href="/_clicks/r/:${SEARCH}:1:BWEB::${place}.AAAA"></a>`;
    const page = await open(CORE + forged + link(2, "/b"));
    assert.match(page.document.querySelector("a").protocol, /^https?:$/);
    assert.equal(page.hrefs()[1], "/b");
  });
}

for (const wish of [{ globalPrivacyControl: true }, { doNotTrack: "1" }]) {
  test(`${Object.keys(wish)[0]} is heard`, async () => {
    const page = await open(CORE + RESULTS, wish);
    assert.deepEqual([page.posts, page.hrefs()], [[], REDIRECTS]);
  });
}

test("an opt-out is kept, and can be taken back", async () => {
  const page = await open(CORE);
  page.document.body.innerHTML = RESULTS;
  page.window.clickmw.optOut();
  assert.equal(page.document.cookie, "clickmw_optout=1");
  page.window.clickmw.scan();
  await page.settle();
  assert.deepEqual([page.posts, page.hrefs()], [[], REDIRECTS]);

  page.window.clickmw.optIn();
  assert.equal(page.document.cookie, "");
  page.window.clickmw.scan();
  await page.settle();
  assert.deepEqual(page.hrefs(), PLAIN);
});

test("nothing is sent or changed before consent", async () => {
  const page = await open(`<script src="/_clicks/clickmw.js" data-consent></script>${RESULTS}`);
  assert.deepEqual([page.posts, page.hrefs()], [[], REDIRECTS]);
  page.window.clickmw.consent();
  await page.settle();
  assert.deepEqual(page.hrefs(), PLAIN);
});

test("a page that is only prepared waits until it is shown", async () => {
  const page = await open(CORE);
  page.document.body.innerHTML = RESULTS;
  Object.defineProperty(page.document, "prerendering", { value: true, configurable: true });
  page.window.clickmw.scan();
  await page.settle();
  assert.deepEqual(page.hrefs(), REDIRECTS);
  delete page.document.prerendering;
  page.document.dispatchEvent(new page.window.Event("prerenderingchange"));
  await page.settle();
  assert.deepEqual(page.hrefs(), PLAIN);
});

test("a view belongs to its search, whenever its links come", async () => {
  const page = await open(`<script src="/_clicks/clickmw.js" data-view="prefetched"></script>${RESULTS}`);
  const more = link(3, "/c") + link(1, "/d", "AZdz2LAAAAAAAAAC");
  page.document.body.insertAdjacentHTML("beforeend", more);
  page.window.clickmw.scan();
  await page.settle();
  const views = page.events();
  assert.deepEqual(views.map(({ t, k }) => [t, k]), [
    ["view", token(1, "/a")],
    ["view", token(1, "/d", "AZdz2LAAAAAAAAAC")],
  ]);
  const texts = [...page.document.querySelectorAll("a")].map((each) => each.dataset.clickToken);
  assert.equal(texts[2], `${token(3, "/c")}?v=${views[0].v}`);
});

test("a click that a script makes is none", async () => {
  const page = await open(CORE + RESULTS);
  for (const type of ["click", "auxclick"]) {
    const event = new page.window.MouseEvent(type, { bubbles: true, cancelable: true, composed: true });
    page.document.querySelector("a").dispatchEvent(event);
  }
  await page.settle();
  assert.deepEqual(page.events(), []);
});

test("only what was half visible for a whole second is seen, once for each search", async () => {
  const others = link(1, "/c", "AZdz2LAAAAAAAAAC") + link(1, "/d", "AZdz2LAAAAAAAAAD");
  const page = await open(CORE + RESULTS + others);
  const [first, second, third, fourth] = page.watched;
  first.show(0.5);
  fourth.show(0.49);
  third.show(1);
  await new Promise((resolve) => setTimeout(resolve, 600));
  second.show(1);
  third.show(0);
  await new Promise((resolve) => setTimeout(resolve, 500));
  page.window.dispatchEvent(new page.window.Event("pagehide"));
  page.window.dispatchEvent(new page.window.Event("pagehide"));
  assert.deepEqual(page.events(), [{ t: "seen", k: token(1, "/a"), p: [["BWEB", 1]] }]);
  assert.deepEqual(page.posts.map(({ how }) => how), ["fetch", "beacon"]);
});

test("what was seen is said when the page is hidden, though the window hears nothing of it", async () => {
  const page = await open(CORE + RESULTS);
  page.watched[0].show(1);
  await new Promise((resolve) => setTimeout(resolve, 1100));
  page.document.dispatchEvent(new page.window.Event("visibilitychange"));
  assert.deepEqual(page.events(), [{ t: "seen", k: token(1, "/a"), p: [["BWEB", 1]] }]);
});

test("no report holds more than 50 events", async () => {
  const searches = Array.from({ length: 51 }, (_, n) => `AZdz2LAAAAAA${String(n).padStart(4, "0")}`);
  const page = await open(CORE + searches.map((search) => link(1, "/a", search)).join(""));
  for (const each of page.watched) each.show(1);
  await new Promise((resolve) => setTimeout(resolve, 1100));
  page.window.dispatchEvent(new page.window.Event("pagehide"));
  assert.deepEqual(page.posts.map(({ events }) => events.length), [0, 50, 1]);
});

test("included twice it looks for new links, and does all else once", async () => {
  const page = await open(CORE + RESULTS + CORE);
  assert.deepEqual(page.hrefs(), PLAIN);
  assert.equal(page.posts.length, 1);
  assert.deepEqual(page.errors, []);
});
