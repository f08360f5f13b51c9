/** What activities need from the outside; the worker's composition root makes it (worker/worker.ts). */
import type { SecretOwner } from '../define/secret-types.ts';
import type { Config } from '../define/types.ts';
import type { Fact, LiveFact, Limit, Principal } from '../governance/call.ts';
import type { Decision } from '../governance/decision.ts';
import type { Json, JsonObject } from '../governance/json.ts';
import type { Provenance } from '../governance/provenance.ts';
import type { ToolManifest } from '../governance/tool.ts';
import type { RelyingParty } from '../governance/webauthn.ts';
import type { ContentCipher } from './content.ts';
import type { PolicyStore } from './policy-store.ts';
import type { SecretSet } from './scrub.ts';

/** Postgres, one statement a round trip. Connection troubles surface as BACKEND_UNAVAILABLE. */
export interface Database {
  /** `name`: prepared once per connection under this name; for statements that every call runs. */
  query<R>(text: string, values?: readonly unknown[], name?: string): Promise<R[]>;
  /** A transaction on a connection of its own. */
  begin(): Promise<OpenTransaction>;
  end(): Promise<void>;
  /** How content is kept here: sealed before it is written, opened after it was read. */
  readonly content: ContentCipher;
}

/** A database as who reads content needs it. */
export type ContentDatabase = Pick<Database, 'query' | 'content'>;

/** An open transaction; ended once by either of its last two. */
export interface OpenTransaction {
  query<R>(text: string, values?: readonly unknown[], name?: string): Promise<R[]>;
  commit(): Promise<void>;
  rollback(): Promise<void>;
  readonly content: ContentCipher;
}

/** What a decision is made from. Money is in integer cents inside policies (design, Policies). */
export interface PolicyRequest {
  readonly principal: Principal;
  /** Groups of the user in its tenant; absent: none. */
  readonly groups?: readonly string[];
  /** What the deployment knows of the user (`users` of the configuration); absent: nothing. */
  readonly attributes?: JsonObject;
  readonly run: string;
  readonly tool: ToolManifest;
  /** Canonical arguments: the parse of what was asked for. */
  readonly args: Json;
  readonly facts: readonly (Fact | LiveFact)[];
  /** Where the arguments came from; absent: nothing is judged. */
  readonly provenance?: Provenance;
  readonly left: Limit;
  readonly callsSoFar: number;
  /** The model that the agent thinks with, where the configuration names it. */
  readonly model?: string;
  readonly nowMs: number;
  /** When the run was opened; absent: now. */
  readonly openedAtMs?: number;
  /** Gates with a valid yes. */
  readonly approved: readonly string[];
}

/** The active policy set. Deciding never throws: what goes wrong is a deny with POLICY_ERROR. */
export interface PolicyEngine {
  /** SHA-256 (hex) of the set: stands in entries. */
  readonly digest: string;
  decide(request: PolicyRequest): Decision;
  /** Whether the set speaks of model calls; absent: it does not, and they are not asked about. */
  readonly judgesModels?: boolean;
  /** Gate id -> SHA-256 of its policy text and annotations, with who may answer. */
  gate(id: string): PolicyGate | undefined;
  /** It was activated in the database; absent: it comes from the worker's files. */
  readonly activated?: true;
}

/** A forbid that an approval lifts. */
export interface PolicyGate {
  readonly id: string;
  readonly sha256: string;
  readonly roles: readonly string[];
  readonly quorum: number;
  /** The kind of key that counts: any, or a passkey (`@key("webauthn")`). Default: any. */
  readonly key?: 'any' | 'webauthn';
  readonly text: string;
}

/** Secrets, read at the moment of use. */
export interface SecretSource {
  /** undefined: there is none. @throws BACKEND_UNAVAILABLE while its source is away */
  read(name: string, env: string, owner?: SecretOwner): Promise<string | undefined>;
}

/** Sends a mail; throws when it cannot. */
export interface Mailer {
  send(mail: Mail): Promise<void>;
}

/** A mail; header values are one line each. */
export interface Mail {
  readonly to: readonly string[];
  readonly subject: string;
  readonly text: string;
  readonly html: string;
  readonly messageId: string;
  /** The Message-ID of the mail that this one follows. */
  readonly inReplyTo?: string;
  /** The thread, first mail first; default: the one that this follows. */
  readonly references?: readonly string[];
}

/** Everything that `createActivities` needs. */
export interface Deps {
  readonly db: Database;
  readonly config: Config;
  /** The set that decides in a tenant now. */
  readonly policy: (tenant: string) => PolicyEngine;
  /** The database's time (clock.ts); absent: this process's clock. */
  readonly now?: () => number;
  /** Absent: `policy` never changes. */
  readonly policySets?: PolicyStore;
  readonly secrets: SecretSource;
  /** The worker's scrub set: every secret it resolves joins it. */
  readonly known: SecretSet;
  readonly mailer: Mailer | null;
  /** Fingerprints (SHA-256 hex) of the administrators' keys. */
  readonly roots: readonly string[];
  /** Where passkeys count: the approval page; absent or null: nowhere. */
  readonly passkeys?: RelyingParty | null;
  /** Whether this is a dev stack: dev keys count only here, and entries say so. */
  readonly dev: boolean;
  /** Where each provider is reached, with its key; null: no key. */
  readonly models: ModelGateway;
  readonly log: (level: 'info' | 'warn' | 'error', message: string, data?: Json) => void;
}

/** One model call, the provider's own retries off. */
export interface ModelGateway {
  generate(request: ModelRequest): Promise<ModelResponse>;
  /** Bytes of the request as it would be sent. */
  measure(
    request: Omit<ModelRequest, 'maxOutputTokens' | 'signal' | 'maxPromptBytes'>,
  ): Promise<{ bytes: number; messages: number }>;
}

export interface ModelRequest {
  /** `openai/gpt-5-mini` */
  readonly model: string;
  readonly instructions: string;
  readonly tools: readonly { readonly name: string; readonly description: string; readonly inputJsonSchema: Json }[];
  readonly messages: readonly TranscriptMessage[];
  readonly maxOutputTokens: number;
  /** The serialised request may not be larger: refused before it is sent. */
  readonly maxPromptBytes: number;
  readonly signal: AbortSignal;
  /** Set: the answer is streamed, and its text told as it comes, as it is: not scrubbed. */
  readonly onText?: (more: string) => void;
}

export interface ModelResponse {
  readonly text: string;
  readonly toolCalls: readonly {
    readonly id: string;
    readonly toolName: string;
    readonly args: Json;
    readonly invalid?: string;
  }[];
  readonly usage: {
    readonly inputTokens: number;
    readonly cachedInputTokens: number;
    readonly cacheWriteTokens: number;
    readonly outputTokens: number;
    readonly reasoningTokens: number;
  } | null;
}

/** A message of a run's transcript, provider-neutral. */
export type TranscriptMessage =
  | { readonly role: 'user'; readonly text: string }
  | {
      readonly role: 'assistant';
      readonly text: string;
      readonly toolCalls: readonly { readonly id: string; readonly toolName: string; readonly args: Json }[];
    }
  | { readonly role: 'tool'; readonly id: string; readonly toolName: string; readonly value: Json };
