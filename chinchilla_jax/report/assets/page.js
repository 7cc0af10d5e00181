"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");

  // ---- colours: the system's, or the reader's choice for this visit
  const theme = document.getElementById("theme");
  theme.addEventListener("change", () => {
    if (theme.value) root.dataset.theme = theme.value;
    else delete root.dataset.theme;
  });

  // ---- tables: sorting and CSV
  const value = (cell) => cell.dataset.v ?? cell.textContent;

  function sort(table, column, numeric, down) {
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((row, i) => {
      const text = value(row.cells[column]);
      const key = numeric ? (text === "inf" ? Infinity : text === "-inf" ? -Infinity : parseFloat(text)) : text;
      return { row, key, i };
    });
    const missing = (key) => (numeric ? Number.isNaN(key) : key === "");
    keyed.sort((a, b) => {
      if (missing(a.key) || missing(b.key)) return missing(a.key) - missing(b.key) || a.i - b.i;
      const order = numeric ? a.key - b.key || 0 : a.key.localeCompare(b.key, "en", { numeric: true });
      return (down ? -order : order) || a.i - b.i;
    });
    body.append(...keyed.map((each) => each.row));
  }

  for (const table of document.querySelectorAll("table")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.title = `${head.title ? `${head.title}; ` : ""}press to sort`;
      head.removeAttribute("title");
      head.dataset.name = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        sort(table, column, head.classList.contains("n"), down);
      });
    });
  }

  // A spreadsheet runs text that begins like a formula; numbers may begin with a sign.
  const plain = (text) => (/^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text);
  const escaped = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const quoted = (text) => escaped(plain(text));

  function csv(table) {
    const header = [...table.tHead.rows[0].cells].map((cell) => quoted(cell.dataset.name));
    const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => quoted(value(cell))));
    return [header, ...rows].map((row) => row.join(",")).join("\r\n") + "\r\n";
  }

  function save(name, text, type) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  for (const button of document.querySelectorAll("button.csv"))
    button.addEventListener("click", () => {
      const id = button.dataset.table;
      save(`${id}.csv`, csv(document.getElementById(`${id}-table`)), "text/csv;charset=utf-8");
    });
  for (const button of document.querySelectorAll("button.save"))
    button.addEventListener("click", () =>
      save(button.dataset.file, document.getElementById(button.dataset.text).textContent, "text/plain;charset=utf-8"));

  // ---- pictures wider than the screen can be scrolled by keyboard too
  const pictures = [...document.querySelectorAll(".picture")];
  new ResizeObserver(() => {
    for (const picture of pictures) {
      const wide = picture.scrollWidth > picture.clientWidth;
      if (wide) picture.tabIndex = 0;
      else picture.removeAttribute("tabindex");
    }
  }).observe(root);

  // ---- links into folded tables
  function reveal() {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const own = target.querySelector(":scope > details");
    if (own) own.open = true;
    for (let up = target.parentElement; up; up = up.parentElement) if (up.tagName === "DETAILS") up.open = true;
    target.scrollIntoView({ block: target.tagName === "TR" ? "center" : "start" });
  }
  addEventListener("hashchange", reveal);
  reveal();

  // ---- explorers: interactive curves
  const SVG = "http://www.w3.org/2000/svg";
  const DASHES = ["", "9 3", "7 2.5 2 2.5", "2.5 2.5"];
  const SUPERSCRIPT = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079";
  const power = (k) => "10" + (k < 0 ? "\u207b" : "") + [...String(Math.abs(k))].map((d) => SUPERSCRIPT[d]).join("");

  function number(x) {
    if (x === null || x === undefined) return "\u2013";
    if (x !== 0 && (Math.abs(x) < 1e-3 || Math.abs(x) >= 1e5)) {
      const [mantissa, exponent] = x.toExponential(2).split("e");
      const times = Number(mantissa) === 1 ? "" : `${Number(mantissa)}\u00d7`;
      return times + power(Number(exponent));
    }
    return Number(x.toPrecision(3)).toLocaleString("en");
  }

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, each] of Object.entries(attributes)) made.setAttribute(key, each);
    made.append(...children);
    return made;
  }

  function shape(parent, name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, each] of Object.entries(attributes)) made.setAttribute(key, each);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  function decades(low, high, most) {
    const first = Math.ceil(Math.log10(low) - 1e-9);
    const last = Math.floor(Math.log10(high) + 1e-9);
    const step = Math.max(1, Math.ceil((last - first + 1) / most));
    const ticks = [];
    for (let k = first; k <= last; k += 1) if (k % step === 0) ticks.push(10 ** k);
    if (ticks.length >= 3) return ticks;
    const finer = [];
    for (let k = first - 1; k <= last; k += 1)
      for (const m of [1, 2, 5]) if (m * 10 ** k >= low && m * 10 ** k <= high) finer.push(m * 10 ** k);
    return finer;
  }

  const tick = (x) => (x >= 1e-2 && x < 1e5 ? number(x) : power(Math.round(Math.log10(x))));

  function explore(place) {
    const data = JSON.parse(document.getElementById(place.dataset.explorer).textContent);
    const sweep = Boolean(data.reference) || "start" in data;
    // view: which kind of interval; -1 for none.
    const state = { budget: data.start_budget, size: data.start ?? 0, all: true, view: 0, on: data.series.map(() => true) };
    const of = (series) => ({ name: series.name, ...series.views[Math.max(state.view, 0)] });

    const lines = () => {
      if (!sweep) return data.series.map((series, i) => ({ series: of(series), c: `c${i % 4}`, dash: DASHES[i % 4] }))
        .filter((_, i) => state.on[i]);
      const shown = [{ series: of(data.series[state.size]), c: "c0", dash: "" }];
      if (data.reference && state.on[0]) shown.push({ series: of(data.reference), c: "cr", dash: "6 3" });
      return shown;
    };

    // Limits of everything that can be shown, so that the axes stay fixed.
    const every = [...data.series, ...(data.reference ? [data.reference] : [])].flatMap((series) => series.views);
    const estimates = every.flatMap((view) => view.estimate).filter((x) => x !== null);
    const bands = (sweep ? (data.reference ?? data.series[0]).views : every)
      .flatMap((view) => [...view.low, ...view.high]).filter((x) => x !== null);
    const all = [...estimates, ...bands];
    const yLow = Math.max(Math.min(...all), 1e-6) / 1.2;
    const yHigh = Math.min(Math.max(...all), 1e9) * 1.2;
    const xLow = data.flops[0];
    const xHigh = data.flops[data.flops.length - 1];

    const controls = element("fieldset", {}, element("legend", {}, "Show"));
    const check = (text, c, get, set) => {
      const box = element("input", { type: "checkbox" });
      box.checked = get();
      box.addEventListener("change", () => { set(box.checked); draw(); });
      const label = element("label", {}, box);
      if (c) label.append(element("span", { class: `key ${c}` }));
      label.append(text);
      controls.append(label);
    };
    if (sweep) {
      if (data.reference) check("unperturbed", "cr", () => state.on[0], (on) => { state.on[0] = on; });
      check("all sizes", "", () => state.all, (on) => { state.all = on; });
    } else data.series.forEach((series, i) => check(series.name, `c${i % 4}`, () => state.on[i], (on) => { state.on[i] = on; }));
    const interval = element("select");
    [...data.views, "no interval"].forEach((name, i) => {
      interval.append(element("option", { value: i < data.views.length ? i : -1 }, name));
    });
    interval.addEventListener("change", () => { state.view = Number(interval.value); draw(); });
    controls.append(element("label", {}, element("span", {}, "with"), interval));

    const sliders = element("div", { class: "slider" });
    const slider = (text, most, start, set) => {
      const input = element("input", { type: "range", min: 0, max: most, step: 1 });
      input.value = start;
      input.addEventListener("input", () => { set(Number(input.value)); draw(); });
      const said = element("span", { class: "said", "aria-hidden": "true" });
      sliders.append(element("label", {}, element("span", {}, text), input, said));
      return (at, words) => {
        input.value = at;
        input.setAttribute("aria-valuetext", words);
        said.textContent = words;
      };
    };
    const size = sweep && data.series.length > 1
      ? slider("Size", data.series.length - 1, state.size, (i) => { state.size = i; }) : null;
    const budget = slider("Budget", data.flops.length - 1, state.budget, (i) => { state.budget = i; });

    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("role", "img");
    const readout = element("div", { class: "readout", "aria-live": "polite" });
    place.append(controls, sliders, svg, readout);

    let scale = null;
    function draw() {
      const width = Math.max(place.clientWidth - 26, 240);
      const height = Math.round(Math.min(400, Math.max(240, width * 0.55)));
      const left = 48, right = width - 36, top = 22, bottom = height - 40;
      const x = (c) => left + ((right - left) * Math.log(c / xLow)) / Math.log(xHigh / xLow || Math.E);
      const y = (r) => bottom - ((bottom - top) * Math.log(r / yLow)) / Math.log(yHigh / yLow);
      scale = { left, right };
      svg.replaceChildren();
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.setAttribute("height", height);
      const clip = `clip-${data.id}`;
      const inside = shape(shape(svg, "defs", {}), "clipPath", { id: clip });
      shape(inside, "rect", { x: left, y: top, width: right - left, height: bottom - top });
      // Where the runs lie; outside, every curve is extrapolated.
      const [first, last] = data.range ? data.range.map((c) => Math.min(Math.max(x(c), left), right)) : [0, 0];
      if (last > first) {
        shape(svg, "rect", { x: first, y: top, width: last - first, height: bottom - top, fill: "var(--grid)", "fill-opacity": 0.55 });
        shape(svg, "text", { x: (first + last) / 2, y: bottom - 6, "text-anchor": "middle" }, last - first > 90 ? "range of the runs" : "runs");
      }
      for (const t of decades(xLow, xHigh, width / 75)) {
        shape(svg, "line", { x1: x(t), x2: x(t), y1: top, y2: bottom, stroke: "var(--grid)" });
        shape(svg, "text", { x: x(t), y: bottom + 16, "text-anchor": "middle" }, tick(t));
      }
      for (const t of decades(yLow, yHigh, height / 40)) {
        shape(svg, "line", { x1: left, x2: right, y1: y(t), y2: y(t), stroke: "var(--grid)" });
        shape(svg, "text", { x: left - 6, y: y(t) + 4, "text-anchor": "end" }, tick(t));
      }
      shape(svg, "text", { x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, "training compute C (FLOP)");
      shape(svg, "text", { x: 2, y: 13 }, "compute-optimal tokens per parameter");
      const path = (values) => {
        let text = "", pen = false;
        values.forEach((v, i) => {
          if (v === null) { pen = false; return; }
          text += `${pen ? "L" : "M"}${x(data.flops[i]).toFixed(1)} ${y(v).toFixed(1)}`;
          pen = true;
        });
        return text;
      };
      const group = shape(svg, "g", { "clip-path": `url(#${clip})`, fill: "none" });
      if (sweep && state.all) for (const series of data.series)
        shape(group, "path", { d: path(of(series).estimate), stroke: "var(--soft)", "stroke-opacity": 0.45, "stroke-width": 1 });
      const rule = data.rule_of_thumb;
      if (rule > yLow && rule < yHigh) {
        shape(group, "line", { x1: left, x2: right, y1: y(rule), y2: y(rule), stroke: "var(--soft)", "stroke-dasharray": "4 3" });
        shape(svg, "text", { x: right + 5, y: y(rule) + 4 }, `${rule}:1`);
      }
      for (const { series, c, dash } of lines()) {
        const part = shape(group, "g", { class: c });
        if (state.view >= 0) {
          const kept = data.flops.map((_, i) => i).filter((i) => series.low[i] !== null && series.high[i] !== null);
          if (kept.length) {
            const up = kept.map((i) => `${x(data.flops[i]).toFixed(1)} ${y(series.high[i]).toFixed(1)}`);
            const down = kept.reverse().map((i) => `${x(data.flops[i]).toFixed(1)} ${y(series.low[i]).toFixed(1)}`);
            shape(part, "path", { d: `M${up.join("L")}L${down.join("L")}Z`, fill: "currentColor", "fill-opacity": 0.14 });
          }
        }
        shape(part, "path", { d: path(series.estimate), stroke: "currentColor", "stroke-width": 2, "stroke-dasharray": dash });
      }
      const at = x(data.flops[state.budget]);
      shape(svg, "line", { x1: at, x2: at, y1: top, y2: bottom, stroke: "var(--text)", "stroke-opacity": 0.6 });
      for (const { series, c } of lines()) {
        const m = series.estimate[state.budget];
        if (m !== null && m > yLow && m < yHigh)
          shape(shape(svg, "g", { class: c }), "circle", { cx: at, cy: y(m), r: 4, fill: "currentColor" });
      }
      const here = data.flops[state.budget];
      const beyond = data.range && (here > data.range[1] || here < data.range[0]) ? ", outside the range of the runs" : "";
      budget(state.budget, `${number(here)} FLOP`);
      const at_flops = `${number(here)} FLOP${beyond}`;
      if (size) size(state.size, data.series[state.size].name);
      const heads = ["curve", "estimate", ...(state.view >= 0 ? [data.views[state.view]] : [])];
      const body = element("tbody");
      const said = [`At ${at_flops}`];
      for (const { series, c } of lines()) {
        const [low, estimate, high] = ["low", "estimate", "high"].map((name) => number(series[name][state.budget]));
        const known = series.estimate[state.budget] !== null;
        const row = element("tr", {}, element("th", { scope: "row" }, element("span", { class: `key ${c}` }), series.name),
          element("td", { class: "n" }, known ? estimate : "no certified fit"));
        if (state.view >= 0) row.append(element("td", { class: "n" }, known ? `${low} to ${high}` : ""));
        body.append(row);
        said.push(`${series.name}: ${known ? estimate : "no certified fit"}`);
      }
      const names = element("tr", {}, ...heads.map((text, i) => element("th", { scope: "col", ...(i ? { class: "n" } : {}) }, text)));
      readout.replaceChildren(element("table", {}, element("caption", {}, `Tokens per parameter at ${at_flops}`), element("thead", {}, names), body));
      if (sweep) readout.append(element("p", { class: "caption" }, `Fitted at ${of(data.series[state.size]).name}: `
        + of(data.series[state.size]).params.join(", ")));
      svg.setAttribute("aria-label", said.join("; "));
    }

    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const along = (event.clientX - box.left) * (svg.viewBox.baseVal.width / box.width);
      const share = Math.min(1, Math.max(0, (along - scale.left) / (scale.right - scale.left)));
      const wanted = Math.log(xLow) + share * Math.log(xHigh / xLow);
      let best = 0;
      data.flops.forEach((c, i) => {
        if (Math.abs(Math.log(c) - wanted) < Math.abs(Math.log(data.flops[best]) - wanted)) best = i;
      });
      if (best !== state.budget) { state.budget = best; draw(); }
    });
    let last = 0;
    new ResizeObserver(() => {
      if (place.clientWidth !== last) { last = place.clientWidth; draw(); }
    }).observe(place);
    draw();
  }

  for (const place of document.querySelectorAll("[data-explorer]")) explore(place);
})();
