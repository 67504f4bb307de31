// A canvas to write on with mouse, pen or finger. Strokes are kept as points in CSS px, so they
// survive a change of the page's width, and can be undone; the ruled lines are not in the picture.
const INK = 2.6; // px of a stroke
const SCALE = 2; // px of the picture for one CSS px, whatever the screen: the reader likes it large
const canvas = element.querySelector("canvas");
const context = canvas.getContext("2d");
let strokes = [];
let current = null;

function draw(stroke) {
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = "#101418";
  stroke.forEach(([x, y, width], i) => {
    const [fromX, fromY] = stroke[Math.max(i - 1, 0)];
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(fromX, fromY);
    context.lineTo(x, y);
    context.stroke();
  });
}

function redraw() {
  const { width, height } = canvas.getBoundingClientRect();
  if (!width) return; // the tab is hidden
  canvas.width = Math.round(width * SCALE);
  canvas.height = Math.round(height * SCALE);
  context.setTransform(SCALE, 0, 0, SCALE, 0, 0);
  strokes.forEach(draw);
}

function point(event) {
  const box = canvas.getBoundingClientRect();
  const width = event.pointerType === "pen" ? INK * (0.5 + event.pressure) : INK;
  return [event.clientX - box.left, event.clientY - box.top, width];
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || current) return; // a second finger, or a palm
  canvas.setPointerCapture(event.pointerId);
  current = { id: event.pointerId, points: [point(event)] };
  strokes.push(current.points);
  draw(current.points);
  event.preventDefault();
});
canvas.addEventListener("pointermove", (event) => {
  if (!current || event.pointerId !== current.id) return;
  const passed = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  const added = (passed.length ? passed : [event]).map(point);
  const last = current.points[current.points.length - 1];
  current.points.push(...added);
  draw([last, ...added]);
});
for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
  canvas.addEventListener(name, (event) => {
    if (current && event.pointerId === current.id) current = null;
  });
}

element.querySelector(".undo").addEventListener("click", () => {
  strokes.pop();
  redraw();
});
element.querySelector(".clear").addEventListener("click", () => {
  strokes = [];
  redraw();
});
new ResizeObserver(redraw).observe(canvas);

// The picture as a data URI on white paper; "" while nothing is written.
window.labDrawing = () => {
  if (!strokes.length) return "";
  redraw();
  context.globalCompositeOperation = "destination-over";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  const picture = canvas.toDataURL("image/png");
  redraw(); // setting its size has also reset how the canvas composes
  return picture;
};
