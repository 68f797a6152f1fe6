// The page: view, filter, pointer and keys.
const run = decode(raw);
const view = { from: 0, to: run.end };
const byId = (id) => document.getElementById(id);
const lanes = byId("lanes"), overview = byId("overview"), filter = byId("filter");
const state = {
  messages: true, lost: true, label: "", words: [], found: run.operations, selected: null, hovered: null,
  pointer: null, packetsShown: [], violation: -1,
  finds: (text) => state.words.every((word) => text.toLowerCase().includes(word)),
  findsOp: (op) => state.words.every((word) => op.text.includes(word)),
};
let layout = layoutOf(run, 1000), waiting = false;

function draw() {
  waiting = false;
  layout = layoutOf(run, byId("scroll").clientWidth);
  drawLanes(lanes, run, view, layout, state);
  drawOverview(overview, run, view, overview.clientWidth, state);
  const thinned = run.head.thinned.some((count) => count > 0) ? " (thinned out)" : "";
  byId("matches").textContent = (state.words.length ? `${state.found.length} found` : "") + thinned;
  byId("blur").textContent = state.blur ? " (zoom in)" : "";
}

function redraw() {
  if (!waiting) { waiting = true; requestAnimationFrame(draw); }
}

function look(from, to) {
  const least = 200, span = Math.min(Math.max(to - from, least), run.end * 1.02);
  view.from = Math.min(Math.max(from, -run.end * 0.01), run.end * 1.01 - span);
  view.to = view.from + span;
  redraw();
}

function zoom(factor, at = (view.from + view.to) / 2) {
  look(at - (at - view.from) * factor, at + (view.to - at) * factor);
}

function timeAt(px) {
  return view.from + (px - GUTTER) / (layout.width - GUTTER) * (view.to - view.from);
}

function showViolation(violation) {
  state.violation = violation.index;
  markFinding(violation);
  const margin = Math.max((violation.to - violation.from) * 0.35, 150_000);
  look(violation.from - margin, violation.to + margin);
  const lane = layout.clients.get(violation.clients[0]) ?? layout.members[violation.members[0] ?? 0];
  if (lane) byId("scroll").scrollTop = lane.top - byId("scroll").clientHeight / 2;
}

function select(op) {
  state.selected = op;
  showDetails(op);
  if (op && (op.called < view.from || op.ended > view.to)) {
    const span = view.to - view.from;
    look(op.called - span / 2, op.called + span / 2);
  }
  redraw();
}

function step(direction) {
  const at = state.selected ? state.found.indexOf(state.selected) : -1;
  const next = state.found[(at + direction + state.found.length) % state.found.length];
  if (next) select(next);
}

function nextViolation() {
  const shown = run.violations.filter((violation) => violation.times.length);
  if (shown.length) showViolation(shown[(shown.findIndex((v) => v.index === state.violation) + 1) % shown.length]);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  readColours();
  redraw();
}
const flipTheme = () => setTheme(colours.dark ? "light" : "dark");

function fillHead() {
  const { head } = run;
  const name = head.scenario + (head.mutant ? ` with ${head.mutant}` : "");
  byId("scenario").textContent = name;
  document.title = `${head.verdict}: ${name}, seed ${head.seed}`;
  byId("verdict").textContent = head.verdict;
  byId("verdict").classList.toggle("bad", head.verdict !== "pass");
  byId("facts").textContent = `seed ${head.seed} · ${seconds(head.end)} simulated · ${head.members} members · ` +
    `${head.operations} operations · ${head.packets} messages · hash ${head.hash}`;
  byId("replay").querySelector("code").textContent = head.replay;
  byId("copy").addEventListener("click", () => navigator.clipboard?.writeText(head.replay));
  for (const kind of KINDS) {
    const shown = element("span", kind);
    shown.style.setProperty("--of", `var(--${kind})`);
    byId("legend").append(shown);
  }
  run.labels.forEach((text, index) => byId("label").append(new Option(text, index)));
}

