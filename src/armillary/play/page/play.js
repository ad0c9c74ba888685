// Play: keys become messages, frames are drawn, and the plan and the goal over them. Points: cloud.js.
"use strict";

const byId = (id) => document.getElementById(id);
const SPEEDS_HZ = [1, 2, 5, 10, 15, 20, 30];
const PAIRS = [["ArrowLeft", "ArrowRight"], ["ArrowDown", "ArrowUp"], ["KeyQ", "KeyE"], ["KeyS", "KeyW"], ["KeyA", "KeyD"], ["KeyZ", "KeyX"], ["KeyG", "KeyT"], ["KeyH", "KeyY"]];
const NAMES = { ArrowLeft: "\u2190", ArrowRight: "\u2192", ArrowDown: "\u2193", ArrowUp: "\u2191" };
const KEPT = 200; // steps of the curves
const DEAD = 0.15; // of a gamepad's stick
const FAR = 6; // times the usual distance between remembered pictures
const SIDES = ["imagined", "real"];
const HATCH = ["#fff", "#c2185b"]; // of pixels without depth: no colour of the legend
const RETRY_MS = 3000;

// For measuring: the page itself does not read it.
const stats = { drawnAt: [], keyMs: [], stepMs: [], frames: 0 };
window.playStats = stats;

let socket = null, scene = null, frame = null, key = "";
let keyNumber = 0, axes = [], sentAt = new Map(), tabHid = false;
let paused = false, mode = "imagined", hz = 20, goal = null, following = false, dragging = false;
const held = new Set(), pushed = new Map();
let trace = [];
const pictures = { imagined: null, real: null }, clouds = { imagined: null, real: null };
let sensor = "colour", view = null, firstEye = ""; // what was asked for, and from where points are seen

function send(message) {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

// ---- the connection

function connect() {
  curtain("Connecting.");
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const opened = new WebSocket(`${scheme}//${location.host}/session`);
  opened.binaryType = "arraybuffer";
  socket = opened;
  let why = "";
  opened.onopen = () => opened.send(JSON.stringify({ type: "hello", key }));
  opened.onmessage = (event) => {
    if (typeof event.data !== "string") { show(event.data); return; }
    const facts = JSON.parse(event.data);
    if (facts.type === "begun") begin(facts);
    else if (facts.type === "wait") curtain(facts.sentence, facts.total ? facts.done / facts.total : null);
    else if (facts.type === "refused") { why = facts.sentence; note(facts.sentence); }
    else { why = facts.type; curtain(facts.sentence); }
  };
  opened.onclose = () => {
    if (socket !== opened) return;
    if (why === "key") { askForKey(); return; }
    if (why === "full") { setTimeout(connect, RETRY_MS); return; }
    curtain(why || "The server has gone.");
    byId("connect").hidden = false;
  };
}

function curtain(sentence, share = null) {
  byId("curtain").hidden = false;
  byId("curtain").classList.toggle("over", scene !== null);
  byId("curtain-says").textContent = sentence;
  byId("curtain-bar").hidden = share === null;
  if (share !== null) byId("curtain-bar").value = share;
  byId("key-form").hidden = byId("connect").hidden = true;
}

function askForKey() {
  curtain(key ? "That is not the key of this server." : "This server asks for a key.");
  byId("key-form").hidden = false;
  byId("key").focus();
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = byId("key").value;
  connect();
});
byId("connect").addEventListener("click", connect);

// ---- a scene begins

