// Players and charts of a report: no library, nothing is loaded from anywhere.
"use strict";

const written = value => {
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return size !== 0 && size < 0.001 ? value.toExponential(2) : String(+value.toPrecision(3));
};

// --- charts: a cursor, a dot on each curve, and the values there ---------------------------------

function makeChart(svg) {
  const data = JSON.parse(svg.dataset.chart);
  const make = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return svg.appendChild(made);
  };
  const place = ([low, high, start, stop, log], value) => {
    const scale = v => (log ? Math.log10(Math.max(v, 1e-12)) : v);
    const share = (scale(value) - scale(low)) / (scale(high) - scale(low));
    return start + Math.min(Math.max(share, 0), 1) * (stop - start);
  };
  const back = ([low, high, start, stop, log], at) => {
    const share = Math.min(Math.max((at - start) / (stop - start), 0), 1);
    return log ? low * (high / low) ** share : low + share * (high - low);
  };
  const nearest = (curve, x) => {
    let best = 0;
    curve.x.forEach((value, k) => {
      if (Math.abs(value - x) < Math.abs(curve.x[best] - x)) best = k;
    });
    return best;
  };
  const cursor = make("line", {class: "cursor", y1: data.y[3], y2: data.y[2], visibility: "hidden"});
  const dots = data.curves.map(curve =>
    make("circle", {class: `at s${curve.colour}`, r: 4, visibility: "hidden"}));

  return {
    svg,
    // x under a pointer, in the units of the axis
    under(event) {
      const box = svg.getBoundingClientRect();
      return back(data.x, (event.clientX - box.left) * svg.viewBox.baseVal.width / box.width);
    },
    nearestPoint(x) {
      const all = data.curves.flatMap(curve => curve.x[nearest(curve, x)]);
      return all.reduce((a, b) => (Math.abs(b - x) < Math.abs(a - x) ? b : a), all[0]);
    },
    show(x) {
      const at = place(data.x, x), reach = (data.x[1] - data.x[0]) / 20;
      for (const end of ["x1", "x2"]) cursor.setAttribute(end, at);
      cursor.setAttribute("visibility", "visible");
      svg.dataset.at = x;
      const said = [];
      data.curves.forEach((curve, k) => {
        const point = nearest(curve, x), near = Math.abs(curve.x[point] - x) <= reach;
        dots[k].setAttribute("visibility", near ? "visible" : "hidden");
        if (!near) return;
        dots[k].setAttribute("cx", place(data.x, curve.x[point]));
        dots[k].setAttribute("cy", place(data.y, curve.y[point]));
        said.push(`${curve.name} ${written(curve.y[point])}`);
      });
      return said;
    },
    hide() {
      [cursor, ...dots].forEach(one => one.setAttribute("visibility", "hidden"));
    },
  };
}

const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);

function hover(chart) {
  chart.svg.addEventListener("pointermove", event => {
    const x = chart.nearestPoint(chart.under(event));
    tip.textContent = [written(x), ...chart.show(x)].join("\n");
    tip.hidden = false;
    const right = event.clientX + 14 + tip.offsetWidth < document.documentElement.clientWidth;
    tip.style.left = `${event.pageX + (right ? 14 : -14 - tip.offsetWidth)}px`;
    tip.style.top = `${event.pageY + 14}px`;
  });
  chart.svg.addEventListener("pointerleave", () => { tip.hidden = true; chart.hide(); });
}

// --- pictures: one frame of a sheet, and what is drawn over it -----------------------------------

function makePicture(canvas, panel) {
  const ratio = Math.max(1, Math.round(720 / Math.max(panel.width, panel.height)));
  canvas.width = panel.width * ratio;
  canvas.height = panel.height * ratio;
  const pen = canvas.getContext("2d");
  let shown = 0;
  const sheets = panel.sheets.map(uri => {
    const image = new Image();
    image.onload = () => draw(shown);
    image.src = uri;
    return image;
  });

  function stroke(colour, width, trace) {
    for (const [style, wide] of [["rgba(255,255,255,.85)", width * 2], [colour, width]]) {
      pen.strokeStyle = style;
      pen.lineWidth = wide;
      pen.beginPath();
      trace();
      pen.stroke();
    }
  }

  function overlay({kind, colour, paths}, frame) {
    const points = paths[frame].map(([x, y]) => [(x + 0.5) * ratio, (y + 0.5) * ratio]);
    const unit = canvas.width / 64;
    if (kind === "path" && points.length > 1) {
      stroke(colour, unit * 0.8, () => points.forEach(([x, y], k) => (k ? pen.lineTo(x, y) : pen.moveTo(x, y))));
    } else if (kind === "ring") {
      points.forEach(([x, y]) => stroke(colour, unit * 0.7, () => pen.arc(x, y, unit * 2.6, 0, 7)));
    } else if (kind === "cross") {
      const reach = unit * 1.9;
      points.forEach(([x, y]) => stroke(colour, unit * 0.7, () => {
        pen.moveTo(x - reach, y - reach); pen.lineTo(x + reach, y + reach);
        pen.moveTo(x + reach, y - reach); pen.lineTo(x - reach, y + reach);
      }));
    } else if (kind === "dots") {
      points.forEach(([x, y]) => { pen.fillStyle = colour; pen.beginPath(); pen.arc(x, y, unit * 0.9, 0, 7); pen.fill(); });
    }
  }

  function draw(frame) {
    shown = frame;
    const sheet = sheets[Math.floor(frame / panel.per)], place = frame % panel.per;
    if (!sheet.complete || !sheet.naturalWidth) return;
    const left = (place % panel.columns) * panel.width;
    const top = Math.floor(place / panel.columns) * panel.height;
    pen.imageSmoothingEnabled = ratio < 3;
    pen.lineJoin = pen.lineCap = "round";
    pen.drawImage(sheet, left, top, panel.width, panel.height, 0, 0, canvas.width, canvas.height);
    (panel.overlays || []).forEach(one => overlay(one, frame));
  }
  return {draw};
}

