/** The tools of an agent that a caller knows by name only: what its model has to be told of them. */
import type { Config } from '../define/types.ts';
import { quote } from '../governance/denial.ts';
import { offerOf } from '../governance/tool.ts';
import type { AgentInput, AgentResult } from './request-types.ts';

/** Reads the worker's configuration; nothing of it is secret to who may start runs. */
export function describeAgent(config: Pick<Config, 'agents'>, { agent }: AgentInput): AgentResult {
  const known = config.agents.find((one) => one.name === agent);
  if (known) return { kind: 'agent', tools: known.tools.map((tool) => offerOf(tool.manifest)) };
  const names = config.agents.map((one) => one.name).join(', ');
  return { kind: 'rejected', reason: `there is no agent ${quote(String(agent))}; there are: ${names}` };
}
