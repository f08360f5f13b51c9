/** Prices of a model, for reserving its worst case and for settling what was used (guards.md BU3, BU4). */

/** Micro-dollars per million tokens, integers. The dearest tier of the model. */
export interface ModelPrice {
  /** Which table and which version: stands in the entry. */
  readonly version: string;
  readonly inputMicrosPerMTok: number;
  readonly cachedInputMicrosPerMTok: number;
  readonly cacheWriteMicrosPerMTok: number;
  readonly outputMicrosPerMTok: number;
}
