// ---- one chart: curves with bands against compute, on logarithmic axes
// svg: emptied first. chart: id, flops, range (of the runs, or null), window (first and last index of the
// budgets), at (index), limits, label, read (a number as text), rule (a line across, or null), faint (curves
// without a name), lines (curve, c, dash) and bands (whether they are drawn). Returns the ends of the axis.
function drawChart(svg, width, chart) {
  const height = Math.round(Math.min(400, Math.max(240, width * 0.55)));
  const [xLow, xHigh] = chart.window.map((i) => chart.flops[i]);
  const [yLow, yHigh] = chart.limits;
  const { x, y, left, right, top, bottom, whole, inside, outside } = drawAxes(svg, width, height, {
    id: chart.id, range: chart.range, x: { low: xLow, high: xHigh, log: true, label: "training compute C (FLOP)", tick: number },
    y: { low: yLow, high: yHigh, log: true, label: chart.label, tick: chart.tick },
  });
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
