/** Plain JSON: what may stand in a tool's arguments, in an output, in workflow state and in a ledger entry. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;

/** A plain JSON object. */
export interface JsonObject {
  readonly [key: string]: Json | undefined;
}
