// A figure as a file: SVG and PNG as drawn at a fixed width, whatever the window's, and its numbers as CSV.
const SAVED_WIDTH = 900, SAVED_SCALE = 2;

function csvOf({ columns, rows }) {
  const cell = (value) => {
    const text = value === null ? "" : typeof value === "boolean" ? (value ? "True" : "False") : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows].map((row) => row.map(cell).join(",") + "\r\n").join("");
}

async function svgOf(figure) {
  if (figure.parallel) return new XMLSerializer().serializeToString(parallel(figure.parallel, true));
  const size = { width: SAVED_WIDTH, height: heightOf(figure, SAVED_WIDTH) };
  const layout = { ...layoutOf(figure, SAVED_WIDTH), ...size, title: { text: "" } };
  return Plotly.toImage({ data: structuredClone(figure.data), layout }, { format: "svg", imageDataOnly: true, ...size });
}

async function pngOf(figure) {
  const image = new Image();
  image.src = "data:image/svg+xml," + encodeURIComponent(await svgOf(figure));
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = image.width * SAVED_SCALE;
  canvas.height = image.height * SAVED_SCALE;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/png");
}

async function save(name, kind) {
  const figure = figures[name];
  let address;
  if (kind === "png") address = await pngOf(figure);
  else {
    const text = kind === "csv" ? csvOf(figure.table) : await svgOf(figure);
    address = URL.createObjectURL(new Blob([text], { type: kind === "csv" ? "text/csv" : "image/svg+xml" }));
  }
  const link = document.createElement("a");
  link.href = address;
  link.download = `${name}.${kind}`;
  link.click();
  if (address.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(address), 60000);
}
