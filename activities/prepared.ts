/** What the parts of one governed call hand to each other. */
import type { Tool } from '../define/types.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import type { Provenance } from '../governance/provenance.ts';
import type { CallFrame } from './call-entries.ts';
import type { ClaimRequest } from './claim.ts';
import type { Deps, PolicyEngine } from './deps.ts';
import type { Grant, Grants } from './grant.ts';
import type { Network } from './network.ts';
import type { SeenByRuns } from './provenance.ts';
import type { SecretSet } from './scrub.ts';

/** Which Temporal activity this is, and how it reports. */
export interface CallInfo {
  readonly workflowId: string;
  readonly temporalRun: string;
  /** Temporal's attempt, from 1. */
  readonly attempt: number;
  /** Cancelled by a person, or the worker ends now. Not: an attempt that Temporal has given up while it lives here. */
  readonly cancelled: AbortSignal;
  /** With what a tool reports of its progress. */
  readonly heartbeat: (progress?: Json) => void;
  /** Tells a run that more is known of one of its calls. @throws when Temporal is away */
  readonly tell: (workflowId: string, call: string) => Promise<void>;
}

/** What one worker shares between calls. */
export interface CallShared {
  readonly deps: Deps;
  readonly grants: Grants;
  readonly tools: ReadonlyMap<string, Tool>;
  readonly secrets: SecretSet;
  readonly network: Network;
  /** What runs have seen, for provenance. */
  readonly seen: SeenByRuns;
  /** Tools that prove a kind, for hints. */
  readonly provers: (kind: string) => readonly string[];
}

/** Everything known of a call once it was decided. */
export interface Prepared {
  readonly tool: Tool;
  readonly grant: Grant;
  readonly frame: CallFrame;
  readonly args: JsonObject;
  /** The set that decides this call. */
  readonly policy: PolicyEngine;
  readonly claim: ClaimRequest;
  readonly idempotencyKey: string;
  /** Where the arguments came from; absent on a later attempt, which has not judged them. */
  readonly provenance?: Provenance;
}
