/** `npm run bench -- policy`: what a decision and its guards cost, part by part. */
import { benchProvenance } from './provenance.ts';

export async function benchPolicy(): Promise<object> {
  return { ...(await benchProvenance()) };
}
