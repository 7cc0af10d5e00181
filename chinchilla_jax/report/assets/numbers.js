// ---- numbers as people read them, and ticks of an axis
const SUPERSCRIPT = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079";
const power = (k) => "10" + (k < 0 ? "\u207b" : "") + [...String(Math.abs(k))].map((d) => SUPERSCRIPT[d]).join("");

function number(x) {
  if (x === null || x === undefined) return "\u2013";
  if (x !== 0 && (Math.abs(x) < 1e-3 || Math.abs(x) >= 1e5)) {
    const [mantissa, exponent] = x.toExponential(2).split("e");
    const times = Number(mantissa) === 1 ? "" : `${Number(mantissa)}\u00d7`;
    return times + power(Number(exponent));
  }
  return Number(x.toPrecision(3)).toLocaleString("en").replace("-", "\u2212");
}

// Training compute, as the field writes it: 5.76e23.
const flop = (x) => Number(x.toPrecision(3)).toExponential().replace("+", "");

// Parameters and tokens: 73.2B.
function scaled(x) {
  if (x === null || x === undefined) return "\u2013";
  const rounded = Number(x.toPrecision(3));
  for (const [size, letter] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "K"]])
    if (rounded >= size && rounded < 1e15) return Number((rounded / size).toPrecision(3)) + letter;
  return number(x);
}

// Losses differ in their third digit.
const loss = (x) => (x === null || x === undefined ? "\u2013" : x.toPrecision(4));

const reader = (quantity) => (quantity.counts ? scaled : quantity.key === "loss" ? loss : number);

function ticksOf({ low, high, log }, most) {
  if (!log || high / low < 8) {
    const size = Math.floor(Math.log10(log ? high : high - low));
    const step = [1, 2, 5].flatMap((m) => [-4, -3, -2, -1, 0, 1].map((k) => m * 10 ** (k + size)))
      .sort((a, b) => a - b).find((each) => (high - low) / each <= most);
    const ticks = [];
    for (let i = Math.ceil(low / step); i * step <= high; i += 1) ticks.push(Number((i * step).toPrecision(6)));
    return ticks;
  }
  const first = Math.ceil(Math.log10(low) - 1e-9);
  const last = Math.floor(Math.log10(high) + 1e-9);
  const step = Math.max(1, Math.ceil((last - first + 1) / most));
  const ticks = [];
  for (let k = first; k <= last; k += 1) if (k % step === 0) ticks.push(Number(`1e${k}`));
  if (last - first >= 2) return ticks;
  const finer = (digits) => {
    const found = [];
    for (let k = first - 1; k <= last; k += 1)
      for (const m of digits) {
        const each = Number(`${m}e${k}`);
        if (each >= low && each <= high) found.push(each);
      }
    return found;
  };
  return [[1, 2, 5], [1, 3], [1]].map(finer).find((found) => found.length <= most && found.length > 1) ?? finer([1, 2, 5]);
}