function begin(facts) {
  const first = scene === null || scene.name !== facts.name;
  scene = facts;
  byId("curtain").hidden = true;
  byId("stage").hidden = false;
  byId("title").textContent = `${facts.model} ${facts.kind === "world" ? "in" : "in the recording"} ${facts.beside}`;
  byId("real-name").textContent = facts.kind === "world" ? "Real" : "Recorded";
  byId("seed").textContent = `seed ${facts.seed}`;
  byId("scene-row").querySelector("#next").hidden = byId("seed").hidden = facts.kind !== "world";
  byId("recording-row").hidden = facts.kind === "world";
  hz = facts.hz; mode = facts.mode; goal = null; following = false; trace = [];
  sensor = scene.sensors.includes(facts.sensor) ? facts.sensor : "colour";
  byId("sensors").hidden = scene.sensors.length < 2;
  for (const name of ["colour", "depth", "points"]) byId(`show-${name}`).hidden = !scene.sensors.includes(name);
  if (first) buildAxes();
  buildGoal();
  byId("drawn-from").textContent = "";
  const bold = document.createElement("b");
  bold.textContent = "The model makes no pictures. ";
  byId("drawn-from").append(bold, `Its state is drawn with a read-out fitted on ${facts.drawn_from}. It blends those with the nearest states, ${facts.size} pixels wide, as the model sees. A faint or doubled thing lies between remembered pictures; far from all of them the drawing may be wrong.${facts.places.length ? " The white cross is a linear read-out of a place, made apart from the drawing." : ""}`);
  choose();
}

function buildAxes() {
  const box = byId("axes");
  box.textContent = "";
  axes = scene.low.map(() => 0);
  held.clear(); pushed.clear();
  const choices = scene.discrete ? document.createElement("div") : null;
  if (choices) { choices.className = "choices"; box.append(choices); }
  scene.low.forEach((_, index) => {
    if (choices) {
      choices.append(holdButton(index < 9 ? `${index + 1}` : `choice ${index + 1}`, index, 1));
      return;
    }
    const row = document.createElement("div"), bar = document.createElement("div");
    const pair = PAIRS[index] || ["", ""], canvas = document.createElement("canvas");
    row.className = "axis"; bar.className = "gauge"; bar.append(canvas);
    canvas.dataset.axis = index;
    row.append(`action ${index + 1}`, holdButton(keyName(pair[0]) || "\u2212", index, -1), bar, holdButton(keyName(pair[1]) || "+", index, 1));
    box.append(row);
  });
  byId("rest-says").textContent = !scene.low.length
    ? "This model learned without actions. It goes on by itself."
    : scene.discrete ? "One choice at a time: hold a number key. Without one the first is taken."
    : "Hold keys, these buttons, or a gamepad's sticks.";
}

function keyName(code) {
  return NAMES[code] || code.replace("Key", "");
}

function holdButton(text, index, sign) {
  const button = document.createElement("button");
  button.type = "button"; button.textContent = text;
  button.dataset.axis = index; button.dataset.sign = sign;
  button.setAttribute("aria-label", `action ${index + 1} ${sign > 0 ? "up" : "down"}`);
  const hold = (on) => { on ? pushed.set(button, [index, sign]) : pushed.delete(button); steer(); };
  button.addEventListener("pointerdown", (event) => { button.setPointerCapture(event.pointerId); hold(true); });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(name, () => hold(false));
  return button;
}

function buildGoal() {
  const places = scene.places, alone = scene.read_alone;
  byId("goal-on").hidden = !places.length;
  byId("goal-off").hidden = places.length > 0;
  byId("goal-off").textContent = alone.length
    ? `${alone.join(", ")} can be read from the model's state, but nothing tells where it lies on the picture. So there is no goal to drag.`
    : "Nothing tells a place here: no recorded place can be read from the model's state. So there is no goal to drag.";
  byId("place").replaceChildren(...places.map((place) => new Option(place.name, place.name)));
  byId("place-row").hidden = places.length < 2;
}

// ---- frames

