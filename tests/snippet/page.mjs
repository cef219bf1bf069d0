// A page of results in jsdom, with the built scripts of static/ on it. What jsdom lacks is played
// here: requests are noted and answered, what is visible is said by the test.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { afterEach } from "node:test";

// Runs in the folder that holds node_modules.
const { JSDOM, ResourceLoader, VirtualConsole } = createRequire(`${process.cwd()}/`)("jsdom");
const STATIC = new URL("../../static/", import.meta.url);
export const SEARCH = "AZdz2LAAAAAAAAAB";

/** A token as clickmw/tokens.py writes it; only the server could tell that nobody signed it. */
export const token = (position, location, search = SEARCH) =>
  `:${search}:${position}:BWEB::${location.replaceAll("/", "~")}.AAAAAAAAAAAAAAAAAAAAAA`;
export const link = (position, location, search) =>
  `<a href="/_clicks/r/${token(position, location, search)}">${position}</a>`;
export const CORE = '<script src="/_clicks/clickmw.js"></script>';
export const EXTRA = '<script src="/_clicks/clickmw.extra.js"></script>';
export const FEEDBACK = '<script src="/_clicks/clickmw.feedback.js"></script>';

const opened = [];
afterEach(() => opened.splice(0).forEach((window) => window.close()));

class Files extends ResourceLoader {
  fetch(url) {
    return Promise.resolve(readFileSync(new URL(new URL(url).pathname.split("/").pop(), STATIC)));
  }
}

/** Open *html*; *status* is what the server answers, 0 when it cannot be reached. */
export async function open(html, { status = 204, url = "https://site.example/search", ...wishes } = {}) {
  const page = { posts: [], watched: [], status, errors: [] };
  const virtualConsole = new VirtualConsole();
  virtualConsole.on("jsdomError", (error) => page.errors.push(error));
  const dom = new JSDOM(html, {
    url,
    runScripts: "dangerously",
    pretendToBeVisual: true,
    resources: new Files(),
    virtualConsole,
    beforeParse(window) {
      window.fetch = async (address, { body }) => {
        page.posts.push({ how: "fetch", address: `${address}`, events: JSON.parse(body) });
        if (!page.status) throw new TypeError("not reached");
        return { status: page.status };
      };
      window.navigator.sendBeacon = (address, body) => {
        page.posts.push({ how: "beacon", address: `${address}`, events: JSON.parse(body) });
        return true;
      };
      window.IntersectionObserver = class {
        constructor(report) {
          this.show = (ratio) => report([{ intersectionRatio: ratio }]);
        }
        observe(target) {
          page.watched.push(this);
          this.target = target;
        }
        disconnect() {
          this.target = undefined;
        }
      };
      Object.assign(window.navigator, wishes);
    },
  });
  opened.push(dom.window);
  page.window = dom.window;
  page.document = dom.window.document;
  page.hrefs = () => [...page.document.querySelectorAll("a")].map((each) => each.getAttribute("href"));
  /** The events that were reported so far, without those of a first report. */
  page.events = () => page.posts.flatMap(({ events }) => events);
  page.settle = () => new Promise((resolve) => setTimeout(resolve, 20));
  await new Promise((resolve) => dom.window.addEventListener("load", resolve));
  await page.settle();
  return page;
}
