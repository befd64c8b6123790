"use strict";
// What the host tool sends (boards/web/feed.py) comes as an event stream of changed sections; each
// is drawn from the newest only. All text goes in as text.

const id = name => document.getElementById(name);
const now = {};                       // sections as they came last
const changed = new Set();
let pixels = null;                    // what the camera sees: {rows, columns, channels, data}
let fetching = false, wanted = 0, have = 0;
let heard = 0, frameAt = 0;           // when the stream, and when a decision, came last
let typed = false;                    // the form holds what nobody has sent yet

const percent = p => p === null || p === undefined ? "" :
  (p >= 0.9995 && p < 1 ? "> 99.9" : p > 0 && p < 0.0005 ? "< 0.1" : (100 * p).toFixed(1)) + " %";
const plural = (n, one, many = one + "s") => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const scale = () => now.board ? now.board.scale : null;
const stopName = () => now.board ? now.board.stop : "class 1";

function put(node, text) { if (node.textContent !== text) node.textContent = text; }

function rows(body, lines) {
  body.replaceChildren(...lines.map(cells => {
    const line = document.createElement("tr");
    for (const cell of cells) {
      const one = document.createElement("td");
      const [text, kind, left] = Array.isArray(cell) ? cell : [cell];
      one.textContent = text;
      if (kind) one.dataset.kind = kind;
      if (left) one.className = "text";
      line.append(one);
    }
    return line;
  }));
}

// ---- numbers: probability where the logits' unit is known, else the margin itself ----

const value = row => scale() === null ? row[1] : row[2];
const ofThreshold = steps => scale() === null ? steps : 1 / (1 + Math.exp(-steps * scale()));
const shown = (margin, p) => margin === null ? "" :
  scale() === null ? margin.toLocaleString("en") : percent(p);
const threshold = steps => shown(steps, ofThreshold(steps));

function axis(scan) {
  if (scale() !== null) return {low: 0, high: 1, ticks: [0, .25, .5, .75, 1], say: v => 100 * v + "", middle: .5};
  const all = [1];
  for (const one of [scan, scan && scan.before]) for (const row of one ? one.rows : []) all.push(Math.abs(row[1]));
  const most = Math.max(...all), step = 10 ** Math.floor(Math.log10(most));
  const high = Math.ceil(most / step) * step;
  return {low: -high, high, ticks: [-high, 0, high], say: v => v.toLocaleString("en"), middle: 0};
}

// -1 against, 1 for, as the activation map has it
function level(row) {
  if (scale() !== null) return 2 * row[2] - 1;
  const {high} = axis(now.scan);
  return row[1] / high;
}

function shade(strength, most = 0.82, floor = 0) {
  const rgb = colour(strength > 0 ? "--warm-rgb" : "--cool-rgb");
  return `rgb(${rgb} / ${floor + (most - floor) * Math.abs(strength) ** 0.8})`;
}

// ---- drawings ----

function fit(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const across = Math.round(width * ratio), down = Math.round(height * ratio);
  if (canvas.width !== across || canvas.height !== down) { canvas.width = across; canvas.height = down; }
  canvas.style.height = height + "px";
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  return g;
}

function groups(scan) {
  if (now.board && now.board.groups) return now.board.groups;
  return scan ? Math.max(1, ...scan.rows.map(row => row[0] + 1)) : 1;
}

function size() {
  if (now.board && now.board.size) return now.board.size;
  return pixels ? [pixels.rows, pixels.columns] : [105, 120];
}

