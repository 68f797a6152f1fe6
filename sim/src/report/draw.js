// Drawing. A view is { from, to } in time; a layout says where each lane is.
const GUTTER = 108, AXIS = 36, MEMBER = 58, CLIENT = 17, FAULT = 17, PAD = 5;
const FONT = '12px system-ui, "DejaVu Sans", sans-serif';

function layoutOf(run, width) {
  const layout = { width, members: [], clients: new Map(), faultsTop: AXIS };
  let y = AXIS + run.faults.rows * FAULT + 2 * PAD;
  const strips = stripsOf(run);
  for (let m = 0; m < run.members.length; m++) {
    const below = strips.map((name, i) => ({ name, top: y + MEMBER + 2 + i * STRIP }));
    layout.members.push({ top: y, height: MEMBER, mid: y + MEMBER / 2, strips: below });
    y += MEMBER + 2 + strips.length * STRIP + PAD;
  }
  layout.clientsTop = y += PAD;
  for (const client of run.clients) {
    layout.clients.set(client, { top: y, height: CLIENT, mid: y + CLIENT / 2 });
    y += CLIENT + 2;
  }
  layout.height = y + 12;
  return layout;
}

// Where a host of the network has its lane; clients that did nothing have none.
function laneOfHost(layout, host) {
  return host < 1000 ? layout.members[host - 1] : layout.clients.get(host - 1000);
}

function prepare(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.height = height + "px";
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = FONT;
  pen.textBaseline = "middle";
  return pen;
}

let colours = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ground", "panel", "ink", "soft", "line", "lane", "good", "bad", "bad-ground", "warm", "read", "put",
    "delete", "txn", "other", "last", "committed", "applied", "down", "message", "cut", "clock"];
  colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue("--" + name).trim()]));
  colours.dark = document.documentElement.dataset.theme === "dark";
}

// Terms differ in colour from their neighbours.
function termColour(term, strength) {
  const hue = (term * 137.5 + 205) % 360;
  return `hsl(${hue} ${colours.dark ? 45 : 60}% ${colours.dark ? 48 : 52}% / ${strength})`;
}

function scale(view, layout) {
  const perMicro = (layout.width - GUTTER) / (view.to - view.from);
  return (at) => GUTTER + (at - view.from) * perMicro;
}

function drawLanes(canvas, run, view, layout, state) {
  const pen = prepare(canvas, layout.width, layout.height);
  const x = scale(view, layout);
  pen.save();
  pen.beginPath();
  pen.rect(GUTTER, 0, layout.width - GUTTER, layout.height);
  pen.clip();
  drawGrid(pen, view, layout, x);
  drawViolationGround(pen, run, layout, x);
  drawFaults(pen, run, view, layout, x, state);
  run.members.forEach((member, i) => drawMember(pen, run, member, layout.members[i], view, x, state));
  drawStrips(pen, run, view, layout, x, state);
  drawOperations(pen, run, view, layout, x, state);
  state.packetsShown = drawPackets(pen, run, view, layout, x, state);
  drawViolations(pen, run, layout, x);
  drawPointer(pen, layout, x, state);
  pen.restore();
  drawGutter(pen, run, layout, state);
}

function gridStep(view, width) {
  const wanted = (view.to - view.from) / (width / 110);
  const power = 10 ** Math.floor(Math.log10(wanted));
  return [1, 2, 5, 10].map((m) => m * power).find((step) => step >= wanted);
}

function drawGrid(pen, view, layout, x) {
  const step = gridStep(view, layout.width - GUTTER);
  const digits = step >= 1e6 ? 0 : step >= 1e5 ? 1 : step >= 1e4 ? 2 : step >= 1e3 ? 3 : 6;
  pen.strokeStyle = colours.line;
  pen.fillStyle = colours.soft;
  pen.textAlign = "left";
  for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
    const px = Math.round(x(at)) + 0.5;
    pen.beginPath(); pen.moveTo(px, 0); pen.lineTo(px, layout.height); pen.stroke();
    pen.fillText((at / 1e6).toFixed(digits) + " s", px + 4, 9);
  }
}

