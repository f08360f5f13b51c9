/**
 * The failure converter of the workflows' bundle, and of client and worker where payloads are encrypted: message and
 * stack of a failure travel as a payload, so that they are encrypted like every other (design, Temporal, visible).
 */
import { DefaultFailureConverter } from '@temporalio/common';

/** Loaded by name from `failureConverterPath`. */
export const failureConverter = new DefaultFailureConverter({ encodeCommonAttributes: true });