// --- points: the clouds of an episode, drawn by cloud.js -------------------------------------------

function makeCloud(canvas, panel) {
  canvas.width = 720;
  canvas.height = 540;
  canvas.className = "cloud";
  canvas.tabIndex = 0;
  const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const xyz = panel.xyz.map(text => new Int16Array(bytes(text).buffer)), rgb = panel.rgb.map(bytes);
  const view = cloudView(panel.eye), paint = cloudPainter(canvas);
  let shown = 0;

  function draw(frame) {
    shown = frame;
    paint({...panel, xyz: xyz[frame], rgb: rgb[frame]}, view);
    canvas.dataset.yaw = view.yaw.toFixed(3);
    canvas.dataset.zoom = view.zoom.toFixed(3);
  }
  const turn = (yaw, pitch, zoom) => { turnView(view, yaw, pitch, zoom); draw(shown); };

  turnByPointer(canvas, turn, () => { Object.assign(view, cloudView(panel.eye)); draw(shown); });
  canvas.addEventListener("keydown", event => {
    if (!TURNS[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    turn(...TURNS[event.key]);
  });
  return {draw};
}

// --- players: pictures, points and curves under one cursor ---------------------------------------

function makePlayer(figure) {
  const spec = JSON.parse(figure.dataset.player), count = spec.labels.length;
  const canvases = [...figure.querySelectorAll(".panel canvas")];
  const panels = spec.panels.map((panel, k) =>
    (panel.kind === "cloud" ? makeCloud : makePicture)(canvases[k], panel));
  const drawing = figure.querySelector("svg[data-chart]"), chart = drawing && makeChart(drawing);
  const slider = figure.querySelector("input"), button = figure.querySelector(".play");
  const now = figure.querySelector(".now");
  let frame = 0, timer = 0;

  function show(next) {
    frame = Math.min(Math.max(next, 0), count - 1);
    figure.dataset.frame = frame;
    if (slider) { slider.value = frame; slider.setAttribute("aria-valuetext", spec.labels[frame]); }
    panels.forEach(panel => panel.draw(frame));
    const values = chart && spec.x ? chart.show(spec.x[frame]) : [];
    now.textContent = [spec.labels[frame], ...values].join("  \u00b7  ");
  }

  function pause() {
    clearTimeout(timer);
    timer = 0;
    if (button) { button.textContent = "\u25b6"; button.setAttribute("aria-label", "Play"); }
  }

  function tick() {
    show(frame + 1 < count ? frame + 1 : 0);
    timer = setTimeout(tick, frame + 1 < count ? spec.ms : spec.ms + 700);  // a rest at the end
  }

  if (button) button.addEventListener("click", () => {
    if (timer) return pause();
    button.textContent = "\u275a\u275a";
    button.setAttribute("aria-label", "Pause");
    tick();
  });
  if (slider) slider.addEventListener("input", () => { pause(); show(+slider.value); });
  figure.querySelectorAll(".still").forEach(still =>
    still.addEventListener("click", () => { pause(); show(+still.dataset.frame); }));
  if (chart && spec.x) {
    const seek = event => {
      const x = chart.under(event);
      pause();
      show(spec.x.reduce((best, value, k) => (Math.abs(value - x) < Math.abs(spec.x[best] - x) ? k : best), 0));
    };
    for (const kind of ["pointerdown", "pointermove"]) drawing.addEventListener(kind, seek);
  }
  show(+figure.dataset.start);
}

document.querySelectorAll(".player").forEach(makePlayer);
document.querySelectorAll("svg[data-chart]").forEach(svg => {
  if (!svg.closest(".player")) hover(makeChart(svg));
});
