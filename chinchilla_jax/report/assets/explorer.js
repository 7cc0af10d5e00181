// ---- explorers: a chart, what it shows by choice, and its numbers at one budget
const DASHES = ["", "9 3", "7 2.5 2 2.5", "2.5 2.5"];

// A curve of parameters or tokens where only their ratio is known: C = 6 N D.
function derived(key, ratio, flops) {
  const of = key === "params" ? (r, c) => Math.sqrt(c / (6 * r)) : (r, c) => Math.sqrt((c * r) / 6);
  const made = (column) => column.map((r, i) => (r === null ? null : of(r, flops[i])));
  const [low, high] = key === "params" ? ["high", "low"] : ["low", "high"];
  return { low: made(ratio[low]), estimate: made(ratio.estimate), high: made(ratio[high]) };
}

function explore(place) {
  const data = JSON.parse(document.getElementById(place.dataset.explorer).textContent);
  const sweep = "start" in data;
  const most = data.flops.length - 1;
  // view: which kind of interval; -1 for none.
  const state = {
    budget: data.start_budget, size: data.start ?? 0, all: true, view: 0, quantity: 0, far: false,
    on: data.series.map(() => true),
  };
  const quantity = () => data.quantities[state.quantity];
  const window_ = () => (state.far ? [0, most] : data.near);
  const view = (series) => series.views[Math.max(state.view, 0)];
  const curveIn = (each) => each.curves[quantity().key] ?? derived(quantity().key, each.curves.tokens_per_param, data.flops);
  const line = (series, c, dash) => ({ name: series.name, curve: curveIn(view(series)), c, dash });

  function lines() {
    if (!sweep) return data.series.map((series, i) => line(series, `c${i % 4}`, DASHES[i % 4])).filter((_, i) => state.on[i]);
    const shown = [line(data.series[state.size], "c0", "")];
    if (data.reference && state.on[0]) shown.push(line(data.reference, "cr", "6 3"));
    return shown;
  }

  // Of everything that can be shown, so that the axes stay fixed while one explores.
  const known = new Map();
  function limits() {
    const key = `${state.quantity} ${state.far}`;
    if (!known.has(key)) {
      const [first, last] = window_();
      const values = (curves, columns) => curves.flatMap((curve) => columns.flatMap((name) => curve[name].slice(first, last + 1)))
        .filter((each) => each !== null);
      const every = [...data.series, ...(data.reference ? [data.reference] : [])].flatMap((series) => series.views).map(curveIn);
      const banded = sweep ? (data.reference ?? data.series[0]).views.map(curveIn) : every;
      const all = [...values(every, ["estimate"]), ...values(banded, ["low", "high"])];
      const low = Math.max(Math.min(...all), quantity().counts ? 1 : 1e-6), high = Math.min(Math.max(...all), quantity().counts ? 1e18 : 1e9);
      const room = (high / low) ** 0.04;
      known.set(key, [low / room, high * room]);
    }
    return known.get(key);
  }

  const { choice, check, slider, svg, readout } = controls(place, () => draw());
  choice("quantity", data.quantities.map((each) => each.name), (i) => { state.quantity = i; });
  if (sweep) {
    if (data.reference) check("unperturbed", "cr", () => state.on[0], (on) => { state.on[0] = on; });
    check("all sizes", "", () => state.all, (on) => { state.all = on; });
  } else if (data.series.length > 1)
    data.series.forEach((series, i) => check(series.name, `c${i % 4}`, () => state.on[i], (on) => { state.on[i] = on; }));
  choice("with", [...data.views, "no interval"], (i) => { state.view = i < data.views.length ? i : -1; });
  if (data.near[0] > 0 || data.near[1] < most)
    check("budgets far from the runs", "", () => state.far, (on) => { state.far = on; });

  const size = sweep && data.series.length > 1 ? slider("Size", (i) => { state.size = i; }) : null;
  const budget = slider("Budget", (i) => { state.budget = i; });

  let ends = null;
  function draw() {
    const [first, last] = window_();
    state.budget = Math.min(Math.max(state.budget, first), last);
    const drawn = lines();
    ends = drawChart(svg, Math.max(place.clientWidth - 26, 240), {
      id: data.id, flops: data.flops, range: data.range, window: [first, last], at: state.budget, limits: limits(),
      label: quantity().axis, tick: quantity().counts ? scaled : number, lines: drawn, bands: state.view >= 0,
      rule: quantity().key === "tokens_per_param" ? data.rule_of_thumb : null,
      faint: sweep && state.all ? data.series.map((series) => curveIn(view(series))) : [],
    });
    say(drawn, first, last);
  }

  function say(drawn, first, last) {
    const here = data.flops[state.budget], read = reader(quantity());
    const beyond = data.range && (here > data.range[1] || here < data.range[0]) ? ", outside the range of the runs" : "";
    budget(first, last, state.budget, `${flop(here)} FLOP`);
    if (size) size(0, data.series.length - 1, state.size, data.series[state.size].name);
    const heads = ["curve", "estimate", ...(state.view >= 0 ? [data.views[state.view]] : [])];
    const body = element("tbody");
    const said = [`${quantity().axis} at ${flop(here)} FLOP${beyond}`];
    for (const { name, curve, c } of drawn) {
      const [low, estimate, high] = ["low", "estimate", "high"].map((column) => read(curve[column][state.budget]));
      const fitted = curve.estimate[state.budget] !== null;
      const row = element("tr", {}, element("th", { scope: "row" }, element("span", { class: `key ${c}` }), name),
        element("td", { class: "n" }, fitted ? estimate : "no certified fit"));
      if (state.view >= 0) row.append(element("td", { class: "n" }, fitted ? `${low} to ${high}` : ""));
      body.append(row);
      said.push(`${name}: ${fitted ? estimate : "no certified fit"}`);
    }
    const title = quantity().name;
    const names = element("tr", {}, ...heads.map((text, i) => element("th", { scope: "col", ...(i ? { class: "n" } : {}) }, text)));
    readout.replaceChildren(element("table", {}, element("caption", {}, `${title[0].toUpperCase()}${title.slice(1)} at ${flop(here)} FLOP${beyond}`),
      element("thead", {}, names), body));
    const fitted = view(data.series[state.size]).fitted;
    if (sweep && fitted) readout.append(element("p", { class: "caption" }, `Fitted at ${data.series[state.size].name}: ${fitted.join(", ")}`));
    svg.setAttribute("aria-label", said.join("; "));
  }

  pointed(svg, (x) => {
    if (!ends) return;
    const [first, last] = window_();
    const share = Math.min(1, Math.max(0, (x - ends.left) / (ends.right - ends.left)));
    const wanted = Math.log(data.flops[first]) + share * Math.log(data.flops[last] / data.flops[first]);
    let best = first;
    for (let i = first; i <= last; i += 1)
      if (Math.abs(Math.log(data.flops[i]) - wanted) < Math.abs(Math.log(data.flops[best]) - wanted)) best = i;
    if (best !== state.budget) { state.budget = best; draw(); }
  });
  say(lines(), ...window_());
  whenSeen(place, draw);
}
