/** Bundles the workflows into a file and ends: webpack's memory goes with the process. Usage: bundle-main OUT */
import { writeFileSync } from 'node:fs';
import { makeBundle } from './bundle.ts';

const [out] = process.argv.slice(2);
if (out === undefined) throw new Error('say where the bundle goes');
const { code } = await makeBundle();
writeFileSync(out, code);
