/* Live: the server sends the blocks that changed; each replaces the element of its id, or is put at its end.
   Not replaced while somebody is in it: what has focus, an open dialog, a text selection, a list under the pointer. */
"use strict";
(() => {
  const url = document.body.dataset.live;
  const state = $("[data-live-state]");
  if (!url || !state) return;
  const held = new Map();
  let cursor = document.body.dataset.after ?? "", shown = new Date(), stream = null, over = false;

  const say = (text, tone) => {
    state.hidden = false;
    if (state.textContent !== text) state.textContent = text;
    if (tone) state.dataset.tone = tone; else delete state.dataset.tone;
  };
  const selects = (el) => { const chosen = getSelection(); return !chosen.isCollapsed && chosen.containsNode(el, true); };
  const busy = (el) => (el.contains(document.activeElement) && document.activeElement !== el)
    || $("dialog[open]", el) || selects(el) || ("calm" in el.dataset && el.matches(":hover"));

  function place(id, html, first) {
    const el = document.getElementById(id);
    if (!el) return;
    if (busy(el)) { held.set(id, [html, first]); return; }
    held.delete(id);
    const made = document.createElement("template");
    made.innerHTML = html.trim();
    const fresh = made.content.firstElementChild;
    if (!fresh || el.isEqualNode(fresh)) return;
    if (!first) fresh.classList.add("is-fresh");
    const tail = "tail" in fresh.dataset && atEnd(el);
    for (const kept of $$("details[id]", el)) { const again = fresh.querySelector(`#${CSS.escape(kept.id)}`); if (again) again.open = kept.open; }
    const focused = el === document.activeElement, top = el.scrollTop;
    el.replaceWith(fresh);
    if ("tail" in fresh.dataset) fresh.scrollTop = tail ? fresh.scrollHeight : top;
    if (focused) fresh.focus({ preventScroll: true });
    document.dispatchEvent(new CustomEvent("placed", { detail: id }));
  }
  const release = () => [...held].forEach(([id, [html, first]]) => place(id, html, first));

  /* A log grows at its end and follows until the reader scrolls up. */
  const atEnd = (el) => el.scrollHeight - el.scrollTop - el.clientHeight < 40;
  const follow = $("[data-follow]");
  const log = follow ? document.getElementById(follow.dataset.follow) : null;
  const follows = () => follow?.getAttribute("aria-pressed") === "true";
  const toEnd = () => { if (log && follows()) log.scrollTop = log.scrollHeight; };
  follow?.addEventListener("click", () => { follow.setAttribute("aria-pressed", String(!follows())); toEnd(); });
  log?.addEventListener("wheel", (event) => { if (event.deltaY < 0) follow.setAttribute("aria-pressed", "false"); }, { passive: true });
  log?.addEventListener("scroll", () => { if (atEnd(log)) follow.setAttribute("aria-pressed", "true"); });
  toEnd();

  function add(id, html) {
    const el = document.getElementById(id);
    if (!el) return;
    const made = document.createElement("template");
    made.innerHTML = html;
    const first = made.content.firstElementChild;
    if (first?.id && document.getElementById(first.id)) return;
    $("[data-until-add]", el)?.remove();
    el.append(made.content);
    toEnd();
    document.dispatchEvent(new CustomEvent("added", { detail: id }));
  }

  function open() {
    if (stream || over) return;
    const from = new URL(url, location);
    if (cursor) from.searchParams.set("after", cursor);
    stream = new EventSource(from);
    stream.addEventListener("message", (event) => {
      const { id, html, first, add: more } = JSON.parse(event.data);
      if (more !== undefined) add(id, more); else place(id, html, first);
    });
    stream.addEventListener("now", (event) => { if (event.lastEventId) cursor = event.lastEventId; shown = new Date(); say("Live"); });
    stream.addEventListener("gone", (event) => { end(); say(JSON.parse(event.data).message, "warn"); });
    stream.addEventListener("end", () => { end(); state.hidden = true; $$(".log__cursor").forEach((el) => el.remove()); });
    stream.addEventListener("reload", () => { end(); say("More has changed than fits. Reload the page.", "warn"); });
    stream.addEventListener("error", () => {
      say(`Reconnecting, shows ${shown.toTimeString().slice(0, 8)}`, "warn");
      if (stream?.readyState === EventSource.CLOSED) { close(); setTimeout(open, 5000); }
    });
  }
  const close = () => { stream?.close(); stream = null; };
  const end = () => { over = true; close(); };

  for (const type of ["focusout", "close", "selectionchange", "pointerout"]) document.addEventListener(type, () => setTimeout(release), true);
  /* Browsers keep six connections to a server: a page that nobody sees gives its own back, and catches up when it is seen again. */
  let leaving = 0;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(leaving);
    if (document.hidden) leaving = setTimeout(close, 5000); else open();
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
})();