function drawFaults(pen, run, view, layout, x, state) {
  for (const fault of run.faults) {
    if (fault.to < view.from || fault.from > view.to || fault.row >= 8) continue;
    const left = x(fault.from), width = Math.max(x(fault.to) - left, 3);
    const top = layout.faultsTop + PAD + fault.row * FAULT;
    pen.globalAlpha = state.finds(fault.name + " " + fault.settings) ? 1 : 0.2;
    pen.fillStyle = colours.warm;
    pen.globalAlpha *= 0.85;
    pen.beginPath(); pen.roundRect(left, top, width, FAULT - 3, 3); pen.fill();
    pen.globalAlpha = 1;
    const seen = Math.max(left, GUTTER), room = left + width - seen - 8, y = top + FAULT / 2 - 1;
    const long = pen.measureText(fault.name).width;
    if (long > room && x(fault.next) - left - width > long + 8) {
      pen.fillStyle = colours.soft;
      label(pen, fault.name, left + width + 4, y, long);
    } else {
      pen.fillStyle = colours.dark ? "#14171a" : "#ffffff";
      label(pen, fault.name, seen + 5, y, room);
    }
  }
}

// Writes as much as there is room for; a letter or two would say nothing.
function label(pen, text, left, y, room) {
  pen.textAlign = "left";
  let shown = text;
  while (shown && pen.measureText(shown).width > room) {
    text = text.slice(0, -1);
    shown = text.length < 3 ? "" : text.trimEnd() + "…";
  }
  if (shown) pen.fillText(shown, left, y);
}

// The longest of these that fits.
function fitting(pen, texts, room) {
  return texts.find((text) => pen.measureText(text).width <= room);
}

function drawMember(pen, run, member, lane, view, x, state) {
  pen.fillStyle = colours.lane;
  pen.fillRect(GUTTER, lane.top, x(run.end) - GUTTER, lane.height);
  for (const role of member.roles) {
    if (role.to < view.from || role.from > view.to) continue;
    const left = x(role.from), width = Math.max(x(role.to) - left, 1);
    pen.fillStyle = termColour(role.term, role.is === 2 ? 0.5 : role.is === 1 ? 0.12 : 0.04);
    pen.fillRect(left, lane.top, width, lane.height);
    if (role.is === 2) {
      pen.fillStyle = termColour(role.term, 1);
      pen.fillRect(left, lane.top, width, 4);
    }
    const words = ["seeks", "follows", "leads"][role.is], seen = Math.max(left, GUTTER);
    const text = fitting(pen, [`${words} · term ${role.term}`, `term ${role.term}`, `${role.term}`], left + width - seen - 8);
    if (text) {
      pen.fillStyle = role.is === 2 ? colours.ink : colours.soft;
      pen.textAlign = "left";
      pen.fillText(text, seen + 5, lane.top + 13);
    }
  }
  drawPositions(pen, run, member, lane, view, x);
  for (const span of member.away) drawAway(pen, span, lane, view, x);
  for (const note of member.notes) {
    if (note.at < view.from || note.at > view.to) continue;
    const mark = markOf(note.kind);
    if (!mark) continue;
    pen.globalAlpha = state.finds(note.kind + " " + note.text) ? 1 : 0.15;
    pen.fillStyle = colours[mark.colour];
    pen.textAlign = "center";
    pen.fillText(mark.sign, x(note.at), lane.top + 27);
    pen.globalAlpha = 1;
  }
}

// The sign of what a member does; silent for what the lane shows anyway.
function markOf(kind) {
  return {
    "member.died": { sign: "✕", colour: "bad" },
    "member.failed": { sign: "✖", colour: "bad" },
    "member.serves": { sign: "●", colour: "good" },
    "snapshot.built": { sign: "▫", colour: "soft" },
    "snapshot.installed": { sign: "▣", colour: "txn" },
    "raft.truncated": { sign: "✂", colour: "warm" },
    "clock.change": { sign: "◷", colour: "warm" },
    "log.torn": { sign: "≀", colour: "warm" },
  }[kind];
}