async function show(data) {
  const length = new DataView(data).getUint32(0, true);
  const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const start = 4 + length, middle = start + facts.imagined;
  const bytes = { imagined: data.slice(start, middle), real: data.slice(middle, middle + facts.real) };
  const [imagined, real] = await Promise.all(SIDES.map((side) => facts.clouds || !bytes[side].byteLength
    ? null : createImageBitmap(new Blob([bytes[side]], { type: "image/webp" }))));
  send({ type: "shown", frame: facts.frame });
  if (frame && facts.frame < frame.frame && facts.frame > 1) return; // decoded out of order
  if (facts.clouds) takeClouds(facts, bytes);
  else { pictures.imagined = imagined; pictures.real = real || pictures.real; }
  const stepped = !frame || facts.step !== frame.step;
  frame = facts;
  paused = facts.paused;
  if (stepped) trace.push({ gap: facts.gap, surprise: facts.surprise });
  if (trace.length > KEPT) trace.shift();
  drawAll();
  count(facts);
}

// Points come as x, y, z of each (int16), then their colours.
function takeClouds(facts, bytes) {
  for (const side of SIDES) {
    const { count, scale, sensor: at } = facts.clouds[side];
    clouds[side] = {
      xyz: new Int16Array(bytes[side], 0, 3 * count), rgb: new Uint8Array(bytes[side], 6 * count, 3 * count),
      scale, at, reach: facts.reach, dot: facts.dot,
    };
  }
  if (firstEye !== String(facts.eye)) { firstEye = String(facts.eye); view = cloudView(facts.eye); }
}

function count(facts) {
  const now = performance.now();
  stats.frames += 1;
  stats.drawnAt.push(now); stats.stepMs.push(facts.ms);
  if (stats.drawnAt.length > 4000) { stats.drawnAt.shift(); stats.stepMs.shift(); }
  for (const [number, at] of sentAt) {
    if (number > facts.key) continue;
    if (number === facts.key) stats.keyMs.push(now - at);
    sentAt.delete(number);
  }
  if (stats.keyMs.length > 1000) stats.keyMs.shift();
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : null;
}

setInterval(() => {
  const now = performance.now(), recent = stats.drawnAt.filter((at) => now - at < 2000);
  const ms = median(stats.stepMs.slice(-40)), lag = median(stats.keyMs.slice(-20));
  const parts = paused ? ["paused"] : [`${(recent.length / 2).toFixed(1)} frames/s`];
  if (ms !== null) parts.push(`${ms.toFixed(0)} ms a step`);
  if (lag !== null) parts.push(`key to frame ${lag.toFixed(0)} ms`);
  byId("rates").textContent = scene ? parts.join(" \u00b7 ") : "";
}, 500);

// ---- drawing

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function fitted(canvas) {
  const scale = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
  const width = Math.max(1, Math.round(box.width * scale)), height = Math.max(1, Math.round(box.height * scale));
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  return [canvas.getContext("2d"), width, height, scale];
}

function drawAll() {
  if (!scene || !frame) return;
  for (const side of SIDES) {
    if (byId(side).classList.toggle("cloud", frame.sensor === "points")) byId(side).tabIndex = -1; // a click gives it the wheel
    else byId(side).removeAttribute("tabindex");
    byId(side).classList.toggle("aim", canAim());
    byId(side).parentElement.classList.toggle("stale", isGone(side));
    if (frame.sensor === "points") drawPoints(side);
    else drawView(side, side === "real" ? frame.truth : frame.here);
  }
  drawLegend();
  drawTrace();
  drawAxes();
  say();
}

// Places lie on pictures of the colour camera alone.
function canAim() {
  return scene.places.length > 0 && frame.sensor !== "points" && (frame.sensor === "colour" || scene.aligned);
}

function isGone(id) {
  return id === "real" && (frame.departed !== null || Boolean(frame.over && scene.kind === "world"));
}

