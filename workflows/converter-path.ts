/** Where the payload converter lies: client, worker, replay and bundle load the same one by this path. */
import { fileURLToPath } from 'node:url';

const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';

/** The file of the payload converter: for `dataConverter` of clients and workers, and for a bundle. */
export const payloadConverterPath: string = fileURLToPath(new URL(`./payload-converter.${extension}`, import.meta.url));
