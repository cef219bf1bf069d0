/* clickmw, the core: plain links, every click once, and what was really seen.
 *
 * The server writes results as signed redirects, which count without any script. When a first
 * report has reached it, this script puts the plain addresses back and reports clicks itself.
 * It never prevents, delays or restyles anything, and keeps nothing but a visitor's wish not to be
 * measured. Whatever does not work here, the redirects do.
 *
 * Every byte of this file travels with every page of results: see build.mjs before you add one.
 */
((document) => {
  const clickmw = (window.clickmw = window.clickmw || {});
  // Included twice, or brought along by a page that was put into this one: new links may be here.
  if (clickmw.scan) return clickmw.scan();

  const script = document.currentScript;
  // The folder of this file is the server's prefix; links of a server elsewhere name its origin.
  const address = new URL("e", script.src);
  const redirect = new URL("r/", script.src).href.replace(location.origin, "");
  /** Search → this view of it, on pages that many are given or that were fetched in advance. */
  const views = {};

  const nothing = () => {};
  const isSilent = () =>
    waitsForConsent ||
    document.prerendering ||
    navigator.globalPrivacyControl ||
    navigator.doNotTrack == 1 ||
    document.cookie.includes("clickmw_optout=1");

  /** A fresh id: 6 bytes of time, the highest first, and 6 random ones, as 16 URL-safe characters. */
  const newId = () =>
    btoa(
      "543210......".replace(/./g, (power) =>
        String.fromCharCode(power < 6 ? (Date.now() / 256 ** power) & 255 : Math.random() * 256),
      ),
    )
      .replace(/\+/g, "-")
      .replace(/\//g, "_");

  /** What clickmw/tokens.py wrote into a token; on the pages of a tag with data-view "?v=" and the
   * view follow. Only the server can tell whether a token is ours: one that is not, and leads to
   * "javascript:", has no place to go to. */
  const read = (text) => {
    const [token, view] = text.split("?v=");
    const [, search, position, module, place = ""] =
      /:(.*?):(.*?):(.*?):.*?:((~|https?:).*)\./.exec(token) || [];
    return [
      place.replace(/[~!*$(]|,(\w+)\./g, (mark, code) =>
        code ? String.fromCharCode("0x" + code) : "/%?&#"["~!*$(".indexOf(mark)],
      ),
      token,
      view,
      search,
      [module, +position],
    ];
  };

  /** Report by a request whose answer can be seen; true when it was our server's. */
  const post = (events) =>
    fetch(address, { method: "POST", body: JSON.stringify(events), keepalive: true }).then(
      (answer) => answer.status == 204,
      nothing,
    );

  /** Report by what outlives the page, else *otherwise*. */
  const send = (events, otherwise = post) =>
    isSilent() ||
    (navigator.sendBeacon && navigator.sendBeacon(address, JSON.stringify(events))) ||
    otherwise(events);

  const tokenOf = (link) => link.getAttribute("href").slice(redirect.length);

  /** Look for links of ours in *root*. */
  const scan = (root = document) => {
    const find = () => root.querySelectorAll(`a[href^="${redirect}"]`);
    const tag = document.querySelector("script[data-view]");
    const events = [];
    // Clicks inside a closed shadow root look all the same from outside: there, redirects stay.
    if (isSilent() || document.readyState == "loading" || root.mode == "closed" || !find()[0]) return;
    if (tag) {
      find().forEach((link) => {
        const [, k, , search] = read(tokenOf(link));
        if (!views[search]) events.push({ t: "view", k, v: (views[search] = newId()) });
        link.setAttribute("href", redirect + k + "?v=" + views[search]);
      });
    }
    if (events[0] || !probe) probe = post(events);
    probe.then((works) => works && find().forEach(clean));
  };

  /** Give *link* its own address back, and watch until it was half visible for a second. */
  const clean = (link) => {
    const text = tokenOf(link);
    const [place, k, v, search, position] = read(text);
    let timer;
    // htmx 4 has decided to fetch this link while it led to us, and would fetch any other site too.
    if (place && !link.dataset.htmxPowered) {
      link.dataset.clickToken = text;
      link.setAttribute("href", place);
      const see = () => {
        // Nobody sees a hidden page; and the page may have used the link for another result since.
        if (!document.hidden) {
          watcher.disconnect();
          clearInterval(timer);
          if (link.dataset.clickToken == text) {
            (seen[search] = seen[search] || { t: "seen", k, v, p: [] }).p.push(position);
            // No more events than one report may have, and no more places than one event.
            if (++unsaid > 49) flush();
          }
        }
      };
      const watcher = new IntersectionObserver(
        (entries) => {
          clearInterval(timer);
          if (entries.pop().intersectionRatio >= 0.5) timer = setInterval(see, 1e3);
        },
        { threshold: 0.5 },
      );
      watcher.observe(link);
    }
  };

  const flush = () => {
    if (unsaid) clickmw.send(Object.values(seen));
    unsaid = 0;
    seen = {};
  };

  /** A click is on its way down: find out whether it will follow a link of ours. */
  const choose = (event) => {
    const link = event.composedPath().find((node) => node.dataset && node.dataset.clickToken);
    if (!event.isTrusted) return;
    pending = nothing;
    // 0: left button, keyboard, touch; 1: middle.
    if (!link || event.button > 1) return;
    const text = link.dataset.clickToken;
    const [place, k, v] = read(text);
    const before = location.href;
    let looks = 50;
    if (link.getAttribute("href") != place) return;
    // Prevented: by a menu perhaps, or a router. It is a click when the page moves on, within 5 s.
    const look = (pending = (hasMoved) => {
      if (pending != look) return;
      if (hasMoved || !event.defaultPrevented || location.href != before) {
        pending = nothing;
        // The browser takes no report now. While the click is on its way, the redirect can count it:
        // that a request fails as well would be known only when the page has gone.
        clickmw.send(
          [{ t: "click", k, v, i: newId() }],
          event.eventPhase ? () => link.setAttribute("href", redirect + text) : post,
        );
      } else if (looks--) setTimeout(look, 100);
      else pending = nothing;
    });
    addEventListener("pagehide", look, { once: true });
    // Added last, so asked last. Where the event does not come this far, the timer asks.
    addEventListener(event.type, () => event.defaultPrevented || look(), { once: true });
    setTimeout(look);
  };

  const remember = (seconds) => {
    document.cookie =
      "clickmw_optout=1;samesite=lax;path=/;max-age=" +
      seconds +
      (location.protocol > "http:" ? ";secure" : "");
  };

  // By any of our tags: the middleware may have added one to a page that has its own.
  let waitsForConsent = document.querySelector("script[data-consent]");
  /** Search → what was seen of it since the last report. */
  let seen = {};
  /** How many places that are. */
  let unsaid = 0;
  /** The latest report whose answer tells whether reports arrive. */
  let probe;
  /** What becomes of the latest click, until it is known to be one. */
  let pending = nothing;

  Object.assign(clickmw, {
    scan,
    send,
    isSilent,
    consent() {
      waitsForConsent = 0;
      scan();
    },
    optOut: () => remember(31536e3),
    optIn: () => remember(0),
  });
  addEventListener("click", choose, true);
  addEventListener("auxclick", choose, true);
  addEventListener("pagehide", flush);
  // At the document: older Safaris do not tell the window.
  document.addEventListener("visibilitychange", flush);
  "DOMContentLoaded turbo:load turbo:frame-load htmx:load htmx:after:process prerenderingchange"
    .split(" ")
    // What a script put in the page may be what a click on its way was made for.
    .forEach((type) => document.addEventListener(type, () => scan(pending(1))));
  // The other files, when they came first.
  (clickmw.waiting || []).forEach((start) => start());
  scan();
})(document);
