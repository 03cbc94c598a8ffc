"use strict";
// Figures are drawn when they come into view: a page of ten datasets opens as fast as a page of one.
const figures = JSON.parse(document.getElementById("figures").textContent);
const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: "#333a45" };
const axis = { gridcolor: "#edeff2", zeroline: false, linecolor: "#c8cdd4", ticks: "outside", tickcolor: "#c8cdd4", automargin: true };

function draw(box) {
  if (box.dataset.drawn) return;
  box.dataset.drawn = "yes";
  const figure = figures[box.dataset.figure];
  const layout = {
    font, hovermode: "closest", paper_bgcolor: "#fff", plot_bgcolor: "#fff", height: figure.height,
    margin: { l: 56, r: 12, t: 12, b: 44 },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    ...figure.layout,
    xaxis: { ...axis, ...figure.layout.xaxis },
    yaxis: { ...axis, ...figure.layout.yaxis },
  };
  Plotly.newPlot(box, figure.data, layout, { responsive: true, displaylogo: false, displayModeBar: false });
}

const boxes = document.querySelectorAll(".figure");
const seen = new IntersectionObserver(
  (entries) => entries.filter((e) => e.isIntersecting).forEach((e) => { draw(e.target); seen.unobserve(e.target); }),
  { rootMargin: "400px" });
boxes.forEach((box) => seen.observe(box));
addEventListener("beforeprint", () => boxes.forEach(draw));

// Parallel coordinates: places from 0 (foot) to 1 (top) of each axis, null where a parameter is not active.
const SVG = "http://www.w3.org/2000/svg";
function element(parent, name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function parallel(box) {
  const { axes, lines } = JSON.parse(box.dataset.parallel);
  const gap = Math.max(86, 1080 / axes.length), width = gap * axes.length, top = 46, bottom = 286, foot = 312;
  const svg = element(box, "svg", { viewBox: `0 0 ${width} 330`, width: "100%", style: `min-width:${Math.round(width * 0.8)}px` });
  const x = (i) => gap * (i + 0.5), y = (at) => (at === null ? foot : bottom - at * (bottom - top));
  const brushes = new Map();
  const paths = [...lines].reverse().map((line) => {  // best first in the data, so drawn last
    const shade = Math.round(80 - 52 * line.score);
    const d = line.at.map((at, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(at).toFixed(1)}`).join("");
    const path = element(svg, "path", { d, stroke: `hsl(212 58% ${shade}%)`, "stroke-opacity": 0.35 + 0.5 * line.score });
    element(path, "title", {}, line.text);
    return { path, line };
  });
  const filter = () => paths.forEach(({ path, line }) => path.classList.toggle("off",
    [...brushes].some(([i, [low, high]]) => y(line.at[i]) < low || y(line.at[i]) > high)));
  axes.forEach(({ name, ticks }, i) => {
    element(svg, "line", { x1: x(i), x2: x(i), y1: top, y2: bottom, stroke: "#8a93a0" });
    const label = element(svg, "text", { "text-anchor": "middle", y: 14 });
    const [stage, ...rest] = i < axes.length - 1 ? name.split("_") : ["", name];
    element(label, "tspan", { x: x(i), fill: "#8a93a0" }, stage);
    element(label, "tspan", { x: x(i), dy: 14 }, rest.join(" ") || stage);
    if (lines.some((line) => line.at[i] === null))
      element(svg, "text", { class: "tick", x: x(i), y: foot + 14, "text-anchor": "middle" }, "not active");
    ticks.forEach(([at, said]) => element(svg, "text", { class: "tick", x: x(i) + 5, y: y(at) + 3 }, said));
    const brush = element(svg, "rect", { x: x(i) - 7, width: 14, y: 0, height: 0, fill: "#e07b00", "fill-opacity": 0.3 });
    const grip = element(svg, "rect", { x: x(i) - 12, width: 24, y: top - 8, height: foot - top + 16, fill: "transparent", cursor: "crosshair" });
    const at = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).y;
    let start = null;
    grip.addEventListener("pointerdown", (event) => { start = at(event); grip.setPointerCapture(event.pointerId); });
    grip.addEventListener("pointermove", (event) => {
      if (start === null) return;
      const [low, high] = [start, at(event)].sort((a, b) => a - b);
      if (high - low < 3) brushes.delete(i); else brushes.set(i, [low, high]);
      brush.setAttribute("y", low); brush.setAttribute("height", high - low < 3 ? 0 : high - low);
      filter();
    });
    grip.addEventListener("pointerup", (event) => {
      if (start !== null && Math.abs(at(event) - start) < 3) { brushes.delete(i); brush.setAttribute("height", 0); filter(); }
      start = null;
    });
  });
}
document.querySelectorAll(".parallel").forEach(parallel);