function drawView(id, places) {
  const canvas = byId(id), picture = pictures[id], [context, width, height, scale] = fitted(canvas);
  context.clearRect(0, 0, width, height);
  const measured = frame.sensor === "depth"; // its colours stand for numbers, and are not mixed
  context.imageSmoothingEnabled = !measured; context.imageSmoothingQuality = "high";
  if (measured) hatch(context, width, height, scale);
  if (picture) context.drawImage(picture, 0, 0, width, height);
  if (isGone(id) || !canAim()) return;
  const plan = frame.plan, at = ([u, v]) => [u * width, v * height];
  if (plan && (id === "imagined" || frame.mode === "real")) { // it begins where the model believes to be
    for (const way of plan.others) line(context, way.map(at), "rgba(255,255,255,.85)", 1.1 * scale, "rgba(0,0,0,.4)");
    line(context, plan.best.map(at), "#ffce4a", 2.4 * scale, "rgba(0,0,0,.6)");
  }
  const shown = plan ? plan.place : byId("place").value;
  if (places && places[shown]) cross(context, at(places[shown]), scale);
  if (goal) ring(context, at(goal.at), scale);
}

function hatch(context, width, height, scale) {
  context.fillStyle = HATCH[0]; context.fillRect(0, 0, width, height);
  context.strokeStyle = HATCH[1]; context.lineWidth = 2 * scale;
  context.beginPath();
  for (let x = -height; x < width; x += 6 * scale) { context.moveTo(x, height); context.lineTo(x + height, 0); }
  context.stroke();
}

const painters = { imagined: cloudPainter(byId("imagined")), real: cloudPainter(byId("real")) };

function drawPoints(id) {
  const canvas = byId(id), cloud = clouds[id], [context, width, height, scale] = fitted(canvas);
  if (!cloud) { context.clearRect(0, 0, width, height); return; }
  painters[id](cloud, view);
  canvas.dataset.yaw = view.yaw.toFixed(3); canvas.dataset.zoom = view.zoom.toFixed(3);
  const { project, nearest } = cloudProjection(width, height, cloud.reach, view);
  const [start, end] = cloud.at.map(([x, y, z]) => project(x, y, z));
  if (!start || start[2] < nearest || end[2] < nearest) return;
  line(context, [start, end], "#fff", 2 * scale, "rgba(0,0,0,.7)");
  context.beginPath(); context.arc(start[0], start[1], 4 * scale, 0, 2 * Math.PI);
  context.fillStyle = "#fff"; context.fill();
}

function turn(yaw, pitch, zoom) {
  if (!view) return;
  turnView(view, yaw, pitch, zoom);
  for (const side of SIDES) drawPoints(side); // both are seen from the same place
}

function goBack() {
  view = cloudView(firstEye.split(",").map(Number));
  for (const side of SIDES) drawPoints(side);
}

const SCALES = { depth: "Depth", distance: "Distance", height: "Height" };

function drawLegend() {
  const says = frame.sensor !== "colour" && SCALES[frame.colours], high = frame.colours === "height";
  byId("scale").hidden = !says;
  byId("invalid").hidden = frame.sensor !== "depth";
  byId("turns").hidden = frame.sensor !== "points";
  byId("measured-from").hidden = frame.sensor === "colour";
  if (!says) return;
  const [near, far] = frame.range_m.map((value) => `${number(value)}\u00a0m`), ramp = scene.ramps[frame.sensor];
  byId("scale-says").textContent = says;
  byId("near").textContent = `${high ? "\u2265" : "\u2264"}\u00a0${near}`; // the colours end there
  byId("far").textContent = `${high ? "\u2264" : "\u2265"}\u00a0${far}`;
  const [context, width, height] = fitted(byId("ramp")), fade = context.createLinearGradient(0, 0, width, 0);
  ramp.forEach((rgb, index) => fade.addColorStop(index / (ramp.length - 1), `rgb(${rgb.join()})`));
  context.fillStyle = fade; context.fillRect(0, 0, width, height);
}

function line(context, points, ink, width, edge) {
  context.lineJoin = context.lineCap = "round";
  for (const [stroke, wide] of [[edge, width + width * .9], [ink, width]]) {
    context.beginPath();
    points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.strokeStyle = stroke; context.lineWidth = wide; context.stroke();
  }
}

