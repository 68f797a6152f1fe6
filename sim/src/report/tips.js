// What is under the pointer, in words.
function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function hit(run, view, layout, state, px, py) {
  const perPixel = (view.to - view.from) / (layout.width - GUTTER);
  const at = view.from + (px - GUTTER) * perPixel;
  const near = 4 * perPixel;
  if (py < AXIS) {
    const violation = run.violations.find((violation) => violation.times.some((time) => Math.abs(time - at) < near * 1.5));
    return violation ? { violation } : {};
  }
  for (const [client, lane] of layout.clients) {
    if (py < lane.top || py > lane.top + lane.height) continue;
    const ops = run.operations.filter((op) => op.client === client && op.called - near <= at && at <= op.ended + near);
    if (ops.length) return { op: ops.at(-1) };
  }
  for (const fault of run.faults) {
    const top = layout.faultsTop + PAD + fault.row * FAULT;
    if (py >= top && py < top + FAULT && fault.from - near <= at && at <= fault.to + near) return { fault };
  }
  for (let m = 0; m < layout.members.length; m++) {
    const lane = layout.members[m];
    const strip = lane.strips.find((strip) => strip.top <= py && py < strip.top + STRIP);
    if (strip) return { strip: strip.name, member: run.members[m], at };
    if (py < lane.top || py > lane.top + lane.height) continue;
    if (py < lane.top + 38 && py > lane.top + 20) {
      const note = run.members[m].notes.find((note) => markOf(note.kind) && Math.abs(note.at - at) < near * 1.6);
      if (note) return { note };
    }
    const packet = packetAt(run, layout, state, view, px, py);
    if (packet !== null) return { packet };
    return { member: run.members[m], at };
  }
  const packet = packetAt(run, layout, state, view, px, py);
  return packet === null ? {} : { packet };
}

// The message whose line passes nearest, if one does.
function packetAt(run, layout, state, view, px, py) {
  const x = scale(view, layout), { packets } = run;
  let best = null, least = 4;
  for (const i of state.packetsShown ?? []) {
    const from = laneOfHost(layout, packets.from[i]), to = laneOfHost(layout, packets.to[i]);
    if (!from || !to) continue;
    const x0 = x(packets.sent[i]), x1 = Math.max(x(packets.ended[i]), x0 + 1), part = packets.lost[i] ? 0.5 : 1;
    const y0 = from.mid, y1 = y0 + (to.mid - y0) * part;
    const long = Math.hypot(x1 - x0, y1 - y0) || 1;
    const along = Math.max(0, Math.min(1, ((px - x0) * (x1 - x0) + (py - y0) * (y1 - y0)) / long ** 2));
    const away = Math.hypot(px - x0 - along * (x1 - x0), py - y0 - along * (y1 - y0));
    if (away < least) { least = away; best = i; }
  }
  return best;
}

function hostName(host) {
  return host < 1000 ? `member ${host}` : `client ${host - 1000}`;
}

// Title and lines of what is under the pointer; null if nothing is.
function tipOf(run, found) {
  if (found.op) {
    const { op } = found;
    return [op.request, [`client ${op.client} at member ${op.member + 1}, ${seconds(op.called)} to ${seconds(op.ended)}`,
      `${OUTCOMES[op.outcome]}: ${op.answer}`]];
  }
  if (found.violation) {
    const { violation } = found;
    return [`${violation.index + 1}. ${violation.check} is violated`, violation.what.split("\n")];
  }
  if (found.strip) return stripTip(found);
  if (found.fault) {
    const { fault } = found;
    return [fault.name, [`${seconds(fault.from)} to ${seconds(fault.to)}`, fault.settings]];
  }
  if (found.note) return [found.note.kind, [seconds(found.note.at), found.note.text]];
  if (found.packet !== undefined) {
    const { packets, labels } = run, i = found.packet;
    const took = ((packets.ended[i] - packets.sent[i]) / 1000).toFixed(2);
    return [`${labels[packets.label[i]]}${packets.lost[i] ? " — lost" : ""}`,
      [`${hostName(packets.from[i])} → ${hostName(packets.to[i])}`, `sent at ${seconds(packets.sent[i])}, ${packets.lost[i] ? "lost" : "there"} after ${took} ms`]];
  }
  if (found.member) {
    const { member, at } = found;
    const role = member.roles.findLast((role) => role.from <= at);
    const away = member.away.find((span) => span.from <= at && at <= span.to);
    const position = member.positions[lowerBound(member.positions, at + 1, (p) => p.at) - 1];
    const lines = [];
    if (away) lines.push(`${away.how} from ${seconds(away.from)} to ${seconds(away.to)}`);
    else if (role) lines.push(`${["seeks a leader in", "follows in", "leads"][role.is]} term ${role.term}`);
    if (position) lines.push(`log ${position.last}, committed ${position.committed}, applied ${position.applied}`);
    return [`member ${member.number} at ${seconds(at)}`, lines];
  }
  return null;
}