function drawPositions(pen, run, member, lane, view, x) {
  const bottom = lane.top + lane.height - 4, height = lane.height - 38;
  const first = Math.max(lowerBound(member.positions, view.from, (p) => p.at) - 1, 0);
  const end = Math.min(lowerBound(member.positions, view.to, (p) => p.at) + 1, member.positions.length);
  const shown = member.positions.slice(first, end);
  if (!shown.length) return;
  // The curves use the height of what is seen.
  const low = Math.min(...shown.map((p) => p.applied)), high = Math.max(...shown.map((p) => p.last), low + 1);
  const y = (index) => bottom - (Math.max(index, low) - low) / (high - low) * height;
  for (const what of ["last", "committed", "applied"]) {
    pen.strokeStyle = colours[what];
    pen.lineWidth = what === "last" ? 2.2 : 1.2;
    pen.beginPath();
    shown.forEach((p, i) => {
      const px = x(p.at);
      if (i) pen.lineTo(px, y(shown[i - 1][what])); else pen.moveTo(px, y(p[what]));
      pen.lineTo(px, y(p[what]));
    });
    pen.lineTo(x(Math.min(view.to, run.end)), y(shown.at(-1)[what]));
    pen.stroke();
  }
  pen.lineWidth = 1;
}

function drawAway(pen, span, lane, view, x) {
  if (span.to < view.from || span.from > view.to) return;
  const left = Math.max(x(span.from), GUTTER - 10), right = Math.max(x(span.to), left + 2);
  pen.save();
  pen.beginPath(); pen.rect(left, lane.top, right - left, lane.height); pen.clip();
  pen.fillStyle = colours.ground;
  pen.fillRect(left, lane.top, right - left, lane.height);
  pen.strokeStyle = span.how === "down" ? colours.down : colours.warm;
  for (let px = left - lane.height; px < right && px < 1e5; px += 7) {
    pen.beginPath(); pen.moveTo(px, lane.top + lane.height); pen.lineTo(px + lane.height, lane.top); pen.stroke();
  }
  if (right - left > 40) {
    pen.fillStyle = colours.soft;
    label(pen, span.how, left + 6, lane.top + 14, right - left - 8);
  }
  pen.restore();
}

function drawOperations(pen, run, view, layout, x, state) {
  for (const lane of layout.clients.values()) {
    pen.fillStyle = colours.lane;
    pen.fillRect(GUTTER, lane.top, x(run.end) - GUTTER, lane.height);
  }
  for (const op of run.operations) {
    if (op.ended < view.from || op.called > view.to) continue;
    const lane = layout.clients.get(op.client);
    const left = x(op.called), width = Math.max(x(op.ended) - left, 2), top = lane.top + 2, height = lane.height - 4;
    const colour = colours[KINDS[op.kind]];
    pen.globalAlpha = state.findsOp(op) ? 1 : 0.13;
    if (op.outcome === 1) {
      pen.strokeStyle = colour;
      pen.strokeRect(left + 0.5, top + 0.5, Math.max(width - 1, 1), height - 1);
    } else {
      pen.fillStyle = colour;
      pen.fillRect(left, top, width, height);
      if (op.outcome === 2) {
        // Nobody knows when it ends, if ever.
        const fade = pen.createLinearGradient(left + width, 0, left + width + 26, 0);
        fade.addColorStop(0, colour); fade.addColorStop(1, "transparent");
        pen.fillStyle = fade;
        pen.fillRect(left + width, top, 26, height);
      }
    }
    if (width > 60) {
      pen.fillStyle = op.outcome === 1 ? colours.ink : colours.dark ? "#101214" : "#ffffff";
      pen.font = '11px system-ui, "DejaVu Sans", sans-serif';
      label(pen, op.request, Math.max(left, GUTTER) + 4, lane.mid + 0.5, Math.min(width, layout.width - left) - 6);
      pen.font = FONT;
    }
    pen.globalAlpha = 1;
    if (op.blamed || op === state.selected) {
      pen.strokeStyle = op.blamed ? colours.bad : colours.ink;
      pen.lineWidth = 2;
      pen.strokeRect(left - 1.5, top - 1.5, width + 3, height + 3);
      pen.lineWidth = 1;
    }
  }
}

const PACKETS_MAX = 2500;

