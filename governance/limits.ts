/** Every number in one place, with its reason. Bytes are UTF-8 bytes, times are milliseconds. */

/** A tool's name: it must fit a model's function name (64) with room for a prefix. */
export const MAX_TOOL_NAME_CHARS = 60;
/** Tools of one agent: models get worse beyond this, and the manifest is an activity result. */
export const MAX_TOOLS = 128;
/** Canonical arguments of one call: they stand in workflow history. */
export const MAX_ARGUMENT_BYTES = 64 * 1024;
/** Nesting of arguments and outputs: deeper is an attack on parsers. */
export const MAX_JSON_DEPTH = 64;
/** Values in one JSON document: more than MAX_OUTPUT_BYTES can hold; stops shared references that unfold for ever. */
export const MAX_JSON_VALUES = 1_000_000;
/** A commitment's salt: 128 bits cannot be guessed. */
export const MIN_SALT_BYTES = 16;
/** A tool's output as it is kept. */
export const MAX_OUTPUT_BYTES = 1024 * 1024;
/** A tool's output as a model sees it, or as it stands in workflow history. */
export const MAX_INLINE_OUTPUT_BYTES = 64 * 1024;
/** A tool's own idempotency key: it becomes a header. */
export const MAX_EFFECT_KEY_BYTES = 512;
/** The user's request that opens a run. */
export const MAX_INPUT_BYTES = 64 * 1024;
/** An approval request: an approver reads it (trust.md). */
export const MAX_APPROVAL_REQUEST_BYTES = 64 * 1024;
/** A signal: larger ones are dropped and counted (trust.md). */
export const MAX_SIGNAL_BYTES = 16 * 1024;
/** Rejected answers for one ask before further ones start no activity (trust.md). */
export const MAX_REJECTED_ANSWERS = 20;
/** Open asks of one run (trust.md). */
export const MAX_OPEN_ASKS = 5;
/** Asks that one approver gets within an hour, unless the configuration says otherwise (trust.md). */
export const MAX_ASKS_PER_HOUR = 20;
/** Messages that wait to be applied in one run. */
export const MAX_INBOX = 1_000;
/** Calls of one session that may be under way (Temporal refuses more than 10 Updates in flight). */
export const MAX_CALLS_IN_FLIGHT = 8;
/** Reservations and settlements of one session in flight: the two places that its calls leave free. */
export const MAX_RESERVING_IN_FLIGHT = 2;
/** How soon a run looks again while something beyond it is frozen: each look is an activity and an entry. */
export const FIRST_THAW_PAUSE_MS = 30_000;
/** … and at the most: a thaw of a tenant is noticed within this. */
export const MAX_THAW_PAUSE_MS = 10 * 60_000;
/** How often a turn's text is written down for those who read along: quick enough to read, four small writes a second. */
export const LIVE_TEXT_MS = 250;
/** Who has not looked for this long does not read along any more. */
export const WATCH_MS = 15_000;
/** Bytes of a streamed request that are not in one that is answered at once: `stream`, `stream_options`. No prompt. */
export const STREAM_FIELDS_BYTES = 64;
/** How long an Update waits for a result before it answers `pending`. */
export const SESSION_ANSWER_MS = 20_000;
/** A model call reserved and made elsewhere is paid in full after this: MODEL_TIMEOUT_MS, and five minutes to report. */
export const RESERVATION_LEASE_MS = 15 * 60_000;
/** Reservations of one session that nobody has settled: what a caller that vanishes can leave behind. */
export const MAX_OPEN_RESERVATIONS = 100;
/** Prices that a session remembers: more models than any agent uses. */
export const MAX_SESSION_PRICES = 100;
/** A model's name, `provider/name`. */
export const MAX_MODEL_NAME_CHARS = 200;
/** Messages of one model call: each adds framing to its worst case. */
export const MAX_MODEL_MESSAGES = 100_000;
/** A session without calls ends after this. */
export const SESSION_IDLE_MS = 24 * 60 * 60 * 1000;
/** Calls whose results a session knows; earlier ones are read from the database again. */
export const MAX_SESSION_CALLS = 1_000;
/** Results that a session keeps in its state, all together: the state has to fit one payload (2 MB). */
export const MAX_SESSION_RESULT_BYTES = 512 * 1024;
/** An ask that nobody answers. */
export const APPROVAL_TTL_MS = 24 * 60 * 60 * 1000;
/** Turns of an agent unless it says otherwise. */
export const DEFAULT_MAX_TURNS = 40;
/** A run's deadline unless it says otherwise. */
export const DEFAULT_DEADLINE_MS = 7 * 24 * 60 * 60 * 1000;
/** A claim's lease on the database's clock; a dead worker's call is taken over within 15 s. */
export const LEASE_MS = 10_000;
/** How often a claim's lease is renewed while its tool runs. */
export const LEASE_RENEW_MS = 3_000;
/** Temporal's heartbeat timeout for a governed call. */
export const HEARTBEAT_TIMEOUT_MS = 10_000;
/** A tool's timeout unless it says otherwise. */
export const DEFAULT_TIMEOUT_MS = 30_000;
/** After the last possible send, "not there" becomes "will never be" (design, Unknown outcomes). */
export const DEFAULT_SETTLES_WITHIN_MS = 5 * 60_000;
/** An unknown outcome is asked for again after this, then after twice as long each time. */
export const FIRST_ASK_MS = 2_000;
/** The longest pause between two asks: a receiver that is down for a day is asked some 300 times. */
export const LONGEST_ASK_MS = 5 * 60_000;
/** While a call with an unknown outcome is frozen, nobody is asked: whether it still is, is looked at after this. */
export const FROZEN_ASK_MS = 60_000;
/** How often the janitor looks. */
export const JANITOR_EVERY_MS = 30_000;
/** Rounds of one janitor before it continues as new: some 1,500 history events. */
export const JANITOR_ROUNDS = 100;
/** What one round takes of each kind: its activity has a minute; what is left comes with the next round. */
export const JANITOR_BATCH = 50;
/** A claim that ran out so long ago was not taken over by Temporal's next attempt (15 s): nobody looks after it. */
export const CLAIM_GRACE_MS = 20_000;
/** How often an open run is compared with Temporal: a terminated one is found within about two minutes. */
export const RUN_CHECK_MS = 60_000;
/** An outcome that the database does not take is written again for so long while heartbeats hold the call. */
export const OUTCOME_AGAIN_WITHIN_MS = 5 * 60_000;
/** What a tool reports of its progress: it travels with heartbeats. */
export const MAX_PROGRESS_BYTES = 4 * 1024;
/** Facts live this long unless the tool says otherwise. */
export const DEFAULT_FACT_TTL_MS = 5 * 60_000;
/** Facts of one call unless the tool says otherwise. */
export const DEFAULT_FACTS_MAX = 200;
/** Facts a run keeps in its state; the oldest to expire go first. */
export const MAX_FACTS_PER_RUN = 1_000;
/** Denials that a run's result lists. */
export const MAX_LISTED_DENIALS = 50;
/** A secret shorter than this cannot be scrubbed without hurting harmless text (trust.md). */
export const MIN_SECRET_BYTES = 12;
/** Output tokens that a model call asks for at most, unless the agent says otherwise. */
export const DEFAULT_MAX_OUTPUT_TOKENS = 4_096;
/** Fewer output tokens than this are no answer: the call is refused instead. */
export const MIN_OUTPUT_TOKENS = 16;
/** Tokens added per message for the provider's own framing (BU3). */
export const TOKENS_PER_MESSAGE_OVERHEAD = 16;
/** Tokens added per request for the provider's own framing (BU3). */
export const TOKENS_PER_REQUEST_OVERHEAD = 64;
/** Some providers put a prompt of their own before tools (a few hundred tokens): more than the largest that is documented. */
export const TOKENS_PER_TOOL_PROMPT = 1_024;
/** Longest pause of a call that waits for others' reservations, unless the configuration says otherwise (`budgetWait`). */
export const DEFAULT_BUDGET_WAIT_MS = 30_000;
/** First pause of such a call: most calls that hold a reservation are shorter. */
export const FIRST_BUDGET_WAIT_MS = 1_000;
/** How long a session's `reserve` waits for others' reservations: somebody's request hangs on it. */
export const RESERVE_WAIT_MS = 20_000;
/** A claim whose lease ended this long ago has no worker any more: takeover has had its chance (LEASE_MS, heartbeats). */
export const DEAD_CALL_GRACE_MS = 15_000;
/** A model call that started this long ago is over: MODEL_TIMEOUT_MS, and the slack that its activity has (proxies.ts). */
export const DEAD_MODEL_CALL_MS = 16 * 60_000;
/** Dead calls that one round settles: a transaction stays short, the next round goes on. */
export const MAX_DEAD_CALLS = 500;
/** Labels that a configuration may limit: each is looked at by every priced call of its tenant. */
export const MAX_LABELS = 50;
/** Rows of a report of what was spent. */
export const MAX_REPORT_ROWS = 1_000;
/** A run that waits for an account asks again after this, should the word of its change have been lost. */
export const ACCOUNT_RECHECK_MS = 10 * 60_000;
/** A run continues as new after this many history events even if Temporal does not suggest it yet. */
export const CONTINUE_AS_NEW_EVENTS = 10_000;
/** Attempts of a call that may be repeated (guards.md, retry). */
export const DEFAULT_RETRY_ATTEMPTS = 3;
/** Attempts that a tool may ask for: more is a loop, not a retry. */
export const MAX_RETRY_ATTEMPTS = 100;
/** First pause between attempts. */
export const DEFAULT_RETRY_INITIAL_MS = 1_000;
/** Each pause is this many times the one before. */
export const DEFAULT_RETRY_COEFFICIENT = 2;
/** Longest pause between attempts. */
export const DEFAULT_RETRY_MAXIMUM_MS = 30_000;
/** Failures in a row that open a breaker unless the tool says otherwise. */
export const DEFAULT_BREAKER_MAX_FAILS = 3;
/** How long an open breaker stays open unless the tool says otherwise. */
export const DEFAULT_BREAKER_RESET_MS = 60_000;
/** Answers that say for certain that a write did not happen (guards.md EX4). */
export const DEFAULT_DEFINITE_STATUSES: readonly number[] = [400, 401, 403, 404, 405, 410, 415, 422];
/** A tool's description: every model call pays for it. */
export const MAX_DESCRIPTION_CHARS = 4_000;
/** Names that people give: breakers, fact kinds, agents. */
export const MAX_NAME_CHARS = 60;
/** Issues that ARGUMENTS_INVALID lists; a hostile input can have thousands. */
export const MAX_LISTED_ISSUES = 20;
/** Signatures of one envelope: an enrolment has two, an approval one; more is work for nothing. */
export const MAX_ENVELOPE_SIGNATURES = 8;
/** A passkey's client data: a challenge, an origin, a few flags; browsers write about 150 bytes. */
export const MAX_CLIENT_DATA_BYTES = 1024;
/** A passkey's signature: RSA of 4096 bits is the largest kind that is accepted. */
export const MAX_PASSKEY_SIGNATURE_BYTES = 512;
/** A passkey's public key as COSE: RSA of 4096 bits and its framing. */
export const MAX_PASSKEY_KEY_BYTES = 600;
/** A credential id (WebAuthn allows 1023 bytes; it stands in an enrolment). */
export const MAX_CREDENTIAL_ID_BYTES = 1023;
/** A sign-in on the approval page lasts a working day at most; every answer is signed anew anyway. */
export const PAGE_SESSION_MS = 8 * 60 * 60 * 1000;
/** A sign-in's nonce is good for this long: a person looks for their passkey. */
export const SIGN_IN_NONCE_MS = 5 * 60_000;
/** An invitation's link. */
export const INVITATION_MS = 3 * 24 * 60 * 60 * 1000;
/** Bodies of requests to the approval page: an envelope and its framing, or a new passkey. */
export const MAX_PAGE_BODY_BYTES = 32 * 1024;
/** Requests a minute from one address, an office behind one maybe; live pages look again after every change. */
export const MAX_PAGE_REQUESTS_PER_MINUTE = 1_200;
/** Answers, sign-ins and invitations a minute from one address: each costs a signature check. */
export const MAX_PAGE_SIGNATURES_PER_MINUTE = 60;
/** Pages of one gateway that are kept up to date at the same time. */
export const MAX_LIVE_PAGES = 500;
/** Links between a key and a root: root, administrator, administrator of a tenant, person. */
export const MAX_CHAIN_LINKS = 4;
/** An approval request as it is signed: its statement, in base64 with a signature, has to fit MAX_SIGNAL_BYTES. */
export const MAX_SIGNED_REQUEST_BYTES = 10 * 1024;
/** Gates that one ask answers. */
export const MAX_GATES_PER_ASK = 16;
/** Reasons that stand in one ask, and facts: MAX_SIGNED_REQUEST_BYTES is reached before. */
export const MAX_REASONS_PER_ASK = 32;
/** Characters of a name, a title or a reason inside signed statements. */
export const MAX_STATEMENT_TEXT_CHARS = 500;
/** A worker's clock may be off by this when it opens an ask; the database's clock decides everything after. */
export const MAX_ASK_CLOCK_SKEW_MS = 10 * 60_000;
/** A signed command is good for at most this long. */
export const MAX_COMMAND_LIFE_MS = 24 * 60 * 60 * 1000;
/** Tenant, user and agent ids: they stand in every entry and in search attributes. */
export const MAX_ID_CHARS = 128;
/** Durations: longer is a mistake in the unit. */
export const MAX_DURATION_MS = 10 * 366 * 24 * 60 * 60 * 1000;
/** Errors that are looked at behind one error: causes, responses, members of an AggregateError. */
export const MAX_CAUSES = 50;
/** Asks of one call: a gate that fires newly after a yes asks again once (trust.md). */
export const MAX_ASKS_PER_CALL = 2;
/** One policy file: a person reads it. */
export const MAX_POLICY_FILE_BYTES = 256 * 1024;
/** Policy files of one set. */
export const MAX_POLICY_FILES = 100;
/** Policies of one set: all of them are looked at on every call. */
export const MAX_POLICIES = 1_000;
/** Brackets and `if`s within each other in a policy: Cedar's parser runs out of stack near 150 and does not recover. */
export const MAX_POLICY_DEPTH = 32;
/** `if`, and arithmetic signs, of one policy; names in one chain of dots: near 300 Cedar runs out of stack. */
export const MAX_POLICY_CHAIN = 64;
/** Words and signs of one policy, for the same reason. */
export const MAX_POLICY_TOKENS = 4_000;
/** How long `users.find` of the configuration may take; opening a run waits for it. */
export const USER_LOOKUP_MS = 10_000;
/** One `like` pattern of a policy; arguments are up to 64 KB, and matching takes the product of both lengths. */
export const MAX_POLICY_PATTERN_CHARS = 1_000;
/** Freezes that may be set in a tenant within an hour without a signature: an incident needs a few, a flood fills the ledger. */
export const MAX_UNSIGNED_FREEZES_PER_HOUR = 60;
/** Cases of one file: more are another file. */
export const MAX_POLICY_CASES = 5_000;
/** Policy sets that a database keeps: enough for years of changes, and a loop that pushes ends somewhere. */
export const MAX_POLICY_SETS = 10_000;
/** Checked policy sets that a worker keeps in memory: those of its active tenants (a set of 50 policies: about 1 MB). */
export const MAX_LOADED_POLICY_SETS = 64;
/** How often a worker looks whether other policies are active; a claim finds it out at once. */
export const POLICY_POLL_MS = 2_000;
/** How often one call is decided anew because the policies changed before its claim; then it is tried later. */
export const MAX_POLICY_MOVES = 5;
/** Reasons why a set loosens that an entry lists. */
export const MAX_LISTED_LOOSENINGS = 20;
/** Policy sets that stay preparsed: Cedar forgets none (about 0.25 MB each), so their places are used again. */
export const MAX_PREPARSED_POLICY_SETS = 4;
/** A provider's answer as it is read: many times what any output cap allows. */
export const MAX_MODEL_RESPONSE_BYTES = 8 * 1024 * 1024;
/** A model's text as it stands in workflow history, and all arguments of one answer: with its calls it fits a payload. */
export const MAX_ANSWER_BYTES = 512 * 1024;
/** Tool calls that one answer may ask for; more are left out of the transcript as well. */
export const MAX_TOOL_CALLS_PER_ANSWER = 64;
/** One model call, long outputs included. */
export const MODEL_TIMEOUT_MS = 10 * 60_000;
/** More tokens than any model takes or gives: such a usage is not believed. */
export const MAX_BELIEVED_TOKENS = 100_000_000;
/** More micro-dollars than one model call is declared to cost beyond its tokens: a million dollars is a mistake. */
export const MAX_BELIEVED_MICROS = 1_000_000_000_000;
/** Uses of secrets (name, host, method) that one outcome's entry lists; a tool has a handful. */
export const MAX_SECRET_USES = 50;
/** Signals under an unknown key that one execution notes in its history, two events each: a key that is late comes soon. */
export const MAX_NOTED_UNDECODABLE = 50;
/** A secret's value stays in a worker's memory this long: a rotated one is used within it. */
export const SECRET_CACHE_MS = 5 * 60_000;
/** A token that a source made is not used in its last seconds: the receiver's clock may be ahead. */
export const TOKEN_MARGIN_MS = 30_000;
/** A source of secrets that does not answer within this is away. */
export const SECRET_SOURCE_TIMEOUT_MS = 5_000;
/** Values that a worker keeps at a time: tenants and users times their secrets. */
export const MAX_CACHED_SECRETS = 10_000;
/** An answer of a source of secrets, and the decrypted secrets file. */
export const MAX_SECRET_SOURCE_BYTES = 1024 * 1024;
/** A tool's error text as it is kept: a person reads it, and it stands in history. */
export const MAX_ERROR_CHARS = 2_000;
/** Telling beginnings of one text around which foreign secrets are looked for: the work stays linear. */
export const MAX_NET_EXCERPTS = 50;
/** Characters that are looked at from a telling beginning on: a private key in PEM fits. */
export const NET_EXCERPT_CHARS = 4_096;
/** A secret's value: keys in PEM fit. */
export const MAX_SECRET_BYTES = 16 * 1024;
/** A signed note: a checkpoint is 200 bytes, a signature line 150; the standard's own reader stops at a megabyte. */
export const MAX_NOTE_BYTES = 64 * 1024;
/** Signatures of one note: keys in rotation and witnesses; Go's reader stops at 100. */
export const MAX_NOTE_SIGNATURES = 100;
/** What a worker keeps of what runs have seen (hashes); the longest unused is read again when it is needed. */
export const MAX_SEEN_BYTES = 64 * 1024 * 1024;
/** How often waiting entries are sealed: a checkpoint is at most this old, plus the time to make it. */
export const SEAL_EVERY_MS = 1_000;
/** How long one sealing activity seals: an activity a second would fill the history, one for ever could not be replaced. */
export const SEAL_FOR_MS = 60_000;
/** Entries of one seal: about 1 MB of hashes and half a second of work; more are sealed at once after it. */
export const MAX_SEAL_BATCH = 10_000;
/** Sealing activities of one workflow run: about half a day, far below the limits of a history. */
export const SEALS_PER_RUN = 700;
/** A witness answers within this or is left behind until the next seal. */
export const WITNESS_TIMEOUT_MS = 5_000;
/** One request to the codec server: a page of a history, whose payloads are at most 2 MB each. */
export const MAX_CODEC_BODY_BYTES = 16 * 1024 * 1024;
/** Payloads of one request to the codec server. */
export const MAX_CODEC_PAYLOADS = 10_000;
/** Tags of one tool: they stand in every decision about it. */
export const MAX_TOOL_TAGS = 16;
/** Groups of a run's user that policies see: more is a mistake in the directory, and each stands in every decision. */
export const MAX_USER_GROUPS = 64;