function stripTip({ strip, member, at }) {
  if (strip === "links") {
    const spans = member.links.filter((span) => span.from <= at && at <= span.to);
    return spans.length ? [`member ${member.number}: links`,
      spans.map((span) => `${span.text}, ${seconds(span.from)} to ${seconds(span.to)}`)] : null;
  }
  const span = member.clocks.find((span) => span.from <= at && at <= span.to);
  if (!span) return [`member ${member.number}: its clocks are true`, []];
  const gained = span.gained + (at - span.from) * (span.rate - 1);
  const lines = [`the wall clock is ${signed(gained + span.wall)} off`];
  if (gained) lines.push(`the monotonic clock is ${signed(gained)} ahead`);
  if (span.rate !== 1) lines.push(`they run at ${rateText(span.rate)} of true time`);
  return [`member ${member.number}: clocks at ${seconds(at)}`, lines];
}

function showTip(tip, event) {
  const box = document.getElementById("tip");
  box.hidden = !tip;
  if (!tip) return;
  const [title, lines] = tip;
  box.replaceChildren(element("b", title), ...lines.filter(Boolean).flatMap((line) => [element("span", line), element("br")]));
  const width = box.offsetWidth, height = box.offsetHeight;
  const left = event.clientX + 16 + width > innerWidth ? event.clientX - width - 12 : event.clientX + 16;
  const top = event.clientY + 18 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 18;
  box.style.left = Math.max(left, 4) + "px";
  box.style.top = Math.max(top, 4) + "px";
}

function showDetails(op) {
  const box = document.getElementById("details");
  box.hidden = !op;
  if (!op) return;
  const rows = [["client", op.client], ["member", op.member + 1], ["called", seconds(op.called)], ["ended", seconds(op.ended)],
    ["took", ((op.ended - op.called) / 1000).toFixed(3) + " ms"], ["request", op.request], [OUTCOMES[op.outcome], op.answer]];
  const list = element("dl");
  for (const [name, value] of rows) list.append(element("dt", name), element("dd", String(value)));
  box.replaceChildren(element("h3", op.blamed ? "Operation of a violation" : "Operation"), list);
}

// A line for each check that found something; what else it found is folded away below.
function showFindings(run, show) {
  const section = document.getElementById("findings");
  const checks = [...new Set(run.violations.map((violation) => violation.check))];
  for (const check of checks) {
    const [first, ...others] = run.violations.filter((violation) => violation.check === check);
    const box = findingOf(first, show);
    if (others.length) {
      const more = element("details", undefined, "more");
      more.append(element("summary", `${others.length} more of ${check}`), ...others.map((other) => findingOf(other, show)));
      box.append(more);
    }
    section.append(box);
  }
}

function findingOf(violation, show) {
  const [what, ...operations] = violation.what.split("\n");
  const box = element("div", undefined, "finding");
  box.id = `finding-${violation.index}`;
  const title = element("h2");
  title.append(element("i", `${violation.index + 1}`), element("b", violation.check), element("span", what));
  if (violation.times.length) {
    const button = element("button", "show");
    button.addEventListener("click", () => show(violation));
    title.append(button);
  }
  box.append(title);
  if (operations.length) {
    const list = element("ul");
    for (const operation of operations) list.append(element("li", operation.trim()));
    box.append(list);
  }
  if (violation.why.length) {
    const around = element("details", undefined, "around");
    const list = element("ul");
    for (const line of violation.why) list.append(element("li", line));
    around.append(element("summary", "what happened around it"), list);
    box.append(around);
  }
  return box;
}

// Marks the finding that is looked at, and unfolds it.
function markFinding(violation) {
  for (const box of document.querySelectorAll(".finding.current")) box.classList.remove("current");
  const box = document.getElementById(`finding-${violation.index}`);
  box.classList.add("current");
  const folded = box.closest(".more");
  for (const more of document.querySelectorAll(".finding > .more")) more.open = more === folded;
  const around = box.querySelector(":scope > .around");
  if (around) around.open = true;
  box.scrollIntoView({ block: "nearest" });
}
