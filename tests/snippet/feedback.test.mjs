import assert from "node:assert/strict";
import { test } from "node:test";
import { CORE, EXTRA, FEEDBACK, SEARCH, open } from "./page.mjs";

const ALL = CORE + EXTRA + FEEDBACK;
const ask = (attributes = "") => `<body><clickmw-feedback ${attributes}></clickmw-feedback>${ALL}`;

function answer({ document, window }, score, comment = "") {
  if (score !== undefined) document.querySelectorAll("input")[score].click();
  document.querySelector("textarea").value = comment;
  document.querySelector("button").click();
  return new Promise((resolve) => window.setTimeout(resolve, 20));
}

test("it asks from 0 to 10, and every control has a name that can be seen", async () => {
  const { document } = await open(ask());
  const radios = [...document.querySelectorAll("input[type=radio]")];
  assert.deepEqual(radios.map(({ value }) => value), [..."0123456789", "10"]);
  assert.deepEqual(radios.map(({ labels }) => labels[0].textContent.trim()), [..."0123456789", "10"]);
  assert.equal(new Set(radios.map(({ name }) => name)).size, 1);
  assert.ok(document.querySelector("fieldset > legend:first-child").textContent.trim());
  assert.ok(document.querySelector("textarea").labels[0].textContent.trim());
  assert.ok(document.querySelector("button").textContent.trim());
  assert.equal(document.querySelector("[role=status]").textContent, "");
  assert.equal(document.querySelector("clickmw-feedback [style], clickmw-feedback style"), null);
});

test("an answer is reported and thanked for", async () => {
  const page = await open(ask(`query="tax" search="${SEARCH}"`));
  page.document.querySelector("button").focus();
  await answer(page, 0, "  more pictures ");
  const [{ i, ...event }] = page.events();
  assert.deepEqual(event, { t: "feedback", g: SEARCH, q: "tax", y: 0, x: "more pictures" });
  assert.equal(page.document.querySelector("form"), null);
  const status = page.document.querySelector("[role=status]");
  assert.equal(status.textContent, "Thank you.");
  assert.equal(page.document.activeElement, status);
});

test("a score is needed, a comment is not", async () => {
  const page = await open(ask());
  await answer(page, undefined, "only words");
  assert.deepEqual(page.events(), []);
  await answer(page, 10);
  assert.equal("x" in page.events()[0], false);
});

test("every text can be another", async () => {
  const words = { question: "Gut?", scale: "0 bis 10", comment: "Was fehlt?", send: "Ab", thanks: "Danke" };
  const attributes = Object.entries(words).map(([name, text]) => `${name}="${text}"`);
  const page = await open(ask(attributes.join(" ")));
  const { textContent } = page.document.querySelector("form");
  for (const name of ["question", "scale", "comment", "send"]) assert.ok(textContent.includes(words[name]));
  await answer(page, 5);
  assert.equal(page.document.querySelector("[role=status]").textContent, "Danke");
});

test("texts are texts", async () => {
  const page = await open(ask('question="&lt;img src=x&gt;"'));
  assert.equal(page.document.querySelector("img"), null);
  assert.match(page.document.querySelector("legend").textContent, /^<img src=x>/);
});

test("who does not want to be measured is not asked", async () => {
  const page = await open(ask(), { globalPrivacyControl: true });
  assert.equal(page.document.querySelector("form"), null);
});

test("it asks when there is consent", async () => {
  const page = await open(ask().replace("clickmw.js", 'clickmw.js" data-consent="'));
  assert.equal(page.document.querySelector("form"), null);
  page.window.clickmw.consent();
  assert.ok(page.document.querySelector("form"));
});

test("what could not be sent is not thanked for, and can be sent again", async () => {
  const page = await open(ask());
  page.window.clickmw.optOut();
  await answer(page, 3);
  assert.equal(page.document.querySelector("[role=status]").textContent, "This could not be sent.");
  assert.ok(page.document.querySelector("form"));
  page.window.clickmw.optIn();
  await answer(page);
  assert.equal(page.events()[0].y, 3);
});

test("it is whole again where a router puts a copy of the page", async () => {
  const page = await open(ask());
  const copy = page.document.body.cloneNode(true);
  page.document.body.replaceWith(copy);
  await answer(page, 4);
  assert.equal(page.events()[0].y, 4);
});
