/** Bars and amounts of budgets, for people. */
import { formatMicros } from '../../governance/money.ts';

const WIDTH = 20;

/** `████▒░░░`: what is spent, what is reserved, what is left. Shares above 1 fill the bar. */
export function bar(spent: number, reserved: number, whole: number): string {
  const cells = (amount: number): number => (whole > 0 ? Math.min(WIDTH, Math.round((WIDTH * amount) / whole)) : 0);
  const full = cells(spent);
  const held = Math.max(0, cells(spent + reserved) - full);
  return '█'.repeat(full) + '▒'.repeat(held) + '░'.repeat(WIDTH - full - held);
}

/** Micro-dollars as dollars, or a count. */
export function amountText(unit: 'usdMicros' | 'tokens' | 'calls', amount: number): string {
  return unit === 'usdMicros' ? formatMicros(amount) : `${amount} ${unit}`;
}

/** Columns of text, each as wide as its widest cell; the first is left-aligned, the others right. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows.reduce<number[]>((most, row) => row.map((cell, i) => Math.max(cell.length, most[i] ?? 0)), []);
  return rows.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
  );
}
