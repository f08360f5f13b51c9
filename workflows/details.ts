/** What the Temporal UI shows of a run beside its history: Markdown, made from the state alone. */
import { escapeHidden } from '../governance/denial.ts';
import { formatMicros } from '../governance/money.ts';
import type { RunState } from './messages.ts';

export function detailsOf(state: RunState): string {
  const { limit, usage } = state;
  const lines = [
    `**${state.status}** · ${plain(state.agent)} for ${plain(state.user)} in ${plain(state.tenant)}`,
    '',
    `Spent ${formatMicros(usage.usdMicros)}${limit.usdMicros === undefined ? '' : ` of ${formatMicros(limit.usdMicros)}`}, ${usage.tokens} tokens, ${usage.calls} calls`,
  ];
  if (state.frozen) lines.push('', `Frozen by ${plain(state.frozen.by)}: ${plain(state.frozen.reason)}`);
  for (const ask of state.openAsks) {
    lines.push('', `Waits for a person: ${plain(ask.title)}`, `\`actguard approve ${ask.approvalId}\``);
  }
  for (const call of state.unknownCalls) lines.push('', `Outcome unknown: call ${plain(call)}`);
  if (state.lastDenial) lines.push('', `Last denial: ${state.lastDenial.code} (${plain(state.lastDenial.reason)})`);
  return lines.join('\n');
}

/** Text of others without Markdown of its own. */
function plain(text: string): string {
  return escapeHidden(text)
    .slice(0, 300)
    .replace(/[\\`*_{}[\]<>#|!]/g, (c) => `\\${c}`);
}