function listenToPointer() {
  let drag = null;
  lanes.addEventListener("pointerdown", (event) => {
    drag = { x: event.clientX, y: event.clientY, from: view.from, moved: false, scroll: byId("scroll").scrollTop };
    lanes.setPointerCapture(event.pointerId);
  });
  lanes.addEventListener("pointermove", (event) => {
    const box = lanes.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
    if (drag) {
      const by = (event.clientX - drag.x) / (layout.width - GUTTER) * (view.to - view.from);
      drag.moved ||= Math.abs(event.clientX - drag.x) + Math.abs(event.clientY - drag.y) > 4;
      lanes.classList.toggle("dragging", drag.moved);
      byId("scroll").scrollTop = drag.scroll - (event.clientY - drag.y);
      look(drag.from - by, drag.from - by + (view.to - view.from));
      return;
    }
    state.pointer = px > GUTTER ? timeAt(px) : null;
    const found = px > GUTTER ? hit(run, view, layout, state, px, py) : {};
    state.hovered = found.packet ?? null;
    showTip(tipOf(run, found), event);
    redraw();
  });
  lanes.addEventListener("pointerup", (event) => {
    const box = lanes.getBoundingClientRect();
    if (drag && !drag.moved) {
      select(hit(run, view, layout, state, event.clientX - box.left, event.clientY - box.top).op ?? null);
    }
    drag = null;
    lanes.classList.remove("dragging");
  });
  lanes.addEventListener("pointerleave", () => { state.pointer = state.hovered = null; showTip(null); redraw(); });
  lanes.addEventListener("wheel", (event) => {
    if (event.shiftKey) return;
    event.preventDefault();
    const px = event.clientX - lanes.getBoundingClientRect().left;
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      const by = event.deltaX / layout.width * (view.to - view.from);
      look(view.from + by, view.to + by);
    } else {
      zoom(Math.exp(event.deltaY * 0.0016), timeAt(Math.max(px, GUTTER)));
    }
  }, { passive: false });
  const seek = (event) => {
    if (!event.buttons) return;
    const box = overview.getBoundingClientRect(), span = view.to - view.from;
    const at = (event.clientX - box.left - GUTTER) / (box.width - GUTTER) * run.end;
    if (span >= run.end) look(at - run.end / 20, at + run.end / 20); else look(at - span / 2, at + span / 2);
  };
  overview.addEventListener("pointerdown", (event) => { overview.setPointerCapture(event.pointerId); seek(event); });
  overview.addEventListener("pointermove", seek);
}

function listenToControls() {
  filter.addEventListener("input", () => {
    state.words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    state.found = run.operations.filter(state.findsOp);
    redraw();
  });
  for (const [id, key] of [["show-messages", "messages"], ["show-lost", "lost"]]) {
    byId(id).addEventListener("change", (event) => { state[key] = event.target.checked; redraw(); });
  }
  byId("label").addEventListener("change", (event) => {
    state.label = event.target.value === "" ? "" : Number(event.target.value);
    redraw();
  });
  const clicks = { in: () => zoom(0.5), out: () => zoom(2), fit: () => look(0, run.end), theme: flipTheme, help: () => byId("keys").showModal() };
  for (const [id, act] of Object.entries(clicks)) byId(id).addEventListener("click", act);
  addEventListener("resize", redraw);
}

function listenToKeys() {
  const move = (part) => { const by = (view.to - view.from) * part; look(view.from + by, view.to + by); };
  const keys = {
    "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), 0: () => look(0, run.end),
    ArrowLeft: () => move(-0.15), ArrowRight: () => move(0.15), v: nextViolation, n: () => step(1), p: () => step(-1),
    m: () => byId("show-messages").click(), d: flipTheme, "?": () => byId("keys").showModal(),
    "/": () => filter.focus(),
    Escape: () => select(null),
  };
  addEventListener("keydown", (event) => {
    if (event.target === filter) {
      if (event.key === "Escape") { filter.value = ""; filter.dispatchEvent(new Event("input")); filter.blur(); }
      if (event.key === "Enter") step(1);
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
}

// A link may say where to look: #violation=0, #view=FROM-TO in microseconds, &theme=dark.
function followLink() {
  const asked = new URLSearchParams(location.hash.slice(1));
  if (asked.has("theme")) setTheme(asked.get("theme"));
  draw();
  const [from, to] = (asked.get("view") ?? "").split("-").map(Number);
  if (to > from) look(from, to);
  const violation = run.violations[asked.get("violation") ?? ""];
  if (violation) showViolation(violation);
  if (asked.has("filter")) { filter.value = asked.get("filter"); filter.dispatchEvent(new Event("input")); }
}

fillHead();
showFindings(run, showViolation);
listenToPointer();
listenToControls();
listenToKeys();
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
followLink();