function cross(context, [x, y], scale) {
  const reach = 5 * scale;
  line(context, [[x - reach, y], [x + reach, y]], "#fff", 1.4 * scale, "rgba(0,0,0,.7)");
  line(context, [[x, y - reach], [x, y + reach]], "#fff", 1.4 * scale, "rgba(0,0,0,.7)");
}

function ring(context, [x, y], scale) {
  for (const [ink, wide] of [["rgba(0,0,0,.65)", 5], ["#35c46f", 2.6]]) {
    context.beginPath(); context.arc(x, y, 9 * scale, 0, 2 * Math.PI);
    context.strokeStyle = ink; context.lineWidth = wide * scale; context.stroke();
  }
}

function drawTrace() {
  const [context, width, height, scale] = fitted(byId("trace"));
  context.clearRect(0, 0, width, height);
  const left = 44 * scale, top = 8 * scale, bottom = height - 8 * scale;
  const level = (value) => bottom - (Math.log10(Math.min(Math.max(value, .1), 1000)) + 1) / 4 * (bottom - top);
  context.font = `${11 * scale}px ${getComputedStyle(document.body).fontFamily}`;
  context.textAlign = "right"; context.textBaseline = "middle"; context.fillStyle = colour("soft");
  for (const value of [.1, 1, 10, 100, 1000]) {
    context.fillText(value.toLocaleString("en"), left - 7 * scale, level(value));
    context.beginPath(); context.moveTo(left, level(value)); context.lineTo(width, level(value));
    context.strokeStyle = colour(value === 1 ? "faint" : "grid"); context.lineWidth = scale; context.stroke();
  }
  curve(context, "gap", colour("blue"), []);
  curve(context, "surprise", colour("brass"), [6 * scale, 3 * scale]);

  function curve(context, name, ink, dashes) {
    context.beginPath();
    let open = false;
    trace.forEach((point, index) => {
      if (point[name] === null) { open = false; return; }
      const x = left + (width - left) * (index + KEPT - trace.length) / (KEPT - 1), y = level(point[name]);
      if (open) context.lineTo(x, y); else context.moveTo(x, y);
      open = true;
    });
    context.setLineDash(dashes); context.strokeStyle = ink; context.lineWidth = 2 * scale; context.stroke();
    context.setLineDash([]);
  }
}

function drawAxes() {
  for (const canvas of document.querySelectorAll(".gauge canvas")) {
    const [context, width, height] = fitted(canvas), index = Number(canvas.dataset.axis);
    const low = scene.low[index], high = scene.high[index], rest = Math.min(Math.max(0, low), high);
    const value = frame.action.length ? frame.action[index] : rest, place = (x) => (x - low) / (high - low || 1) * width;
    context.clearRect(0, 0, width, height);
    context.fillStyle = colour("blue");
    context.fillRect(Math.min(place(rest), place(value)), 0, Math.abs(place(value) - place(rest)), height);
    context.fillStyle = colour("faint");
    context.fillRect(place(rest) - 1, 0, 2, height);
  }
}

function number(value) {
  if (value === null || value === undefined) return "-";
  return value >= 1e6 ? value.toExponential(1) : value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value >= .1 ? value.toFixed(2) : value.toFixed(3);
}

function note(sentence) {
  byId("note").textContent = sentence;
}

