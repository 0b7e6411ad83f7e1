/* Log search: marks hits with the highlight API; the text itself is never rewritten. */
"use strict";
(() => {
  const search = $("[data-log-search]");
  if (!search || !CSS.highlights) return;
  /* A build that failed opens where it failed, unless its address names another line. */
  const failed = $("[data-failed-line]");
  if (failed && !location.hash) {
    const line = $(failed.hash);
    line?.closest("details")?.setAttribute("open", "");
    line?.classList.add("is-failed");
    if (line) $("#log").scrollTop = line.offsetTop - $("#log").clientHeight / 2;
  }
  let hits = [], now = 0;
  /* Only the lines of the page are searched: of a long log it has the two ends. */
  const leftOut = () => search.dataset.leftOut ? ` in the lines shown; ${Number(search.dataset.leftOut).toLocaleString("en")} are left out, search the raw log for those` : "";
  const show = (move = false) => {
    CSS.highlights.set("log-hit", new Highlight(...hits));
    CSS.highlights.set("log-now", new Highlight(...hits.slice(now, now + 1)));
    $("[data-log-hits]").textContent = search.value ? (hits.length ? `${now + 1} of ${hits.length}` : "Not found") + leftOut() : "";
    if (!move || !hits[now]) return;
    const place = hits[now].startContainer.parentElement;
    const fold = place.closest("details");
    if (fold) fold.open = true;
    place.scrollIntoView({ block: "center" });
  };
  const find = () => {
    const wanted = search.value.toLowerCase();
    hits = []; now = 0;
    const walker = document.createTreeWalker($("#log"), NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); wanted && node; node = walker.nextNode()) {
      if (node.parentElement.closest("summary,.ln")) continue;
      const text = node.data.toLowerCase();
      for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
        const range = new Range();
        range.setStart(node, at); range.setEnd(node, at + wanted.length);
        hits.push(range);
      }
    }
    show();
  };
  const step = (by) => { if (hits.length) { now = (now + by + hits.length) % hits.length; show(true); } };
  search.addEventListener("input", find);
  search.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); step(event.shiftKey ? -1 : 1); } });
  document.addEventListener("click", (event) => { const by = event.target.closest("[data-log-step]")?.dataset.logStep; if (by) step(Number(by)); });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.closest("input,textarea,dialog")) return;
    event.preventDefault();
    search.focus();
  });
  document.addEventListener("added", () => { if (search.value) find(); });
})();
