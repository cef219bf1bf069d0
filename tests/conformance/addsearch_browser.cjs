// Make calls on AddSearch's own bundle in a browser's window, on a page of https://shop.example:
// node addsearch_browser.cjs beacon|xhr|json HOST[:PORT][/PREFIX] CALLS
// Runs in the folder that holds node_modules. CALLS is a JSON list: for "beacon" and "xhr" of
// [method, argument …] of the client, for "json" of events that a page posts as application/json.
const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");

const { JSDOM, VirtualConsole } = createRequire(`${process.cwd()}/`)("jsdom");
const [how, host, text] = process.argv.slice(2);
const calls = JSON.parse(text);

function fail(error) {
  process.exitCode = 1;
  process.stderr.write(`${error.stack || error}\n`);
}

const virtualConsole = new VirtualConsole();
virtualConsole.on("error", fail).on("jsdomError", fail);
const page = { url: "https://shop.example/search", runScripts: "outside-only", virtualConsole };
const { window } = new JSDOM("", page);

/** Post as a browser does for sendBeacon; jsdom has none. The page must be allowed to read the answer. */
async function post(url, body) {
  const headers = { "Content-Type": "text/plain;charset=UTF-8", Origin: window.location.origin };
  const answer = await fetch(url, { method: "POST", body, headers });
  const allowed = [
    answer.headers.get("Access-Control-Allow-Origin"),
    answer.headers.get("Access-Control-Allow-Credentials"),
  ];
  if (answer.status !== 200 || allowed.join() !== `${window.location.origin},true`) {
    throw new Error(`${answer.status} ${allowed}`);
  }
}

/** Post an event with cookies, as a page's own script may; needs a preflight. */
function postJson(event) {
  const request = new window.XMLHttpRequest();
  request.open("POST", `https://${host}/v1/stats/testkey`);
  request.withCredentials = true;
  request.setRequestHeader("Content-Type", "application/json");
  request.onerror = () => fail("the answer may not be read");
  request.onload = () => request.status === 200 || fail(`${request.status}`);
  request.send(JSON.stringify(event));
}

if (how === "beacon") {
  window.navigator.sendBeacon = (url, body) => {
    post(url, body).catch(fail);
    return true;
  };
}
if (how === "json") {
  calls.forEach(postJson);
} else {
  const bundle = "node_modules/addsearch-js-client/dist/addsearch-js-client.min.js";
  window.eval(readFileSync(bundle, "utf-8"));
  const client = new window.AddSearchClient("testkey");
  client.setApiHostname(host, { statsApiRequestOnly: true });
  for (const [method, ...values] of calls) client[method](...values);
}