// Draws those that are in sight, unless they would be a blur; gives which were drawn.
function drawPackets(pen, run, view, layout, x, state) {
  const { packets } = run, shown = [];
  if (!state.messages && !state.lost) return shown;
  const first = lowerBound(packets.sent, view.from - run.longest), end = lowerBound(packets.sent, view.to);
  for (let i = first; i < end; i++) {
    if (packets.ended[i] < view.from || !(packets.lost[i] ? state.lost : state.messages)) continue;
    if (state.label !== "" && packets.label[i] !== state.label) continue;
    shown.push(i);
  }
  const all = shown.length <= PACKETS_MAX;
  const drawn = all ? shown : shown.filter((i) => packets.lost[i]).slice(0, PACKETS_MAX);
  state.blur = !all && state.messages;
  pen.lineWidth = 1;
  for (const i of drawn) {
    const from = laneOfHost(layout, packets.from[i]), to = laneOfHost(layout, packets.to[i]);
    if (!from || !to) continue;
    const lost = packets.lost[i];
    const busy = drawn.length > 1200 ? 0.16 : drawn.length > 300 ? 0.35 : 0.75;
    pen.globalAlpha = state.hovered === i ? 1 : lost ? (state.blur ? 0.2 : Math.max(busy, 0.5)) : busy;
    pen.strokeStyle = lost ? colours.bad : colours.message;
    const x0 = x(packets.sent[i]), x1 = Math.max(x(packets.ended[i]), x0 + 1);
    // A lost one ends on its way.
    const part = lost ? 0.5 : 1;
    const y1 = from.mid + (to.mid - from.mid) * part;
    pen.beginPath(); pen.moveTo(x0, from.mid); pen.lineTo(x1, y1); pen.stroke();
    if (!lost && drawn.length < 500) {
      // Where it arrives.
      pen.fillStyle = colours.message;
      pen.beginPath(); pen.arc(x1, y1, 2, 0, 7); pen.fill();
    }
    if (lost && drawn.length < 1200 && !state.blur) {
      pen.beginPath();
      pen.moveTo(x1 - 3, y1 - 3); pen.lineTo(x1 + 3, y1 + 3);
      pen.moveTo(x1 - 3, y1 + 3); pen.lineTo(x1 + 3, y1 - 3);
      pen.stroke();
    }
  }
  pen.globalAlpha = 1;
  return drawn;
}

function drawViolationGround(pen, run, layout, x) {
  for (const violation of run.violations) {
    if (!violation.times.length) continue;
    pen.fillStyle = colours["bad-ground"];
    const left = x(violation.from);
    pen.fillRect(left - 2, 0, Math.max(x(violation.to) - left, 1) + 4, layout.height);
  }
}

function drawViolations(pen, run, layout, x) {
  pen.strokeStyle = pen.fillStyle = colours.bad;
  pen.font = '600 10.5px system-ui, "DejaVu Sans", sans-serif';
  pen.textAlign = "center";
  const taken = [];
  for (const violation of run.violations) {
    for (const at of violation.times) {
      const px = x(at);
      // Of those that stand in each other's way the first is told, as at the top.
      if (px < GUTTER || taken.some((other) => Math.abs(other - px) < 14)) continue;
      pen.fillText(`${violation.index + 1}`, px, AXIS - 13);
      taken.push(px);
    }
  }
  pen.font = FONT;
  for (const violation of run.violations) {
    for (const at of violation.times) {
      const px = Math.round(x(at)) + 0.5;
      pen.setLineDash([3, 4]);
      pen.beginPath(); pen.moveTo(px, AXIS); pen.lineTo(px, layout.height); pen.stroke();
      pen.setLineDash([]);
      pen.beginPath(); pen.moveTo(px - 4, AXIS - 7); pen.lineTo(px + 4, AXIS - 7); pen.lineTo(px, AXIS); pen.fill();
    }
  }
}

function drawPointer(pen, layout, x, state) {
  if (state.pointer === null) return;
  pen.strokeStyle = colours.soft;
  pen.globalAlpha = 0.5;
  const px = Math.round(x(state.pointer)) + 0.5;
  pen.beginPath(); pen.moveTo(px, 0); pen.lineTo(px, layout.height); pen.stroke();
  pen.globalAlpha = 1;
}

