/* Host grid: one canvas, never an element per host; the same hosts stand in a table made by the server.
   Cell size follows the number of hosts; glyphs from 16 px, below that shape and fill. Only cells that changed are drawn again. */
"use strict";
(() => {
  const tones = { s: "good", i: "run", f: "bad", p: "idle", k: "idle", u: "idle" };
  const cellSize = (n) => n <= 100 ? 24 : n <= 1500 ? 16 : 8;
  let hosts = null, drawn = "", at = -1, layout = null, palette = null;

  function read() {
    hosts = JSON.parse($("#host-data")?.textContent || "null");
    if (!hosts) return;
    hosts.codes = $("#host-codes")?.textContent ?? hosts.codes;
    at = hosts.names.indexOf(hosts.chosen);
  }
  function ink(token) {                     /* light-dark() is resolved only on a real property */
    const probe = $("#main"), before = probe.style.color;
    probe.style.color = `var(${token})`;
    const colour = getComputedStyle(probe).color;
    probe.style.color = before;
    return colour;
  }
  function colours() {
    const found = Object.fromEntries(["good", "run", "bad", "idle"].flatMap((t) => [[t, ink(`--${t}-solid`)], [`${t}-bg`, ink(`--${t}-bg`)], [`${t}-ink`, ink(`--${t}`)]]));
    return { ...found, surface: ink("--surface"), ink: ink("--ink") };
  }
  function cell(g, index) {
    const { size, gap, columns } = layout, pitch = size + gap, c = palette;
    const code = hosts.codes[index], x = (index % columns) * pitch, y = Math.floor(index / columns) * pitch;
    const mx = x + size / 2, my = y + size / 2, u = size / 28, tone = tones[code] ?? "idle", full = code === "f" || code === "i";
    const box = (inset, r = size / 6) => { g.beginPath(); g.roundRect(x + inset, y + inset, size - 2 * inset, size - 2 * inset, r); };
    g.clearRect(x - gap / 2, y - gap / 2, pitch, pitch);
    g.fillStyle = full ? c[tone] : code === "s" ? c["good-bg"] : c.surface;
    g.strokeStyle = code === "s" ? c.good : c[tone];
    g.lineWidth = size > 8 ? 1.25 : 1;
    g.setLineDash(code === "u" ? [size / 8, size / 8] : []);
    if (size < 16) {                        /* failed full, changing lower half, done quiet fill, pending edge only */
      if ("sfi".includes(code)) g.fillRect(x, code === "i" ? my : y, size, code === "i" ? size / 2 : size);
      if (code !== "f") g.strokeRect(x + .5, y + .5, size - 1, size - 1);
    } else {
      box(.6); g.fill(); g.stroke(); g.setLineDash([]);
      g.strokeStyle = full ? c.surface : c[`${tone}-ink`];
      g.lineWidth = 2 * u + .2;
      g.beginPath();
      if (code === "s") { g.moveTo(mx - 5 * u, my + .5 * u); g.lineTo(mx - 1.2 * u, my + 4 * u); g.lineTo(mx + 5.5 * u, my - 4 * u); }
      if (code === "f") { g.moveTo(mx - 4.5 * u, my - 4.5 * u); g.lineTo(mx + 4.5 * u, my + 4.5 * u); g.moveTo(mx + 4.5 * u, my - 4.5 * u); g.lineTo(mx - 4.5 * u, my + 4.5 * u); }
      if (code === "i") g.arc(mx, my, 5 * u, -Math.PI / 2, Math.PI * .9);
      if (code === "p") { g.moveTo(mx - 2 * u, my); g.lineTo(mx + 2 * u, my); }
      if (code === "k") { for (const dx of [-4, 1]) { g.moveTo(mx + dx * u, my - 4 * u); g.lineTo(mx + (dx + 4) * u, my); g.lineTo(mx + dx * u, my + 4 * u); } }
      if (code === "u") { g.font = `600 ${13 * u}px system-ui, sans-serif`; g.fillStyle = c["idle-ink"]; g.textAlign = "center"; g.fillText("?", mx, my + 4.6 * u); }
      g.stroke();
    }
    g.setLineDash([]);
    if (index === at) { g.strokeStyle = c.ink; g.lineWidth = Math.min(2, gap); box(-gap / 2 + .5, size / 6 + 1); g.stroke(); }
  }
  function brush(canvas) {
    const g = canvas.getContext("2d"), ratio = devicePixelRatio || 1;
    g.setTransform(ratio, 0, 0, ratio, 2 * ratio, 2 * ratio);
    g.lineCap = g.lineJoin = "round";
    return g;
  }
  function drawAll() {
    const canvas = $("#host-grid");
    if (!canvas || !hosts) return;
    const size = cellSize(hosts.names.length), gap = size > 8 ? 3 : 2, width = canvas.clientWidth, ratio = devicePixelRatio || 1;
    const columns = Math.max(1, Math.floor((width - 4 + gap) / (size + gap)));
    const height = Math.ceil(hosts.names.length / columns) * (size + gap) - gap + 4;
    layout = { size, gap, columns };
    palette = colours();
    canvas.style.height = `${height}px`;
    canvas.width = width * ratio; canvas.height = height * ratio;
    const g = brush(canvas);
    for (let index = 0; index < hosts.names.length; index++) cell(g, index);
    drawn = hosts.codes;
  }
  function drawChanged() {
    const canvas = $("#host-grid");
    if (!canvas || !hosts || !layout) return;
    hosts.codes = $("#host-codes").textContent;
    const g = brush(canvas);
    for (let index = 0; index < hosts.codes.length; index++) if (hosts.codes[index] !== drawn[index]) cell(g, index);
    drawn = hosts.codes;
  }
  function choose(index) {
    if (!hosts?.names[index]) return;
    const before = at, g = brush($("#host-grid"));
    at = index;
    if (before >= 0) cell(g, before);
    cell(g, at);
    $("#host-said").textContent = `${hosts.names[at]}, ${hosts.labels[hosts.codes[at]]}`;
    $("#host-grid").title = $("#host-said").textContent;
  }
  const go = () => { location.href = `${$("#host-grid").dataset.link}?host=${encodeURIComponent(hosts.names[at])}#the-host`; };
  const under = (event) => { const pitch = layout.size + layout.gap, column = Math.floor((event.offsetX - 2) / pitch); return column < layout.columns ? Math.floor((event.offsetY - 2) / pitch) * layout.columns + column : -1; };

  document.addEventListener("click", (event) => { if (event.target.matches("#host-grid") && hosts?.names[under(event)]) { choose(under(event)); go(); } });
  document.addEventListener("mousemove", (event) => {
    if (!event.target.matches("#host-grid") || !layout) return;
    const index = under(event);
    event.target.title = hosts.names[index] ? `${hosts.names[index]}, ${hosts.labels[hosts.codes[index]]}` : "";
  });
  document.addEventListener("keydown", (event) => {
    if (!event.target.matches?.("#host-grid") || !layout) return;
    const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -layout.columns, ArrowDown: layout.columns }[event.key];
    if (event.key === "Enter" && at >= 0) go();
    if (!move) return;
    event.preventDefault();
    choose(at < 0 ? 0 : Math.min(Math.max(at + move, 0), hosts.names.length - 1));
  });
  document.addEventListener("placed", (event) => {
    if (event.detail === "host-codes") drawChanged();
    if (event.detail === "zones") { read(); watch(); }
  });
  document.addEventListener("themechange", drawAll);
  const sizes = new ResizeObserver(drawAll);
  const watch = () => { sizes.disconnect(); sizes.observe($("#zones")); };   /* a first observation draws */
  read();
  watch();
})();
