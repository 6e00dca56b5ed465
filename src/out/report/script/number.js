// Numbers for people: as the tables have them.
function grouped(count) {
  return count.toLocaleString("en-US");
}

function minus(text) {
  return text.replace("-", "−");
}

// So many significant digits; very small and very large numbers with a power of ten.
function short(x, digits = 4) {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "" : minus(x > 0 ? "inf" : "-inf");
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size < 1e-4 || size >= 1e6) return minus(x.toExponential(digits - 2).replace(/\.?0+e/, "e").replace("e+", "e"));
  return minus(String(Number(x.toPrecision(digits))));
}

function fixed(x, places) {
  const text = x.toFixed(places);
  return minus(Number(text) === 0 ? text.replace("-", "") : text);
}

// The same decimals all down a column: four digits of its largest number, where the smallest keeps two of its own.
function decimals(numbers) {
  let [largest, smallest] = [0, Infinity];
  for (const x of numbers) {
    const size = Math.abs(x);
    if (size > largest) largest = size;
    if (size > 0 && size < smallest) smallest = size;
  }
  if (!(largest >= 1e-3 && largest < 1e6)) return null;
  const places = Math.min(Math.max(3 - Math.floor(Math.log10(largest)), 0), 6);
  return smallest >= 10 ** (1 - places) ? places : null;
}