function drawGutter(pen, run, layout, state) {
  pen.fillStyle = colours.ground;
  pen.fillRect(0, 0, GUTTER, layout.height);
  pen.strokeStyle = colours.line;
  pen.beginPath(); pen.moveTo(GUTTER - 0.5, 0); pen.lineTo(GUTTER - 0.5, layout.height); pen.stroke();
  pen.textAlign = "right";
  pen.fillStyle = colours.soft;
  pen.fillText("faults", GUTTER - 9, layout.faultsTop + PAD + FAULT / 2);
  const blamed = new Set(run.violations.flatMap((violation) => violation.members));
  run.members.forEach((member, i) => {
    const lane = layout.members[i];
    pen.fillStyle = blamed.has(i) ? colours.bad : colours.ink;
    pen.font = '600 13px system-ui, "DejaVu Sans", sans-serif';
    pen.fillText(`member ${member.number}`, GUTTER - 9, lane.top + 13);
    pen.font = '10.5px system-ui, "DejaVu Sans", sans-serif';
    pen.fillStyle = colours.soft;
    for (const { name, top } of lane.strips) pen.fillText(name, GUTTER - 9, top + STRIP / 2 - 1);
    const at = state.pointer ?? run.end;
    const place = lowerBound(member.positions, at + 1, (p) => p.at) - 1;
    const position = member.positions[Math.max(place, 0)];
    if (position && place >= 0) {
      const rows = [["last", position.last], ["committed", position.committed], ["applied", position.applied]];
      rows.forEach(([what, index], row) => {
        pen.fillStyle = colours[what];
        pen.fillText(`${what} ${index}`, GUTTER - 9, lane.top + 28 + row * 11.5);
      });
    }
  });
  pen.font = '11px system-ui, "DejaVu Sans", sans-serif';
  const clients = new Set(run.violations.flatMap((violation) => violation.clients));
  for (const [client, lane] of layout.clients) {
    pen.fillStyle = clients.has(client) ? colours.bad : colours.soft;
    pen.fillText(`client ${client}`, GUTTER - 9, lane.mid);
  }
  pen.font = FONT;
}

// The whole run in one strip: who led, what went wrong, and which part is looked at.
function drawOverview(canvas, run, view, width, state) {
  const height = 46, pen = prepare(canvas, width, height);
  const x = (at) => GUTTER + at / run.end * (width - GUTTER);
  pen.fillStyle = colours.soft;
  pen.textAlign = "right";
  pen.fillText("leaders", GUTTER - 9, 11);
  pen.fillText("faults", GUTTER - 9, 25);
  pen.fillText("load", GUTTER - 9, 39);
  for (const member of run.members) {
    for (const role of member.roles) {
      if (role.is !== 2) continue;
      pen.fillStyle = termColour(role.term, 0.9);
      pen.fillRect(x(role.from), 5, Math.max(x(role.to) - x(role.from), 1), 11);
    }
  }
  pen.fillStyle = colours.warm;
  for (const fault of run.faults) pen.fillRect(x(fault.from), 20, Math.max(x(fault.to) - x(fault.from), 1.5), 9);
  const load = new Float64Array(Math.max(Math.ceil((width - GUTTER) / 3), 1));
  for (const op of run.operations) load[Math.min(Math.floor(op.called / run.end * load.length), load.length - 1)]++;
  const most = Math.max(...load, 1);
  pen.fillStyle = colours.read;
  load.forEach((count, i) => pen.fillRect(GUTTER + i * 3, 45 - count / most * 13, 2.4, count / most * 13));
  pen.fillStyle = colours.bad;
  for (const violation of run.violations) for (const at of violation.times) pen.fillRect(x(at) - 1, 0, 2, height);
  pen.fillStyle = colours.ground;
  pen.globalAlpha = 0.68;
  pen.fillRect(GUTTER, 0, x(view.from) - GUTTER, height);
  pen.fillRect(x(view.to), 0, width - x(view.to), height);
  pen.globalAlpha = 1;
  pen.strokeStyle = colours.ink;
  pen.strokeRect(x(view.from) + 0.5, 0.5, Math.max(x(view.to) - x(view.from) - 1, 2), height - 1);
}
