"use strict";
// Figures are drawn when they come into view: a page of ten datasets opens as fast as a page of one.
const figures = JSON.parse(document.getElementById("figures").textContent);
const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: "#333a45" };
const axis = { gridcolor: "#edeff2", zeroline: false, linecolor: "#c8cdd4", ticks: "outside", tickcolor: "#c8cdd4", automargin: true };
const MOST_ROWS = 200;

// The title of an axis on as many lines as it needs: Plotly cuts off what is longer than the axis.
function titled(settings, pixels) {
  const text = settings && settings.title && settings.title.text;
  if (!text) return settings;
  const most = Math.max(12, Math.floor(pixels / 6.6)), lines = [""];
  for (const word of text.split(/<br>| /)) {
    if (lines.at(-1) && lines.at(-1).length + word.length + 1 > most) lines.push(word);
    else lines[lines.length - 1] += (lines.at(-1) && " ") + word;
  }
  return { ...settings, title: { ...settings.title, text: lines.join("<br>") } };
}

// Columns of a heat map whose names have no room side by side are turned.
const isNarrow = (figure, width) => Boolean(figure.narrow) && width < figure.narrow.below;
// A title of several lines takes its room below the figure, not from it.
const linesBelow = (figure, width) => (titleOf(figure, width)?.title?.text.split("<br>").length || 1) - 1;
const titleOf = (figure, width) => titled(figure.layout.xaxis, width - 190);
const heightOf = (figure, width) => (isNarrow(figure, width) ? figure.narrow.height : figure.height) + 18 * linesBelow(figure, width);

// On a phone, as many numbers along the foot as stand beside the names of the rows.
function ticksOf(figure, width) {
  const names = figure.data.flatMap((trace) => trace.y || []).filter((name) => typeof name === "string");
  const longest = Math.max(4, ...names.flatMap((name) => name.split("<br>")).map((line) => line.length));
  return width < 500 ? { nticks: Math.max(2, Math.min(4, Math.floor((width - 7 * longest - 16) / 45))) } : {};
}

function layoutOf(figure, width) {
  const turned = isNarrow(figure, width) && { tickangle: -90 };
  return {
    font, hovermode: "closest", paper_bgcolor: "#fff", plot_bgcolor: "#fff", height: heightOf(figure, width),
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
    ...figure.layout,
    margin: { l: 56, r: 16, t: 14, b: (figure.layout.xaxis.title ? 44 : 26) + 18 * linesBelow(figure, width) },
    // Labels that turn by themselves change the margin, which turns them back, and so on.
    xaxis: { ...axis, tickangle: 0, ...titleOf(figure, width), ...ticksOf(figure, width), ...turned },
    yaxis: { ...axis, ...titled(figure.layout.yaxis, figure.height - 130) },
  };
}

function draw(box) {
  if (box.dataset.drawn) return;
  const figure = figures[box.dataset.figure];
  box.dataset.drawn = "yes";
  if (figure.parallel) {
    const svg = parallel(figure.parallel);
    box.append(svg);
    box.style.height = "auto";
    box.style.minWidth = svg.style.minWidth;
  } else {
    box.style.height = `${heightOf(figure, box.clientWidth)}px`;
    Plotly.newPlot(box, structuredClone(figure.data), layoutOf(figure, box.clientWidth), { responsive: true, displaylogo: false, displayModeBar: false });
  }
}

const boxes = document.querySelectorAll(".plot");
const seen = new IntersectionObserver(
  (entries) => entries.filter((e) => e.isIntersecting).forEach((e) => { draw(e.target); seen.unobserve(e.target); }),
  { rootMargin: "300px" });
boxes.forEach((box) => seen.observe(box));
function drawAll() {
  document.querySelectorAll("details:not(.numbers)").forEach((one) => { one.open = true; });
  boxes.forEach(draw);
}
addEventListener("beforeprint", drawAll);

// The numbers of a figure as a table, for who cannot see it or wants to read them off.
function numbers(box, table) {
  const made = (parent, name, text) => {
    const one = document.createElement(name);
    if (text !== undefined) one.textContent = text;
    parent.append(one);
    return one;
  };
  const shown = made(box, "table");
  const head = made(made(shown, "thead"), "tr");
  table.columns.forEach((name, i) => {
    const one = made(head, "th", name);
    one.scope = "col";
    one.className = table.rows.some((row) => typeof row[i] === "number") ? "n" : "";
  });
  const body = made(shown, "tbody");
  for (const row of table.rows.slice(0, MOST_ROWS)) {
    const line = made(body, "tr");
    row.forEach((value) => { made(line, "td", value ?? "").className = typeof value === "number" ? "n" : ""; });
  }
  if (table.rows.length > MOST_ROWS) made(box, "p", `${table.rows.length - MOST_ROWS} more rows are in the CSV.`).className = "dim";
}

document.querySelectorAll("details.numbers").forEach((one) => one.addEventListener("toggle", () => {
  const box = one.querySelector("div");
  if (one.open && !box.hasChildNodes()) numbers(box, figures[one.dataset.of].table);
}));
document.querySelectorAll("button[data-save]").forEach((button) => button.addEventListener("click", () => save(button.dataset.of, button.dataset.save)));
