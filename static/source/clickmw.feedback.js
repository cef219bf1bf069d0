/* clickmw, the question: <clickmw-feedback> asks how well a search went, from 0 to 10 and in words.
 *
 * Plain controls in the page itself, which look as the site's own style sheet says. Needs the core
 * and the extra, whichever comes first.
 */
((document) => {
  const clickmw = (window.clickmw = window.clickmw || {});
  if (customElements.get("clickmw-feedback")) return;

  function make(name, properties, ...children) {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  }

  class Feedback extends HTMLElement {
    connectedCallback() {
      if (clickmw.scan) this.start();
      else (clickmw.waiting = clickmw.waiting || []).push(() => this.start());
    }

    /** Ask, as soon as an answer may be sent: who is not to be measured is not asked. */
    start() {
      if (this.form) return;
      if (!clickmw.isSilent()) return this.build();
      const { consent } = clickmw;
      clickmw.consent = () => {
        consent();
        this.build();
      };
      document.addEventListener("prerenderingchange", () => this.build());
    }

    build() {
      if (this.form || clickmw.isSilent()) return;
      const word = (name, text) => this.getAttribute(name) || text;
      const scores = [...Array(11).keys()].map((value) =>
        make(
          "label",
          {},
          make("input", { type: "radio", name: "score", value, required: true }),
          `${value} `,
        ),
      );
      this.form = make(
        "form",
        {},
        make(
          "fieldset",
          {},
          make(
            "legend",
            {},
            word("question", "How well did this search work for you?"),
            " ",
            make("small", {}, word("scale", "0: not at all, 10: perfectly")),
          ),
          ...scores,
        ),
        make(
          "label",
          {},
          word("comment", "What could be better? (optional)"),
          " ",
          make("textarea", { name: "comment", maxLength: 1000 }),
        ),
        " ",
        make("button", {}, word("send", "Send")),
      );
      // There before it says anything: a screen reader announces what changes.
      this.status = make("p", { tabIndex: -1 });
      this.status.setAttribute("role", "status");
      this.form.addEventListener("submit", (event) => {
        event.preventDefault();
        this.submit(word);
      });
      this.textContent = "";
      this.append(this.form, this.status);
    }

    async submit(word) {
      const { score, comment } = this.form.elements;
      const about = { query: word("query"), search: word("search"), site: word("site") };
      const isSent =
        clickmw.satisfaction &&
        !clickmw.isSilent() &&
        (await clickmw.satisfaction(+score.value, comment.value.trim() || undefined, about));
      if (!isSent) {
        this.status.textContent = word("unsent", "This could not be sent.");
        return;
      }
      const hadFocus = this.form.contains(document.activeElement);
      this.form.remove();
      this.status.textContent = word("thanks", "Thank you.");
      if (hadFocus) this.status.focus();
    }
  }
  customElements.define("clickmw-feedback", Feedback);
})(document);