function say() {
  const world = scene.kind === "world", departed = frame.departed !== null;
  byId("gap").textContent = number(frame.gap);
  byId("surprise").textContent = number(frame.surprise);
  const far = frame.far > FAR, measured = frame.sensor !== "colour";
  byId("imagined-says").textContent = measured ? `the nearest kept picture${far ? ", which is far" : ""}` : far ? "far from all remembered pictures" : frame.blind ? `${frame.blind} steps without a picture` : frame.step ? "one step ahead of each picture" : "at the first picture";
  byId("real-says").textContent = departed ? `left at step ${frame.departed}` : world ? "the simulator, same actions" : `step ${frame.step}`;
  note(departed ? "You have left the recording. Nobody knows what would have come, so nothing is compared." : frame.over);
  byId("depart").disabled = departed; byId("rejoin").disabled = !departed;
  const plan = frame.plan, place = scene.places.find((one) => one.name === byId("place").value);
  const unit = place && place.unit ? `\u00a0${place.unit}` : "";
  const about = place ? ` It is read to ${number(place.error)}${unit} on other drives (R\u00b2 ${place.r2}).` : "";
  byId("goal-says").textContent = plan
    ? `${plan.place} is ${number(plan.away)}${unit} from the goal, by the read-out.${canAim() ? " Yellow is the plan, the thin lines what else was tried." : ""}`
    : frame.sensor !== "colour" && !canAim() ? "Show colour to set a goal." : `Drag on a picture to set a goal${place ? ` for ${place.name}` : ""}.${about}`;
}

// ---- choices

function choose() {
  byId("mode-imagined").setAttribute("aria-pressed", mode === "imagined");
  byId("mode-real").setAttribute("aria-pressed", mode === "real");
  byId("mode-says").textContent = mode === "imagined"
    ? "The model gets your actions alone, and no pictures."
    : "The model looks at every real picture, and predicts the next.";
  for (const name of scene.sensors) byId(`show-${name}`).setAttribute("aria-pressed", sensor === name);
  byId("pause").setAttribute("aria-pressed", paused);
  const speed = SPEEDS_HZ.reduce((best, one, index) => (Math.abs(one - hz) < Math.abs(SPEEDS_HZ[best] - hz) ? index : best), 0);
  byId("rate").value = speed;
  byId("rate-says").textContent = `${hz} ${hz === 1 ? "step" : "steps"} a second, ${number(hz * scene.step_s)} times the ${scene.kind}'s own time`;
  byId("follow").disabled = byId("clear").disabled = goal === null;
  byId("follow").setAttribute("aria-pressed", following);
}

const acts = {
  pause() { paused = !paused; send({ type: "pause", on: paused }); choose(); },
  step() { if (!paused) acts.pause(); send({ type: "step" }); },
  again() { send({ type: "reset", seed: scene.seed }); },
  next() { if (scene.kind === "world") send({ type: "reset", seed: scene.seed + 1 }); },
  mode(wanted) { mode = wanted; send({ type: "mode", mode }); choose(); },
  show(wanted) { sensor = wanted; send({ type: "show", sensor }); choose(); },
  other() { if (scene.sensors.length > 1) acts.show(scene.sensors[(scene.sensors.indexOf(sensor) + 1) % scene.sensors.length]); },
  follow() { if (goal) { following = !following; send({ type: "follow", on: following }); choose(); } },
  clear() { goal = null; following = false; send({ type: "goal", at: null }); choose(); drawAll(); },
};

for (const name of ["pause", "step", "again", "next", "follow", "clear"]) byId(name).addEventListener("click", () => acts[name]());
for (const name of ["colour", "depth", "points"]) byId(`show-${name}`).addEventListener("click", () => acts.show(name));
for (const name of ["imagined", "real"]) byId(`mode-${name}`).addEventListener("click", () => acts.mode(name));
for (const name of ["depart", "rejoin"]) byId(name).addEventListener("click", () => { if (name === "rejoin" && following) acts.follow(); send({ type: name }); });
byId("rate").addEventListener("input", () => { hz = SPEEDS_HZ[Number(byId("rate").value)]; send({ type: "rate", hz }); choose(); });
byId("place").addEventListener("change", () => { acts.clear(); byId("place").blur(); });

