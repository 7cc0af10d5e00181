// ---- explorers of the runs: their losses with the law's curves, or their residuals; each run leads to its row
const REACH = 24; // how near the pointer must be to a run, in units of the chart
const ROW = 34; // height of a group

function exploreRuns(place) {
  const data = JSON.parse(document.getElementById(place.dataset.explorer).textContent);
  const { runs, y } = data;
  const state = { view: 0, slice: data.views.map((view) => view.start ?? 0), run: data.start };
  const view = () => data.views[state.view];
  const slice = () => view().slices?.[state.slice[state.view]];
  const order = data.views.map(({ x }) => x.map((_, i) => i).filter((i) => x[i] !== null).sort((a, b) => x[a] - x[b] || a - b));
  const units = { params: scaled, tokens: scaled, flops: flop, loss, "%": (v) => `${number(v)}%` };
  const { choice, slider, svg, readout } = controls(place, () => draw());
  if (data.views.length > 1) choice("against", data.views.map((each) => each.name), (i) => { state.view = i; });
  const chosenSlice = data.views.some((each) => each.slices) ? slider("Curve", (i) => { state.slice[state.view] = i; }) : null;
  const chosenRun = slider("Run", (i) => { state.run = order[state.view][i]; });

  // What each colour means.
  function keys() {
    const worst = ["c1", "largest residuals"];
    if (!slice()) return y.band ? [["c0", `runs, and their robust scale \u00b1${number(y.band)}%`], worst] : [["c0", "runs"], worst];
    const best = view().slices.some((each) => each.best) && !slice().best ? [["cr", "best of each budget"]] : [];
    return [["c1", slice().name], ["c0", slice().runs ? "runs nearest to it" : "runs"], ...best, ["cs", slice().runs ? "other runs and curves" : "other curves"]];
  }

  let places = [];
  function draw() {
    places = drawRuns(svg, Math.max(place.clientWidth - 26, 240), { id: data.id, runs, y, view: view(), slice: slice(), at: state.run });
    say();
  }

  function say() {
    const at = order[state.view], rank = Math.max(at.indexOf(state.run), 0);
    state.run = at[rank];
    const name = runs.names[state.run];
    if (chosenSlice) chosenSlice(0, view().slices.length - 1, state.slice[state.view], slice().name);
    chosenRun(0, at.length - 1, rank, name);
    const body = element("tbody", {}, ...runs.columns.map(({ label, unit, values }) =>
      element("tr", {}, element("th", { scope: "row" }, label), element("td", { class: "n" }, (units[unit] ?? String)(values[state.run])))));
    const title = element("a", { href: `#${runs.anchors[state.run]}` }, name);
    const meaning = keys().map(([c, text]) => element("span", { class: "meaning" }, element("span", { class: `key ${c}` }), text));
    readout.replaceChildren(element("p", { class: "caption" }, ...meaning), element("table", {}, element("caption", {}, title), body));
    const residual = runs.columns.find(({ unit }) => unit === "%").values[state.run];
    svg.setAttribute("aria-label", `${y.name} of ${at.length} runs by ${view().name}; ${name} lies ${number(residual)}% from the law`);
  }

  const nearest = (x, y) => {
    let best = -1, least = REACH ** 2;
    for (const [i, px, py] of places) {
      const d = (px - x) ** 2 + (py - y) ** 2;
      if (d < least) [best, least] = [i, d];
    }
    return best;
  };
  let chosen = false;
  pointed(svg, (x, y) => {
    const found = nearest(x, y);
    chosen = found >= 0;
    svg.style.cursor = chosen ? "pointer" : "";
    if (chosen && found !== state.run) { state.run = found; draw(); }
  });
  // A finger chooses a run first; the link to its row is below.
  svg.addEventListener("click", (event) => {
    if (event.pointerType === "mouse" && chosen) location.hash = runs.anchors[state.run];
  });
  say();
  whenSeen(place, draw);
}

// The limits of values along an axis, with a little room.
function spread(values, log) {
  const known = values.filter((v) => v !== null), low = Math.min(...known), high = Math.max(...known);
  if (log) return { low: low / (high / low) ** 0.03 / 1.002, high: high * (high / low) ** 0.03 * 1.002, log };
  const room = 0.04 * (high - low) || 1;
  return { low: low - room, high: high + room, log };
}

