// ---- the axes of a chart, which curves and runs share
const SVG = "http://www.w3.org/2000/svg";

function shape(parent, name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, each] of Object.entries(attributes)) made.setAttribute(key, each);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

// A number as its place along an axis from `low` to `high`, drawn from `start` to `end`.
const scale = ({ low, high, log }, start, end) =>
  log
    ? (v) => start + ((end - start) * Math.log(v / low)) / Math.log(high / low || Math.E)
    : (v) => start + ((end - start) * (v - low)) / (high - low || 1);

// svg: emptied first. chart: id, range (of the runs along x, or null), x and y: low, high, log, label and tick (a
// number as text). Returns where the plot is, x and y as functions, and names of clips: the plot, and the parts of
// it within and beyond the range.
function drawAxes(svg, width, height, chart) {
  const left = 52, right = width - 36, top = 22, bottom = height - 40;
  const x = scale(chart.x, left, right), y = scale(chart.y, bottom, top);
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  const defs = shape(svg, "defs", {});
  const clip = (name, ...spans) => {
    const made = shape(defs, "clipPath", { id: `${name}-${chart.id}` });
    for (const [from, to] of spans) shape(made, "rect", { x: from, y: top, width: Math.max(to - from, 0), height: bottom - top });
    return `url(#${name}-${chart.id})`;
  };
  // Where the runs lie; outside, every curve is extrapolated.
  const bounded = (v) => Math.min(Math.max(x(v), left), right);
  const [first, last] = chart.range ? chart.range.map(bounded) : [left, right];
  const whole = clip("all", [left, right]);
  const inside = clip("inside", [first, last]), outside = clip("outside", [left, first], [last, right]);
  if (chart.range && last > first) {
    shape(svg, "rect", { x: first, y: top, width: last - first, height: bottom - top, fill: "var(--grid)", "fill-opacity": 0.55 });
    shape(svg, "text", { x: (first + last) / 2, y: bottom - 6, "text-anchor": "middle" }, last - first > 90 ? "range of the runs" : "runs");
  }
  for (const t of ticksOf(chart.x, width / 75)) {
    shape(svg, "line", { x1: x(t), x2: x(t), y1: top, y2: bottom, stroke: "var(--grid)" });
    shape(svg, "text", { x: x(t), y: bottom + 16, "text-anchor": "middle" }, chart.x.tick(t));
  }
  for (const t of chart.y.tick ? ticksOf(chart.y, height / 40) : []) {
    shape(svg, "line", { x1: left, x2: right, y1: y(t), y2: y(t), stroke: "var(--grid)" });
    shape(svg, "text", { x: left - 6, y: y(t) + 4, "text-anchor": "end" }, chart.y.tick(t));
  }
  shape(svg, "text", { x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, chart.x.label);
  shape(svg, "text", { x: 2, y: 13 }, chart.y.label);
  return { x, y, left, right, top, bottom, whole, inside, outside };
}