for (const id of SIDES) {
  const canvas = byId(id);
  const aim = (event) => {
    const box = canvas.getBoundingClientRect(), within = (x) => Math.min(Math.max(x, 0), 1);
    goal = { at: [within((event.clientX - box.left) / box.width), within((event.clientY - box.top) / box.height)] };
    send({ type: "goal", place: byId("place").value, at: goal.at });
    choose(); drawAll();
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (!scene || !frame || !canAim()) return;
    dragging = true; canvas.setPointerCapture(event.pointerId); aim(event);
  });
  canvas.addEventListener("pointermove", (event) => { if (dragging) aim(event); });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { dragging = false; });
  turnByPointer(canvas, turn, goBack, () => frame !== null && frame.sensor === "points");
}

// ---- keys, buttons and gamepads

function wanted() {
  const found = scene.low.map(() => 0);
  for (const code of held) {
    const digit = code.startsWith("Digit") ? Number(code.slice(5)) - 1 : -1;
    if (scene.discrete && digit >= 0 && digit < found.length) found[digit] = 1;
    if (!scene.discrete) PAIRS.slice(0, found.length).forEach(([low, high], index) => { found[index] += (code === high) - (code === low); });
  }
  for (const [index, sign] of pushed.values()) found[index] += sign;
  for (const pad of navigator.getGamepads ? navigator.getGamepads() : []) {
    if (!pad || scene.discrete) continue;
    pad.axes.slice(0, found.length).forEach((value, index) => { if (Math.abs(value) > DEAD) found[index] += index % 2 ? -value : value; });
  }
  return found.map((value) => Math.round(Math.min(Math.max(value, -1), 1) * 100) / 100);
}

function steer() {
  if (!scene) return;
  for (const button of document.querySelectorAll("#axes button")) {
    const pair = PAIRS[button.dataset.axis] || [], code = scene.discrete ? `Digit${Number(button.dataset.axis) + 1}` : pair[button.dataset.sign > 0 ? 1 : 0];
    button.classList.toggle("held", held.has(code) || pushed.has(button));
  }
  const now = wanted();
  if (now.length === axes.length && now.every((value, index) => value === axes[index])) return;
  axes = now;
  keyNumber += 1;
  sentAt.set(keyNumber, performance.now());
  if (following && axes.some(Boolean)) acts.follow();
  send({ type: "drive", axes, key: keyNumber });
}

const SHORTCUTS = { Space: "pause", Period: "step", Backspace: "again", KeyN: "next", KeyF: "follow", KeyV: "other" };

addEventListener("keydown", (event) => {
  if (!scene || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("select, input[type=password]")) return;
  if (frame && frame.sensor === "points" && TURNS[event.key] && (event.shiftKey || !event.key.startsWith("Arrow"))) {
    event.preventDefault(); turn(...TURNS[event.key]); return;
  }
  const steers = scene.discrete ? event.code.startsWith("Digit") : PAIRS.slice(0, scene.low.length).some((pair) => pair.includes(event.code));
  if (steers) {
    event.preventDefault();
    if (!event.repeat) { held.add(event.code); steer(); }
  } else if (SHORTCUTS[event.code] && !event.repeat) {
    event.preventDefault();
    acts[SHORTCUTS[event.code]]();
  }
});
addEventListener("keyup", (event) => { if (held.delete(event.code)) steer(); });
addEventListener("blur", () => { held.clear(); pushed.clear(); steer(); });
addEventListener("resize", drawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
document.addEventListener("visibilitychange", () => {
  if (!scene) return;
  if (document.hidden && !paused) { tabHid = true; acts.pause(); }
  else if (!document.hidden && tabHid) { tabHid = false; if (paused) acts.pause(); }
});
setInterval(() => { if (scene && navigator.getGamepads && [...navigator.getGamepads()].some(Boolean)) steer(); }, 30);
addEventListener("gamepaddisconnected", () => steer()); // what its sticks held is let go

connect();
