// The strips below a member's lane: what its links suffered, and how far its clock was off.
const STRIP = 12;

function stripsOf(run) {
  return [["links", run.members.some((member) => member.links.length)],
    ["clock", run.members.some((member) => member.clocks.length)]].filter(([, has]) => has).map(([name]) => name);
}

// A fault of links as one member suffers it: whom it does not reach, and who does not reach it.
function linksOf(raw, member, end) {
  const host = String(member + 1), spans = [];
  for (const [from, to, effect, paths] of raw.links) {
    const pairs = paths.split(" ").filter(Boolean).map((path) => path.split(">"));
    const reaches = pairs.filter(([a]) => a === host).map(([, b]) => b);
    const hears = pairs.filter(([, b]) => b === host).map(([a]) => a);
    if (reaches.length || hears.length) spans.push({ from, to: to ?? end, effect, text: linkText(effect, reaches, hears) });
  }
  return spans.sort((a, b) => a.from - b.from);
}

function linkText(effect, reaches, hears) {
  const both = reaches.join() === hears.join();
  if (effect === "cut") {
    if (both) return `cut off from ${reaches.join(" ")}`;
    return [hears.length && `deaf to ${hears.join(" ")}`, reaches.length && `not heard by ${reaches.join(" ")}`].filter(Boolean).join(", ");
  }
  if (both) return `${effect} with ${reaches.join(" ")}`;
  return [reaches.length && `${effect} to ${reaches.join(" ")}`, hears.length && `${effect} from ${hears.join(" ")}`].filter(Boolean).join(", ");
}

// From each change of a clock to the next: at what rate it runs, and how far it is off in the end.
function clocksOf(raw, member, end) {
  const changes = raw.clocks.filter((change) => change[1] === member);
  return changes.map(([from, , ppm, gained, wall], i) => ({
    from, to: changes[i + 1]?.[0] ?? end, rate: ppm / 1e6, gained, wall: wall * 1000,
  })).filter((span) => span.to > span.from && (span.rate !== 1 || span.gained || span.wall));
}

// Microseconds by which a member's wall clock is ahead at some time.
function aheadAt(span, at) {
  return span.gained + (at - span.from) * (span.rate - 1) + span.wall;
}

function signed(micros) {
  const ms = micros / 1000, size = Math.abs(ms);
  const text = size < 1000 ? `${size.toFixed(size < 10 ? 1 : 0)} ms` : `${(size / 1000).toFixed(size < 1e5 ? 1 : 0)} s`;
  return (ms < 0 ? "−" : "+") + text;
}

function rateText(rate) {
  return rate === 1 ? "" : `×${Number(rate.toPrecision(4))}`;
}

function drawStrips(pen, run, view, layout, x, state) {
  run.members.forEach((member, m) => layout.members[m].strips.forEach(({ name, top }) => {
    pen.fillStyle = colours.lane;
    pen.fillRect(GUTTER, top, x(run.end) - GUTTER, STRIP - 2);
    if (name === "links") drawLinks(pen, member, top, view, x, state); else drawClock(pen, run, member, top, view, x);
  }));
}

function drawLinks(pen, member, top, view, x, state) {
  for (const [i, span] of member.links.entries()) {
    if (span.to < view.from || span.from > view.to) continue;
    const left = x(span.from), width = Math.max(x(span.to) - left, 2);
    const room = Math.min(width, x(member.links[i + 1]?.from ?? Infinity) - left);
    pen.globalAlpha = (state.finds(span.text) ? 1 : 0.2) * (span.effect === "cut" ? 0.85 : 0.4);
    pen.fillStyle = colours.cut;
    pen.fillRect(left, top, width, STRIP - 2);
    pen.globalAlpha = 1;
    pen.fillStyle = span.effect === "cut" ? colours.panel : colours.ink;
    pen.font = '10px system-ui, "DejaVu Sans", sans-serif';
    label(pen, span.text, Math.max(left, GUTTER) + 4, top + STRIP / 2 - 0.5, room - 6 - Math.max(GUTTER - left, 0));
    pen.font = FONT;
  }
}

function drawClock(pen, run, member, top, view, x) {
  const mid = top + STRIP / 2 - 1, reach = STRIP / 2 - 1.5;
  // Milliseconds and days have room in one strip.
  const y = (micros) => mid - Math.sign(micros) * Math.log1p(Math.abs(micros) / 1000) / Math.log1p(run.clockMost / 1000) * reach;
  pen.font = '10px system-ui, "DejaVu Sans", sans-serif';
  pen.textAlign = "left";
  for (const span of member.clocks) {
    if (span.to < view.from || span.from > view.to) continue;
    const left = x(span.from), right = x(span.to);
    pen.fillStyle = colours.clock;
    pen.globalAlpha = span.rate === 1 ? 0.35 : 0.6;
    pen.beginPath();
    pen.moveTo(left, mid);
    for (let i = 0; i <= 8; i++) {
      const at = span.from + (span.to - span.from) * i / 8;
      pen.lineTo(x(at), y(aheadAt(span, at)));
    }
    pen.lineTo(right, mid);
    pen.fill();
    pen.globalAlpha = 1;
    pen.fillStyle = colours.ink;
    const seen = Math.max(left, GUTTER), text = `${signed(aheadAt(span, Math.max(span.from, view.from)))} ${rateText(span.rate)}`;
    if (pen.measureText(text).width < right - seen - 6) pen.fillText(text, seen + 4, mid + 0.5);
  }
  pen.font = FONT;
}
