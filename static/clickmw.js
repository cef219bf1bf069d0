/* clickmw: report that a results page is really looked at.
 *
 * The signed links of a page count by themselves. Two kinds of pages need a word from the browser:
 * one that a shared cache gives to many (its links then say which view they belong to), and one
 * that was fetched before anybody wanted it. Both are marked data-view on this script's own tag.
 * Nothing is stored, nothing is delayed, and no failure reaches the page.
 */
(function () {
  "use strict";
  var script = document.currentScript;
  if (!script || script.dataset.view === undefined || window.clickmw) return;
  var prefix = new URL(script.src).pathname.replace(/\/clickmw[^/]*\.js$/, "");
  var path = prefix + "/r/";
  window.clickmw = { views: {} };

  /** A view's id: 6 bytes of time and 6 random ones, as 16 URL-safe characters. */
  function newId() {
    var bytes = new Uint8Array(12);
    crypto.getRandomValues(bytes);
    for (var now = Date.now(), i = 5; i >= 0; i--, now = Math.floor(now / 256)) bytes[i] = now % 256;
    return btoa(String.fromCharCode.apply(null, bytes)).replace(/\+/g, "-").replace(/\//g, "_");
  }

  /** One report for each search of the page; its links carry the view from then on. */
  function report() {
    var events = [];
    document.querySelectorAll("a[href]").forEach(function (link) {
      var at = link.href.indexOf(path);
      if (at < 0 || new URL(link.href).origin !== location.origin) return;
      var token = decodeURI(link.href.slice(at + path.length).split("?")[0]);
      var search = token.split(":")[1];
      var view = window.clickmw.views[search];
      if (!view) {
        view = window.clickmw.views[search] = newId();
        events.push({ t: "view", k: token, v: view });
      }
      if (script.dataset.view === "shared") link.href = link.href.split("?")[0] + "?v=" + view;
    });
    if (events.length) send(JSON.stringify(events));
  }

  function send(body) {
    var address = prefix + "/e";
    if (navigator.sendBeacon && navigator.sendBeacon(address, body)) return;
    fetch(address, { method: "POST", body: body, keepalive: true }).catch(function () {});
  }

  function start() {
    if (document.readyState !== "loading") return report();
    document.addEventListener("DOMContentLoaded", report, { once: true });
  }

  if (document.prerendering) document.addEventListener("prerenderingchange", start, { once: true });
  else start();
})();
