/** Requests that belong to no run, and what the workflow `command` calls for them. Imported as types only. */
import type { PolicyTarget } from '../governance/policy-activation.ts';
import type { FreezeScope } from '../governance/freeze.ts';
import type { Json } from '../governance/json.ts';
import type { OfferedTool } from '../governance/tool.ts';

/** A request to set a freeze (unsigned or signed), or to lift one beyond a run (a signed command); targets as in governance/freeze.ts. */
export type FreezeInput =
  | {
      readonly v: 1;
      readonly kind: 'freeze';
      /** 16 bytes, hex: names the request. */
      readonly nonce: string;
      /** `*`: every tenant. */
      readonly tenant: string;
      readonly target: string;
      readonly by: string;
      readonly reason: string;
      /** Also stop the calls in flight, within seconds. */
      readonly abort?: boolean;
    }
  | { readonly v: 1; readonly kind: 'signed-freeze' | 'thaw'; readonly nonce: string; readonly envelope: Json };

export type FreezeResult =
  | ({ readonly kind: 'set'; readonly by: string; readonly aborted: number } & FreezeScope)
  | ({ readonly kind: 'lifted'; readonly by: string } & FreezeScope)
  | ({ readonly kind: 'absent' } & FreezeScope)
  | { readonly kind: 'rejected'; readonly reason: string };

/** What the workflow `command` calls. */
export interface FreezeActivities {
  changeFreeze(input: FreezeInput): Promise<FreezeResult>;
}

/** A request to activate a policy set: a signed command (governance/policy-activation.ts). */
export interface PolicyInput {
  readonly v: 1;
  readonly kind: 'policies';
  /** 16 bytes, hex: names the request. */
  readonly nonce: string;
  readonly envelope: Json;
}

export type PolicyResult =
  | ({
      readonly kind: 'active';
      readonly tenant: string;
      readonly by: readonly string[];
      readonly loosens: readonly string[];
    } & PolicyTarget)
  /** It loosens: it waits until another person signs the same. */
  | ({
      readonly kind: 'proposed';
      readonly tenant: string;
      readonly by: string;
      readonly loosens: readonly string[];
    } & PolicyTarget)
  | { readonly kind: 'rejected'; readonly reason: string };

/** A signed command about a run that is carried out without it: `resolve`, `recover`. */
export interface RunCommandInput {
  readonly v: 1;
  readonly kind: 'run';
  /** 16 bytes, hex: names the request. */
  readonly nonce: string;
  readonly run: string;
  readonly envelope: Json;
}

export type RunCommandResult =
  | { readonly kind: 'done'; readonly verb: 'resolve' | 'recover' | 'thaw' | 'topUp'; readonly by: string }
  | { readonly kind: 'rejected'; readonly reason: string };

/** A signed command to erase what lies beside entries (governance/erasure.ts). */
export interface EraseInput {
  readonly v: 1;
  readonly kind: 'erase';
  /** 16 bytes, hex: names the request. */
  readonly nonce: string;
  readonly envelope: Json;
}

export type EraseResult =
  /** `entries`: how many have lost their content. */
  | { readonly kind: 'erased'; readonly target: string; readonly by: string; readonly entries: number }
  | { readonly kind: 'rejected'; readonly reason: string };

/** What the workflow `command` calls for erasures. */
export interface EraseActivities {
  eraseContent(input: EraseInput): Promise<EraseResult>;
}

/** What the workflow `command` calls for runs. */
export interface RunCommandActivities {
  commandRun(input: RunCommandInput): Promise<RunCommandResult>;
}

/** What the workflow `command` calls for policies. */
export interface PolicyActivities {
  changePolicies(input: PolicyInput): Promise<PolicyResult>;
}

/** A question: which tools has this agent, as its model sees them? */
export interface AgentInput {
  readonly v: 1;
  readonly kind: 'agent';
  /** 16 bytes, hex: names the request. */
  readonly nonce: string;
  readonly agent: string;
}

export type AgentResult =
  | { readonly kind: 'agent'; readonly tools: readonly OfferedTool[] }
  | { readonly kind: 'rejected'; readonly reason: string };

/** What the workflow `command` calls for agents. */
export interface AgentActivities {
  describeAgent(input: AgentInput): Promise<AgentResult>;
}
