/* clickmw, the extra: reports of pages of one's own making, returns, new content, plain words.
 *
 * It works beside the core (clickmw.js), whichever of the two comes first.
 */
((document) => {
  const clickmw = (window.clickmw = window.clickmw || {});
  if (clickmw.search) return;

  const { src, dataset } = document.currentScript;
  /** The latest search that was reported from here. */
  let latest;

  /** As in the core, which may come later. */
  const newId = () =>
    btoa(
      String.fromCharCode(
        ...Uint8Array.from("543210......", (power) =>
          power < 6 ? Date.now() / 256 ** power : Math.random() * 256,
        ),
      ),
    )
      .replace(/\+/g, "-")
      .replace(/\//g, "_");

  /** Do *work* once the core is here and somebody looks at the page. */
  function whenReady(work) {
    if (!clickmw.scan) (clickmw.waiting = clickmw.waiting || []).push(() => whenReady(work));
    else if (!document.prerendering) return work();
    else document.addEventListener("prerenderingchange", work, { once: true });
  }

  // -- what pages call ---------------------------------------------------------------------------

  const markedLink = () => document.querySelector("[data-click-token]");

  /** The token of a link, of its address or of itself; on shared pages with "?v=" and the view. */
  const textOf = (what) =>
    (what.dataset ? what.dataset.clickToken || what.getAttribute("href") : `${what}`).split("/").pop();

  /** The id of a search, given by itself or by any link of it; else of the one that is shown here. */
  function searchOf(search = latest || markedLink()) {
    return search ? textOf(search).split(":")[1] || search : undefined;
  }

  /** Say numbers as text, but for totals, places and amounts: an id or a query may be one. */
  function worded(members) {
    for (const name in members) {
      if (typeof members[name] == "number" && !"nopy".includes(name)) members[name] += "";
    }
    return members;
  }

  /** Report an event of type *t*. JSON leaves out what is undefined. */
  function report(t, { search, site }, members) {
    const event = { t, i: newId(), g: searchOf(search), s: site };
    return whenReady(() => clickmw.send([worded(Object.assign(event, members))]));
  }

  const resultOf = ({ url, position, item, title, module }) =>
    worded({ u: url, p: position, d: item, h: title, m: module });

  Object.assign(clickmw, {
    search(search) {
      latest = `${search.id || newId()}`;
      report("search", { search: latest, site: search.site }, {
        q: search.query,
        n: search.total,
        o: search.offset,
        m: search.module,
        r: search.results && search.results.map(resultOf),
        l: search.language,
        f: search.profile,
        a: search.tag,
      });
      return latest;
    },
    click(what) {
      if (what.url) return report("result", what, { q: what.query, ...resultOf(what) });
      const [k, v] = textOf(what).split("?v=");
      return whenReady(() => clickmw.send([{ t: "click", k, i: newId(), v }]));
    },
    related: (link) =>
      report("related", link, {
        q: link.query,
        x: link.suggestion,
        p: link.position,
        m: link.module,
      }),
    answer: (answer) =>
      report("answer", answer, { q: answer.question, x: answer.answer, y: answer.isQuestion }),
    source: (source) => report("source", source, { q: source.question, ...resultOf(source) }),
    satisfaction: (score, comment, about = {}) =>
      report("feedback", about, { q: about.query, y: score, x: comment }),
    conversion: (deed) =>
      report("conversion", deed, { x: deed.order, y: deed.value, c: deed.currency, u: deed.url }),
  });

  // -- how soon a visitor is back ----------------------------------------------------------------

  function watchReturns() {
    const send = clickmw.send;
    /** Page and window of the latest click; then, once reported, its event and time too. */
    let left = {};
    const note = (event) => {
      if (!event.isTrusted) return;
      const link = event.composedPath().find((node) => node.getAttribute && node.getAttribute("href"));
      const target = link && link.getAttribute("target");
      const elsewhere = event.button || event.ctrlKey || event.metaKey || event.shiftKey || target;
      left = elsewhere ? {} : { page: document.URL };
    };
    addEventListener("click", note, true);
    addEventListener("auxclick", note, true);
    clickmw.send = (events, otherwise) => {
      const click = events.find(({ t }) => t == "click");
      if (click && left.page) Object.assign(left, { click, at: performance.now() });
      return send(events, otherwise);
    };
    const comeBack = () => {
      const { click, at } = left;
      left = {};
      if (!click) return;
      const s = Math.round((performance.now() - at) / 100) / 10;
      clickmw.send([Object.assign(click, { t: "return", s })]);
    };
    // From another document, kept whole by the browser; within this one, by a router.
    addEventListener("pageshow", (event) => event.persisted && comeBack());
    addEventListener("popstate", () => left.page == document.URL && comeBack());
  }

  // -- data-observe ------------------------------------------------------------------------------

  function observe() {
    let timer;
    const look = () => {
      timer = 0;
      clickmw.scan();
    };
    new MutationObserver(() => (timer = timer || setTimeout(look, 50))).observe(document, {
      childList: true,
      subtree: true,
      attributeFilter: ["href"],
    });
  }

  // -- data-debug --------------------------------------------------------------------------------

  const WORDS = {
    accepted: "kept, and counted unless it repeats an earlier one",
    robot: "kept, not counted: looks like a robot",
    stale: "kept, not counted: the link is older than 30 days",
    trust: "kept, not counted: see the setting count_trust",
    opted_out: "not kept: this visitor is not to be measured",
    prefetch: "not kept: fetched in advance",
    "dropped: rate": "not kept: too many in a short time",
  };

  const say = (...words) => console.info("clickmw:", ...words);

  const whySilent = () =>
    document.prerendering
      ? "the page is only prepared"
      : navigator.globalPrivacyControl
        ? "the browser sends Global Privacy Control"
        : navigator.doNotTrack == 1
          ? "the browser sends Do Not Track"
          : document.cookie.includes("clickmw_optout=1")
            ? "clickmw.optOut() was called"
            : "clickmw.consent() was not called";

  function explain() {
    const address = new URL("e", src);
    const { pathname } = new URL("r/", src);
    let clicks = 0;

    /** Report so that the answer can be read; return it, or nothing when there was none of ours. */
    async function post(events) {
      const body = JSON.stringify(events);
      try {
        const answer = await fetch(address, { method: "POST", body, keepalive: true });
        if (answer.status == 204) return answer.headers.get("X-ClickMW") || "taken";
        say(`${address} answered ${answer.status}, not 204`);
      } catch (error) {
        say(`${address} was not reached: blocked, or not in connect-src.`, error);
      }
    }

    clickmw.send = async (events, otherwise = () => {}) => {
      if (clickmw.isSilent()) return say("not sent:", whySilent(), events);
      for (const { t } of events) if (t == "click") clicks++;
      say("sent:", events);
      const verdict = await post(events);
      if (!verdict) return otherwise(events);
      const each = verdict.split(/, */);
      events.forEach(({ t }, index) => {
        const word = each.length == events.length ? each[index] : verdict;
        say(`${t}:`, WORDS[word] || word);
      });
      return true;
    };

    function watch(event) {
      const link = event.composedPath().find((node) => node.matches && node.matches("a[href]"));
      if (!link || event.button > 1) return;
      const before = clicks;
      if (link.getAttribute("href").includes(pathname)) say("click: left to the redirect", link);
      else if (!link.dataset.clickToken) say("click: not on a result", link);
      else if (!event.isTrusted) say("click: not counted, a script made it", link);
      else {
        setTimeout(() => {
          if (clicks == before) say("click: not counted, prevented and the page stayed", link);
        }, 6e3);
      }
    }
    addEventListener("click", watch, true);
    addEventListener("auxclick", watch, true);

    setTimeout(async () => {
      const count = (selector) => document.querySelectorAll(selector).length;
      say(
        `${count("[data-click-token]")} links have their own addresses,`,
        `${count(`a[href*="${pathname}"]`)} are redirects`,
      );
      if (clickmw.isSilent()) return say("nothing is sent:", whySilent());
      const verdict = await post([]);
      if (verdict == "taken") say("reports arrive; the server's setting debug makes it say more");
    }, 2e3);
  }

  if ("debug" in dataset) {
    setTimeout(() => clickmw.scan || say("clickmw.js is not on this page"), 5e3);
    whenReady(explain);
  }
  whenReady(watchReturns);
  if ("observe" in dataset) whenReady(observe);
})(document);
