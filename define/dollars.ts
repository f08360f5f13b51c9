/** Dollars as people write them, into integer micro-dollars: costs round up, limits round down. */

/** A cost in micro-dollars, rounded up; null when it cannot be counted exactly. */
export function dollarsUp(usd: number): number | null {
  return exact(usd, (scaled) => Math.ceil(scaled));
}

/** A limit in micro-dollars, rounded down; null when it cannot be counted exactly. */
export function dollarsDown(usd: number): number | null {
  return exact(usd, (scaled) => Math.floor(scaled));
}

/** 0.07 * 1e6 is 70000.00000000001: the decimal text is what was meant, so that is what is scaled. */
function exact(usd: number, round: (scaled: number) => number): number | null {
  if (!Number.isFinite(usd)) return null;
  const [digits = '0', exponent = '0'] = usd.toExponential().split('e');
  const micros = round(Number(`${digits}e${Number(exponent) + 6}`));
  return Number.isSafeInteger(micros) ? micros : null;
}
