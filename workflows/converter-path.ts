/** Where the converters lie: client, worker, replay and bundle load the same ones by these paths. */
import { fileURLToPath } from 'node:url';

const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const path = (name: string): string => fileURLToPath(new URL(`./${name}.${extension}`, import.meta.url));

/** The file of the payload converter: for `dataConverter` of clients and workers, and for a bundle. */
export const payloadConverterPath: string = path('payload-converter');
/** The file of the failure converter: for a bundle, and for `dataConverter` where payloads are encrypted. */
export const failureConverterPath: string = path('failure-converter');
