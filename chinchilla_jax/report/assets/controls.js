// ---- what every explorer has: choices, sliders, a chart and its numbers
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, each] of Object.entries(attributes)) made.setAttribute(key, each);
  made.append(...children);
  return made;
}

// Puts them into `place`; whatever is set, `draw` follows.
function controls(place, draw) {
  const set = element("fieldset", {}, element("legend", {}, "Show"));
  const sliders = element("div", { class: "slider" });
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("role", "img");
  svg.setAttribute("height", 400);
  const readout = element("div", { class: "readout", "aria-live": "polite" });
  place.append(set, sliders, svg, readout);

  function choice(text, names, chosen) {
    const select = element("select", {}, ...names.map((name, i) => element("option", { value: i }, name)));
    select.addEventListener("change", () => { chosen(Number(select.value)); draw(); });
    set.append(element("label", {}, element("span", {}, text), select));
  }

  function check(text, c, get, checked) {
    const box = element("input", { type: "checkbox" });
    box.checked = get();
    box.addEventListener("change", () => { checked(box.checked); draw(); });
    const label = element("label", {}, box);
    if (c) label.append(element("span", { class: `key ${c}` }));
    label.append(text);
    set.append(label);
  }

  // Returns what shows another state of it: least, most, value and words.
  function slider(text, moved) {
    const input = element("input", { type: "range", step: 1 });
    input.addEventListener("input", () => { moved(Number(input.value)); draw(); });
    const said = element("span", { class: "said", "aria-hidden": "true" });
    const label = element("label", {}, element("span", {}, text), input, said);
    sliders.append(label);
    return (low, high, at, words) => {
      label.hidden = low === high;
      input.min = low;
      input.max = high;
      input.value = at;
      input.setAttribute("aria-valuetext", words);
      said.textContent = words;
    };
  }

  return { choice, check, slider, svg, readout };
}

// Where a pointer moves or a finger taps, in the units of the chart.
function pointed(svg, at) {
  const found = (event) => {
    const box = svg.getBoundingClientRect(), { width, height } = svg.viewBox.baseVal;
    at((event.clientX - box.left) * (width / box.width), (event.clientY - box.top) * (height / box.height), event);
  };
  for (const kind of ["pointermove", "pointerdown"]) svg.addEventListener(kind, found);
}

// Drawn when it comes into view, and again when its width changes.
function whenSeen(place, draw) {
  let width = 0;
  const resized = new ResizeObserver(() => {
    if (place.clientWidth !== width) { width = place.clientWidth; draw(); }
  });
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    resized.observe(place);
  }, { rootMargin: "300px" }).observe(place);
}
