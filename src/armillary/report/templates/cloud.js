// Points in 3-D: drawn nearest last through a depth buffer, turned by dragging. Of reports and of play.
"use strict";

const TURNS = {ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1],
  "+": [0, 0, 1.2], "=": [0, 0, 1.2], "-": [0, 0, 1 / 1.2]};

// From where one looks: eye is a direction from the middle of the points.
function cloudView([x, y, z]) {
  return {yaw: Math.atan2(y, x), pitch: Math.atan2(z, Math.hypot(x, y)), zoom: 1};
}

function turnView(view, yaw, pitch, zoom = 1) {
  view.yaw -= yaw;
  view.pitch = Math.min(1.55, Math.max(-1.55, view.pitch + pitch));
  view.zoom = Math.min(12, Math.max(0.4, view.zoom * zoom));
}

// Where a point lies on a canvas, as a function of its metres from the middle: [across, down, depth].
function cloudProjection(width, height, reach, view) {
  const far = 2.7 * reach / view.zoom, focal = 1.25 * height;
  const [sy, cy, sp, cp] = [Math.sin(view.yaw), Math.cos(view.yaw), Math.sin(view.pitch), Math.cos(view.pitch)];
  const project = (x, y, z) => {
    const depth = far - (cp * cy * x + cp * sy * y + sp * z);
    return [width / 2 + focal * (-sy * x + cy * y) / depth, height / 2 - focal * (-sp * cy * x - sp * sy * y + cp * z) / depth, depth];
  };
  return {project, focal, nearest: far * 0.05};
}

// Return what paints a cloud {xyz, rgb, scale, reach, dot} on a canvas of any size.
function cloudPainter(canvas) {
  const pen = canvas.getContext("2d");
  let picture = null, depths = null;

  return (cloud, view) => {
    const {width, height} = canvas, {xyz, rgb, scale, reach, dot} = cloud;
    if (!picture || picture.width !== width || picture.height !== height) {
      picture = pen.createImageData(width, height);
      depths = new Float32Array(width * height);
    }
    const {project, focal, nearest} = cloudProjection(width, height, reach, view);
    const largest = Math.max(6, Math.round(height / 90));
    picture.data.fill(0);
    depths.fill(Infinity);
    for (let k = 0; k < xyz.length; k += 3) {
      const [across, down, depth] = project(xyz[k] * scale, xyz[k + 1] * scale, xyz[k + 2] * scale);
      if (depth < nearest) continue;
      const half = Math.min(largest, Math.max(1, Math.round(dot * focal / depth)));
      const [top, left] = [Math.round(down) - half, Math.round(across) - half];
      for (let row = Math.max(0, top); row <= Math.min(height - 1, top + 2 * half); row++) {
        for (let column = Math.max(0, left); column <= Math.min(width - 1, left + 2 * half); column++) {
          const at = row * width + column;
          if (depth >= depths[at]) continue;
          depths[at] = depth;
          picture.data[4 * at] = rgb[k];
          picture.data[4 * at + 1] = rgb[k + 1];
          picture.data[4 * at + 2] = rgb[k + 2];
          picture.data[4 * at + 3] = 255;
        }
      }
    }
    pen.putImageData(picture, 0, 0);
  };
}

// Dragging turns, the wheel zooms, a double click goes back; as long as it is on.
function turnByPointer(canvas, turn, goBack, isOn = () => true) {
  canvas.addEventListener("pointerdown", event => { if (isOn()) canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", event => {
    if (event.buttons && isOn()) turn(event.movementX / 150, event.movementY / 150);
  });
  canvas.addEventListener("dblclick", () => { if (isOn()) goBack(); });
  canvas.addEventListener("wheel", event => {  // plain wheel scrolls the page
    if (!isOn() || (!event.ctrlKey && document.activeElement !== canvas)) return;
    event.preventDefault();
    turn(0, 0, event.deltaY < 0 ? 1.12 : 1 / 1.12);
  }, {passive: false});
}