function still(grey) {
  const {rows, columns, channels, data} = pixels;
  const image = new ImageData(columns, rows);
  for (let i = 0, j = 0; i < rows * columns; i++, j += 4) {
    let [r, g, b] = channels === 1 ? [data[i], data[i], data[i]] : data.subarray(3 * i, 3 * i + 3);
    if (grey) r = g = b = 77 + 0.62 * (0.299 * r + 0.587 * g + 0.114 * b);
    image.data[j] = r; image.data[j + 1] = g; image.data[j + 2] = b; image.data[j + 3] = 255;
  }
  const canvas = new OffscreenCanvas(columns, rows);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function drawPicture() {
  const canvas = id("picture"), scan = now.scan, [tall, wide] = size();
  const width = canvas.clientWidth, height = Math.round(width * tall / wide);
  const g = fit(canvas, width, height);
  const count = groups(scan), rowsEach = now.board && now.board.rows || 1;
  const band = now.board && now.board.size ? height * rowsEach / tall : height / count;
  const maps = scan ? Object.keys(scan.map).length : 0;
  const overlay = maps > 0 && id("show-map").checked;
  id("map-choice").hidden = !(maps && pixels);
  g.fillStyle = colour("--line");
  g.fillRect(0, 0, width, height);
  if (pixels) { g.imageSmoothingEnabled = true; g.drawImage(still(overlay), 0, 0, width, height); }
  const parts = [];
  if (scan && overlay) {
    for (const one of [scan.before, scan]) {
      if (!one) continue;
      const first = one === scan.before ? Math.max(-1, ...scan.rows.map(row => row[0])) + 1 : 0;
      for (const [group, row] of Object.entries(one.map)) {
        if (group < first) continue;
        const top = Math.round(group * band), down = Math.round((+group + 1) * band) - top;
        row.forEach((strength, j) => {
          const left = Math.round(width * j / row.length), right = Math.round(width * (j + 1) / row.length);
          g.fillStyle = shade(strength);
          g.fillRect(left, top, right - left, down);
        });
      }
    }
    parts.push("the activation map of each row group");
  } else if (scan) {
    // without a picture the bands are all there is; beside one they stay at its edge
    const left = pixels ? width * 0.94 : 0;
    for (const row of scan.rows) {
      g.fillStyle = shade(level(row), 0.95, 0.1);
      const top = Math.round(row[0] * band), end = Math.round((row[0] + 1) * band);
      g.fillRect(left, top, width - left, end - top);
    }
    parts.push(pixels ? "a mark of each row group at the right edge" : "a band for each row group");
  }
  if (scan && !scan.decision && scan.rows.length) {
    g.fillStyle = colour("--strong");
    g.fillRect(0, (1 + scan.rows[scan.rows.length - 1][0]) * band - 1, width, 2);
  }
  if (pixels) parts.unshift("what the camera sees");
  canvas.setAttribute("aria-label", parts.length ? parts.join(", ") : "no picture yet");
  put(id("picture-text"), pictureText(maps));
}

function pictureText(maps) {
  const board = now.board, found = now.picture;
  if (!board || !now.link) return "";
  const bands = "Each band is a row group; its colour says what the network made of it.";
  if (pixels) {
    const size = `${pixels.columns} x ${pixels.rows} pixels, ${pixels.channels === 1 ? "grey" : "colour"}.`;
    const part = found.missing ? ` ${Math.round(100 - 100 * found.missing / (found.rows * found.columns))} % has come.` : "";
    return size + part + (now.link.replay ? "" : " It comes in pieces and is older than the scan.") +
      (maps ? "" : " At the right edge, by colour, what the network made of each row group.");
  }
  if (board.small) return "This board sends decisions, and a picture if it was built with OUTPUTS=preview; none has come yet.";
  if (board.preview) return "No picture has come yet. " + (now.scan ? bands : "");
  if (now.link.replay) return "No picture was recorded. " + (now.scan ? bands : "");
  if (!board.facts.length) return "";
  return "This board sends no picture (make bitstream OUTPUTS=preview builds one that does). " + (now.scan ? bands : "");
}

function drawCurve() {
  const canvas = id("curve"), scan = now.scan, width = canvas.clientWidth;
  const beside = matchMedia("(min-width: 560px)").matches;
  const height = beside ? id("picture").clientHeight || 220 : 230;
  const g = fit(canvas, width, height);
  const count = groups(scan), x = axis(scan), left = 6, right = 30, bottom = 20;
  const across = v => left + (width - left - right) * (v - x.low) / (x.high - x.low);
  const down = t => (height - bottom) * (t + .5) / count;
  g.font = "12px system-ui, 'Liberation Sans', 'DejaVu Sans', sans-serif";
  g.lineWidth = 1;
  g.textAlign = "center"; g.textBaseline = "alphabetic";
  for (const tick of x.ticks) {
    g.strokeStyle = colour(tick === x.middle ? "--faint" : "--line");
    g.beginPath(); g.moveTo(across(tick), 0); g.lineTo(across(tick), height - bottom); g.stroke();
    g.fillStyle = colour("--faint");
    g.textAlign = tick === x.low ? "left" : "center";
    g.fillText(x.say(tick), across(tick), height - 5);
  }
  g.textAlign = "left"; g.textBaseline = "middle";
  const step = Math.max(1, Math.round(count / 7));
  for (let t = 0; t < count; t += step) g.fillText(t, width - right + 10, Math.max(7, down(t)));
  const settings = now.settings || {}, set = settings.taken || settings.asked || {};
  for (const [name, words, shadeName] of [["stop", "stop", "--warm"], ["skip", "skip next", "--cool"]]) {
    if (set[name] === null || set[name] === undefined) continue;
    const at = across(Math.min(x.high, Math.max(x.low, ofThreshold(set[name]))));
    g.strokeStyle = g.fillStyle = colour(shadeName);
    g.setLineDash([5, 3]); g.lineWidth = 1.5;
    g.beginPath(); g.moveTo(at, 0); g.lineTo(at, height - bottom); g.stroke();
    g.setLineDash([]);
    g.save(); g.translate(at + (at > width / 2 ? -8 : 9), height - bottom - 6); g.rotate(-Math.PI / 2);
    g.fillText(words, 0, 0); g.restore();
  }
  for (const one of [scan && scan.before, scan]) {
    if (!one || !one.rows.length) continue;
    const last = one === scan, end = one.rows[one.rows.length - 1];
    g.globalAlpha = last ? 1 : 0.35;
    g.strokeStyle = g.fillStyle = colour("--ink"); g.lineWidth = last ? 2 : 1.5; g.lineJoin = "round";
    g.beginPath();
    one.rows.forEach((row, i) => g[i ? "lineTo" : "moveTo"](across(value(row)), down(row[0])));
    g.stroke();
    for (const row of one.rows) { g.beginPath(); g.arc(across(value(row)), down(row[0]), 2, 0, 7); g.fill(); }
    if (last) {
      g.fillStyle = colour(value(end) >= x.middle ? "--warm" : "--cool");
      g.beginPath(); g.arc(across(value(end)), down(end[0]), 5, 0, 7); g.fill();
    }
    g.globalAlpha = 1;
  }
  const what = scale() === null ? "margin (units of the logits)" : "probability, %";
  put(id("curve-text"), scan ? `${stopName()}: ${what}, by row group` :
    now.board && now.board.small ? "This board tells no row groups, only decisions." : "");
  // words for those who do not see it change with decisions, not with rows
  if (!scan) canvas.setAttribute("aria-label", "no scan yet");
  else if (scan.decision && scan.rows.length) {
    const ends = scan.rows[scan.rows.length - 1];
    canvas.setAttribute("aria-label", `${stopName()} after each of ${plural(scan.rows.length, "row group")}: ` +
      `first ${shown(scan.rows[0][1], scan.rows[0][2])}, last ${shown(ends[1], ends[2])}`);
  }
}

function drawKey() {
  const g = id("key").getContext("2d");
  g.clearRect(0, 0, 128, 10);
  for (let i = 0; i < 128; i++) { g.fillStyle = shade(i / 63.5 - 1, 0.82, 0.1); g.fillRect(i, 0, 1, 10); }
  put(id("against"), `against ${stopName()}`);
  put(id("for"), `for ${stopName()}`);
}

// ---- words ----

const kind = frame => frame.status !== "OK" ? "" : frame.index === (now.board ? now.board.stop_index : 1) ? "stop" : "other";
const said = frame => frame.status === "OK" ? frame.class : `frame lost: ${frame.status}`;

function tellFrames() {
  const frames = now.frames;
  const total = `${plural(frames.seen, "frame")}, ${frames.sought.toLocaleString("en")} of them ${stopName()}` +
    (frames.lost ? `, ${frames.lost.toLocaleString("en")} lost` : "");
  put(id("frames-text"), frames.seen ? `${total}; ${frames.rate.toFixed(1)} a second` : "none yet");
  rows(id("frames-rows"), frames.last.slice(0, 12).map(frame => [
    frame.number.toLocaleString("en"), [said(frame), kind(frame), true],
    shown(frame.margin, frame.probability), frame.rows === null || frame.status !== "OK" ? "" : frame.rows]));
  const last = frames.last[0];
  if (!last) return;
  put(id("said"), said(last));
  id("said").dataset.kind = kind(last);
  const more = [];
  if (last.margin !== null) more.push(scale() === null ? `margin ${last.margin.toLocaleString("en")}` : `${stopName()} ${percent(last.probability)}`);
  if (last.rows !== null && last.status === "OK") more.push(`${last.rows} of ${groups(now.scan)} row groups`);
  more.push(`frame ${last.number.toLocaleString("en")}`);
  put(id("detail"), more.join(" · "));
}

function tellBoard() {
  const board = now.board;
  const network = board.facts.find(fact => fact[0] === "Network");
  put(id("network"), network ? network[1] : "");
  const wrong = [...board.wrong, ...(board.warning ? [board.warning] : [])];
  id("wrong").hidden = !wrong.length;
  id("wrong").replaceChildren(...wrong.map(text => Object.assign(document.createElement("li"), {textContent: text})));
  const facts = board.facts.length ? board.facts : [["", board.small ? "This board does not say what it is." : "It has not said yet what it is."]];
  id("facts").replaceChildren(...facts.flatMap(([name, text]) => [
    Object.assign(document.createElement("dt"), {textContent: name}),
    Object.assign(document.createElement("dd"), {textContent: text})]));
  for (const name of document.querySelectorAll(".stop-name")) put(name, stopName());
  for (const unit of document.querySelectorAll(".unit")) put(unit, scale() === null ? "units of the logits" : "%");
  put(id("numbers-head"), scale() === null ? "" : "probability");
  id("colour-field").hidden = !board.preview || (now.link && now.link.replay);
  drawKey();
}

function tellSettings() {
  const {settable, asked, taken, usual} = now.settings;
  id("fields").disabled = !settable;
  id("usual").hidden = !settable || !usual || scale() === null;
  const set = taken || asked;
  if (!typed) {
    for (const name of ["stop", "skip"]) {
      id(name + "-on").checked = set[name] !== null;
      if (set[name] !== null) id(name).value = scale() === null ? set[name] : +(100 * ofThreshold(set[name])).toFixed(4);
      else if (usual && usual[name] !== null && scale() !== null) id(name).value = +(100 * usual[name]).toFixed(4);
    }
  }
  const tell = one => `stop ${one.stop === null ? "off" : "at " + threshold(one.stop)}, skip ${one.skip === null ? "off" : "at " + threshold(one.skip)}`;
  let text = "";
  if (now.board && now.board.small) text = "A small board has no early termination, and takes no settings.";
  else if (now.link && now.link.replay) text = `A replay: nothing can be set. It was run with ${tell(set)}.`;
  else if (taken) {
    text = `The board has: ${tell(taken)}.`;
    if (taken.stop !== asked.stop || taken.skip !== asked.skip) text += ` It was sent: ${tell(asked)}.`;
  } else text = `Sent: ${tell(asked)}. The board has not said what it took.`;
  if (!typed) put(id("taken"), text);
}

function tellCounters() {
  const {board, here, told} = now.counters, all = [...board, ...here];
  rows(id("counters-rows"), all.map(([name, text, count]) => [[name, "", true], count.toLocaleString("en"), [text, "", true]]));
  const hit = all.filter(one => one[2]);
  put(id("counters-text"), !told ? "none yet: the board has told no counters" :
    hit.length ? hit.map(([name, text, count]) => `${name}: ${count.toLocaleString("en")} (${text})`).join("; ") : "None.");
}

function tellLink() {
  const link = now.link, at = performance.now();
  if (!link) return;
  let state = link.state, text = link.text;
  if (!heard || at - heard > 9000) {
    state = "lost";
    text = "The host tool does not answer: has it ended? What is shown is old.";
  } else if (state === "up" && frameAt && at - frameAt > 4000) {
    text += ` No frame for ${Math.round((at - frameAt) / 1000)} s.`;
  } else if (state === "up" && !frameAt) text += " No frame yet.";
  id("link").dataset.state = state;
  put(id("link"), text);
}

function tellNumbers() {
  if (!id("numbers").open) return;
  const scan = now.scan;
  rows(id("numbers-rows"), scan ? scan.rows.map(row => [row[0], row[2] === null ? "" : percent(row[2]), row[1].toLocaleString("en")]) : []);
}

// ---- as it comes ----

let drawing = false;
function draw() {
  drawing = false;
  const has = (...names) => names.some(name => changed.has(name)), every = has("board", "all");
  if (has("board", "all") && now.board) tellBoard();
  if (has("settings", "link") || every) if (now.settings) tellSettings();
  if (has("frames") || every) if (now.frames) tellFrames();
  if (has("counters") || every) if (now.counters) tellCounters();
  if (has("scan", "picture", "pixels", "link") || every) drawPicture();
  if (has("scan", "settings", "pixels") || every) drawCurve();
  if (has("scan") || every) tellNumbers();
  changed.clear();
  tellLink();
}

function redraw(...names) {
  for (const name of names) changed.add(name);
  if (!drawing) { drawing = true; requestAnimationFrame(draw); }
}

async function look() {
  if (fetching) return;
  fetching = true;
  try {
    while (have !== wanted) {
      const version = wanted, answer = await fetch("picture", {cache: "no-store"});
      if (!answer.ok) break;
      const [rows, columns, channels] = answer.headers.get("X-Size").split(",").map(Number);
      pixels = rows ? {rows, columns, channels, data: new Uint8Array(await answer.arrayBuffer())} : null;
      have = version;
      redraw("pixels");
    }
  } catch { /* the stream tells that the host tool is gone */ }
  fetching = false;
}

const stream = new EventSource("stream");
stream.onmessage = message => {
  heard = performance.now();
  const news = JSON.parse(message.data);
  Object.assign(now, news);
  if (news.frames && news.frames.seen) frameAt = heard;
  if (news.picture && news.picture.rows) { wanted = news.picture.version; look(); }
  redraw(...Object.keys(news));
};
stream.onerror = () => { heard = 0; redraw("link"); };

// ---- thresholds ----

function read(name) {
  if (!id(name + "-on").checked) return null;
  const text = id(name).value.trim(), number = Number(text);
  if (text === "" || !Number.isFinite(number)) throw new Error(`expected a number for ${name}`);
  return scale() === null ? number : number / 100;
}

async function send() {
  let body;
  try {
    body = {stop: read("stop"), skip: read("skip"), colour: id("colour").checked};
  } catch (error) { put(id("taken"), error.message); return; }
  put(id("taken"), "Sending.");
  id("fields").disabled = true;
  let text = "";
  try {
    const answer = await fetch("settings", {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)});
    const found = await answer.json();
    if (!answer.ok) text = found.error;
  } catch { text = "The host tool does not answer."; }
  id("fields").disabled = !(now.settings && now.settings.settable);
  if (text) put(id("taken"), text);
  else { typed = false; redraw("settings"); }
}

id("form").addEventListener("submit", event => { event.preventDefault(); send(); });
id("form").addEventListener("input", event => {
  typed = true;
  if (event.target.type === "number") id(event.target.id + "-on").checked = event.target.value !== "";
});
id("usual").addEventListener("click", () => {
  const {usual} = now.settings;
  for (const name of ["stop", "skip"]) {
    id(name + "-on").checked = usual[name] !== null;
    if (usual[name] !== null) id(name).value = +(100 * usual[name]).toFixed(4);
  }
  send();
});
id("show-map").addEventListener("change", () => redraw("scan"));
id("numbers").addEventListener("toggle", tellNumbers);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw("all"));
new ResizeObserver(() => redraw("all")).observe(id("scan"));
setInterval(tellLink, 1000);
