/** Elements from plain data: text is always text, so that nothing an agent or an argument says becomes markup. */
import { visible } from '../../governance/visible.ts';

/** What may stand inside an element. */
export type Child = Node | string | null | false;

/** Attributes; `on` names listeners, false and null leave an attribute out. */
export interface Attributes {
  readonly [name: string]: string | boolean | null | undefined | ((event: Event) => void);
}

/** Makes an element. */
export function el(name: string, attributes: Attributes = {}, ...children: readonly Child[]): HTMLElement {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(key, value);
    else if (value === true) element.setAttribute(key, '');
    else if (typeof value === 'string') element.setAttribute(key, value);
  }
  for (const child of children) if (child !== null && child !== false) element.append(child);
  return element;
}

/** Foreign text as it may be shown: hidden, reordering and mixed characters escaped. */
export function foreign(text: string): string {
  return visible(text);
}

/** Foreign text with its line breaks, in an element that keeps them. */
export function foreignBlock(name: string, text: string, attributes: Attributes = {}): HTMLElement {
  return el(name, attributes, text.split('\n').map(visible).join('\n'));
}

/** A list of terms and their values; what is absent is left out. */
export function terms(...rows: readonly (readonly [string, Child] | null)[]): HTMLElement {
  const list = el('dl', {});
  for (const row of rows) {
    if (row === null) continue;
    list.append(el('dt', {}, row[0]), el('dd', {}, row[1]));
  }
  return list;
}

/** Says something to people who look and to screen readers. */
export function announce(text: string): void {
  const status = document.getElementById('status');
  if (status) status.textContent = text;
}

/** A point in time: local, with the exact one in the attribute. */
export function when(ms: number): HTMLElement {
  const at = new Date(ms);
  return el('time', { datetime: at.toISOString() }, at.toLocaleString());
}
