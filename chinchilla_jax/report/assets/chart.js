// ---- one chart: curves with bands against compute, on logarithmic axes
const SVG = "http://www.w3.org/2000/svg";

function shape(parent, name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, each] of Object.entries(attributes)) made.setAttribute(key, each);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

// svg: emptied first. chart: id, flops, range (of the runs, or null), window (first and last index of the
// budgets), at (index), limits, label, read (a number as text), rule (a line across, or null), faint (curves
// without a name), lines (curve, c, dash) and bands (whether they are drawn). Returns the ends of the axis.
function drawChart(svg, width, chart) {
  const height = Math.round(Math.min(400, Math.max(240, width * 0.55)));
  const left = 52, right = width - 36, top = 22, bottom = height - 40;
  const [xLow, xHigh] = chart.window.map((i) => chart.flops[i]);
  const [yLow, yHigh] = chart.limits;
  const x = (c) => left + ((right - left) * Math.log(c / xLow)) / Math.log(xHigh / xLow || Math.E);
  const y = (r) => bottom - ((bottom - top) * Math.log(r / yLow)) / Math.log(yHigh / yLow);
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
  const bounded = (c) => Math.min(Math.max(x(c), left), right);
  const [first, last] = chart.range ? chart.range.map(bounded) : [left, right];
  const whole = clip("all", [left, right]);
  const inside = clip("inside", [first, last]), outside = clip("outside", [left, first], [last, right]);
  if (chart.range && last > first) {
    shape(svg, "rect", { x: first, y: top, width: last - first, height: bottom - top, fill: "var(--grid)", "fill-opacity": 0.55 });
    shape(svg, "text", { x: (first + last) / 2, y: bottom - 6, "text-anchor": "middle" }, last - first > 90 ? "range of the runs" : "runs");
  }
  for (const t of ticksOf(xLow, xHigh, width / 75)) {
    shape(svg, "line", { x1: x(t), x2: x(t), y1: top, y2: bottom, stroke: "var(--grid)" });
    shape(svg, "text", { x: x(t), y: bottom + 16, "text-anchor": "middle" }, number(t));
  }
  for (const t of ticksOf(yLow, yHigh, height / 40)) {
    shape(svg, "line", { x1: left, x2: right, y1: y(t), y2: y(t), stroke: "var(--grid)" });
    shape(svg, "text", { x: left - 6, y: y(t) + 4, "text-anchor": "end" }, chart.tick(t));
  }
  shape(svg, "text", { x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, "training compute C (FLOP)");
  shape(svg, "text", { x: 2, y: 13 }, chart.label);
  if (chart.rule > yLow && chart.rule < yHigh) {
    shape(svg, "line", { x1: left, x2: right, y1: y(chart.rule), y2: y(chart.rule), stroke: "var(--soft)", "stroke-dasharray": "1 3" });
    shape(svg, "text", { x: right + 5, y: y(chart.rule) + 4 }, `${chart.rule}:1`);
  }
  const point = (values, i) => `${x(chart.flops[i]).toFixed(1)} ${y(values[i]).toFixed(1)}`;
  const path = (values) => {
    let text = "", pen = false;
    values.forEach((v, i) => {
      if (v !== null) text += (pen ? "L" : "M") + point(values, i);
      pen = v !== null;
    });
    return text;
  };
  const faint = shape(svg, "g", { "clip-path": whole, fill: "none" });
  for (const curve of chart.faint)
    shape(faint, "path", { d: path(curve.estimate), stroke: "var(--soft)", "stroke-opacity": 0.45, "stroke-width": 1 });
  for (const { curve, c, dash } of chart.lines) {
    const part = shape(svg, "g", { class: c, fill: "none" });
    const kept = chart.flops.map((_, i) => i).filter((i) => curve.low[i] !== null && curve.high[i] !== null);
    if (chart.bands && kept.length) {
      const up = kept.map((i) => point(curve.high, i)), down = kept.reverse().map((i) => point(curve.low, i));
      shape(part, "path", { d: `M${up.join("L")}L${down.join("L")}Z`, fill: "currentColor", "fill-opacity": 0.14, "clip-path": whole });
    }
    const d = path(curve.estimate), line = { d, stroke: "currentColor", "stroke-width": 2 };
    shape(part, "path", { ...line, "stroke-dasharray": dash, "clip-path": inside });
    shape(part, "path", { ...line, "stroke-dasharray": dash || "5 4", "stroke-opacity": 0.65, "clip-path": outside });
  }
  const at = x(chart.flops[chart.at]);
  shape(svg, "line", { x1: at, x2: at, y1: top, y2: bottom, stroke: "var(--text)", "stroke-opacity": 0.6 });
  for (const { curve, c } of chart.lines) {
    const value = curve.estimate[chart.at];
    if (value !== null && value > yLow && value < yHigh)
      shape(shape(svg, "g", { class: c }), "circle", { cx: at, cy: y(value), r: 4, fill: "currentColor" });
  }
  return { left, right };
}
