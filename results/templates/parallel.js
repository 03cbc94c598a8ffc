// Parallel coordinates: places from 0 (foot) to 1 (top) of each axis, null where a parameter is not active.
const SVG = "http://www.w3.org/2000/svg";
// In the drawing itself, so that a saved one has it too.
const PARALLEL_STYLE = `.parallel text { font: 11px ${font.family.replaceAll('"', "'")}; fill: #20262e; }
.parallel .tick { font-size: 10px; fill: #565f6b; paint-order: stroke; stroke: #fff; stroke-width: 3px; }
.parallel path { fill: none; stroke-width: 1.6; }
.parallel path.off { stroke: #d8dce2 !important; stroke-opacity: .35; }
.parallel path:hover { stroke: #c96a00; stroke-width: 3.5; stroke-opacity: 1; }`;

function element(parent, name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

// Names of axes on lines of at most so many characters; a longer word is broken.
function onLines(name, most) {
  const lines = [""];
  for (const word of name.split(/[ _]/).flatMap((one) => one.match(new RegExp(`.{1,${most}}`, "g")) || [])) {
    if (lines.at(-1) && lines.at(-1).length + word.length + 1 > most) lines.push(word);
    else lines[lines.length - 1] += (lines.at(-1) && " ") + word;
  }
  return lines.length > 4 ? [...lines.slice(0, 3), lines[3].slice(0, most - 1) + "…"] : lines;
}

function parallel({ axes, lines }, still) {
  const gap = Math.max(92, 1080 / axes.length), width = gap * axes.length;
  const named = axes.map(({ name, stage }) => [stage, ...onLines(name, Math.floor(gap / 6.4))]);
  const top = 26 + 13 * Math.max(...named.map((one) => one.length)), bottom = top + 240, foot = bottom + 26;
  const size = { viewBox: `0 0 ${width} ${foot + 20}`, width: still ? width : "100%", ...(still && { height: foot + 20 }) };
  const svg = document.createElementNS(SVG, "svg");
  Object.entries(size).forEach(([key, value]) => svg.setAttribute(key, value));
  svg.setAttribute("class", "parallel");
  if (!still) svg.style.minWidth = `${Math.round(width * 0.85)}px`;
  element(svg, "style", {}, PARALLEL_STYLE);
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
  axes.forEach(({ ticks }, i) => {
    element(svg, "line", { x1: x(i), x2: x(i), y1: top, y2: bottom, stroke: "#8a93a0" });
    const label = element(svg, "text", { "text-anchor": "middle", y: 14 });
    named[i].forEach((line, at) => element(label, "tspan", { x: x(i), ...(at ? { dy: 13 } : { style: "fill:#626b77" }) }, line));
    if (lines.some((line) => line.at[i] === null))
      element(svg, "text", { class: "tick", x: x(i), y: foot + 14, "text-anchor": "middle" }, "not active");
    const room = Math.floor((i < axes.length - 1 ? gap : gap / 2) / 5.6);
    ticks.forEach(([at, said]) => element(svg, "text", { class: "tick", x: x(i) + 5, y: y(at) + 3 },
      said.length > room ? said.slice(0, room - 1) + "…" : said));
    if (still) return;
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
  return svg;
}