// svg: emptied first. chart: id, runs, y, view, slice (the one to show, or undefined) and at (the run). Returns
// where each run is drawn: its index and two coordinates.
function drawRuns(svg, width, { id, runs, y, view, slice, at }) {
  const ends = y.band ? [-y.band, y.band] : [];
  const losses = view.slices ? view.slices.flatMap((each) => each.loss) : [];
  // A curve may leave the chart upwards, where no run is.
  const alongY = { ...spread([...y.values, ...ends, ...(losses.length ? [Math.min(...losses)] : [])], y.log), label: y.axis, tick: number };
  const groups = view.groups;
  const curves = view.slices ? view.slices.flatMap((each) => each.x) : [];
  const alongX = { ...spread([...view.x, ...curves], view.log), label: view.axis, tick: view.counts ? scaled : number };
  const height = groups ? ROW * groups.length + 74 : Math.round(Math.min(400, Math.max(260, width * 0.55)));
  const frame = groups
    ? drawAxes(svg, width, height, { id, range: null, x: alongY, y: { low: -0.5, high: groups.length - 0.5, log: false, label: view.name } })
    : drawAxes(svg, width, height, { id, range: view.range, x: alongX, y: alongY });
  const across = groups ? frame.x : frame.y;
  if (y.band) {
    const [one, other] = [across(-y.band), across(y.band)].sort((a, b) => a - b);
    const box = groups ? { x: one, width: other - one, y: frame.top, height: frame.bottom - frame.top }
      : { x: frame.left, width: frame.right - frame.left, y: one, height: other - one };
    shape(shape(svg, "g", { class: "c0" }), "rect", { ...box, fill: "currentColor", "fill-opacity": 0.14 });
    const zero = groups ? { x1: across(0), x2: across(0), y1: frame.top, y2: frame.bottom } : { x1: frame.left, x2: frame.right, y1: across(0), y2: across(0) };
    shape(svg, "line", { ...zero, stroke: "var(--soft)" });
  }
  for (const [i, name] of (groups ?? []).entries())
    shape(svg, "text", { x: frame.left + 4, y: frame.y(groups.length - 1 - i) - 6 }, name);
  for (const each of view.slices ?? []) drawSlice(svg, frame, each, each === slice);
  const of = (i) => (groups ? [frame.x(y.values[i]), frame.y(groups.length - 1 - view.x[i]) + 5] : [frame.x(view.x[i]), frame.y(y.values[i])]);
  const places = view.x.map((_, i) => i).filter((i) => view.x[i] !== null).map((i) => [i, ...of(i)]);
  const near = slice?.runs ? new Set(slice.runs) : null;
  for (const [i, cx, cy] of places) {
    const c = near && !near.has(i) ? "cs" : y.worst?.includes(i) ? "c1" : "c0";
    shape(shape(svg, "g", { class: c }), "circle", { cx: cx.toFixed(1), cy: cy.toFixed(1), r: 3.4, fill: "currentColor", "fill-opacity": 0.8 });
  }
  const chosen = places.find(([i]) => i === at);
  if (chosen) {
    const [, cx, cy] = chosen, right = cx < (frame.left + frame.right) / 2;
    shape(svg, "circle", { cx, cy, r: 7, fill: "none", stroke: "var(--text)", "stroke-width": 1.6 });
    const text = shape(svg, "text", { x: cx + (right ? 11 : -11), y: cy - 9, "text-anchor": right ? "start" : "end", class: "name" }, runs.names[at]);
    text.style.fill = "var(--text)";
  }
  return places;
}

// A curve of the law, solid between the first and the last of its places within the runs.
function drawSlice(svg, frame, { x, loss: losses, inside, best }, chosen) {
  const part = shape(svg, "g", { class: chosen ? "c1" : best ? "cr" : "cs", fill: "none", "clip-path": frame.whole });
  const path = (first, last) => x.slice(first, last + 1).map((v, i) => `${i ? "L" : "M"}${frame.x(v).toFixed(1)} ${frame.y(losses[first + i]).toFixed(1)}`).join("");
  const line = { stroke: "currentColor", "stroke-width": chosen ? 2.4 : best ? 1.6 : 1, "stroke-opacity": chosen || best ? 1 : 0.6 };
  const [first, last] = inside ?? [x.length - 1, x.length - 1];
  if (inside) shape(part, "path", { ...line, d: path(first, last) });
  for (const [from, to] of [[0, first], [last, x.length - 1]])
    if (to > from) shape(part, "path", { ...line, d: path(from, to), "stroke-dasharray": "5 4" });
}
