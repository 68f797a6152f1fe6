// The run's data, decoded. Times are microseconds of simulated time.
const raw = JSON.parse(document.getElementById("data").textContent);

const KINDS = ["read", "put", "delete", "txn", "other"];
const OUTCOMES = ["done", "refused", "unknown"];

function decode(raw) {
  const run = { ...raw, end: Math.max(raw.head.end, 1) };

  run.operations = raw.operations.map(([called, took, client, member, kind, outcome, request, answer, blamed], index) => ({
    index, called, ended: called + took, client, member, kind, outcome, request, answer,
    blamed: blamed === 1,
    text: `c${client} m${member + 1} ${request} ${answer} ${OUTCOMES[outcome]}`.toLowerCase(),
  }));
  run.clients = [...new Set(run.operations.map((op) => op.client))].sort((a, b) => a - b);

  const packets = { length: raw.packets.length / 6, sent: [], ended: [], from: [], to: [], label: [], lost: [] };
  for (let i = 0, at = 0; i < raw.packets.length; i += 6) {
    at += raw.packets[i];
    packets.sent.push(at);
    packets.ended.push(at + raw.packets[i + 1]);
    packets.from.push(raw.packets[i + 2]);
    packets.to.push(raw.packets[i + 3]);
    packets.label.push(raw.packets[i + 4]);
    packets.lost.push(raw.packets[i + 5] === 1);
  }
  run.packets = packets;
  run.longest = packets.ended.reduce((most, ended, i) => Math.max(most, ended - packets.sent[i]), 0);

  run.members = [];
  for (let m = 0; m < raw.head.members; m++) run.members.push(member(raw, m, run.end));
  const offs = run.members.flatMap((m) => m.clocks.flatMap((span) => [aheadAt(span, span.from), aheadAt(span, span.to)]));
  run.clockMost = Math.max(1, ...offs.map(Math.abs));
  run.topIndex = Math.max(1, ...run.members.flatMap((m) => m.positions.map((p) => p.last)));
  run.faults = stack(raw.faults.map(([from, to, name, settings]) => ({ from, to: to ?? run.end, name, settings })), run.end);
  run.notes = raw.notes.map(([at, node, of, kind, text]) => ({ at, node, member: of, kind, text }));
  run.violations = raw.violations.map((violation, index) => ({
    ...violation, index,
    from: Math.min(...violation.times), to: Math.max(...violation.times),
  }));
  return run;
}

function member(raw, m, end) {
  const roles = raw.roles.filter((role) => role[1] === m)
    .map(([at, , term, is]) => ({ from: at, to: end, term, is }));
  roles.forEach((role, i) => { if (roles[i + 1]) role.to = roles[i + 1].from; });
  const positions = [];
  const flat = raw.positions[m] ?? [];
  for (let i = 0, at = 0; i < flat.length; i += 4) {
    at += flat[i];
    positions.push({ at, last: flat[i + 1], committed: flat[i + 2], applied: flat[i + 3] });
  }
  // From a death, a stop or a pause to what ends it.
  const away = [];
  const ends = { "member.start": "down", "member.resumed": "paused" };
  const begins = { "member.died": "down", "member.failed": "down", "member.paused": "paused" };
  for (const [at, , of, kind, text] of raw.notes) {
    if (of !== m) continue;
    const open = away.findLast((span) => span.to === end);
    if (open && ends[kind] === open.how) open.to = at;
    if (begins[kind] && !(open && open.how === begins[kind])) away.push({ from: at, to: end, how: begins[kind], text });
  }
  const notes = raw.notes.filter((note) => note[2] === m)
    .map(([at, node, of, kind, text]) => ({ at, node, member: of, kind, text }));
  return { number: m + 1, roles, positions, away, notes, links: linksOf(raw, m, end), clocks: clocksOf(raw, m, end) };
}

// Spans into rows, so that none covers another.
function stack(spans, end) {
  const rows = [], last = [];
  for (const span of spans.sort((a, b) => a.from - b.from)) {
    // A fault of a moment is given some width.
    const to = Math.max(span.to, span.from + end / 150);
    let row = rows.findIndex((free) => free <= span.from);
    if (row < 0) row = rows.length;
    rows[row] = to;
    span.row = row;
    // Up to there its name has room.
    span.next = Infinity;
    if (last[row]) last[row].next = span.from;
    last[row] = span;
  }
  spans.rows = Math.min(Math.max(rows.length, 1), 8);
  return spans;
}

function seconds(at) {
  return (at / 1e6).toFixed(at < 1e9 ? 3 : 1) + " s";
}

// The first place in a sorted list whose value is not less.
function lowerBound(list, value, of = (x) => x) {
  let low = 0, high = list.length;
  while (low < high) {
    const mid = (low + high) >> 1;
    if (of(list[mid]) < value) low = mid + 1; else high = mid;
  }
  return low;
}
