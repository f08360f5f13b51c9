/** A request that belongs to no run: one activity checks it and carries it out, its answer is the workflow's result. */
import { ApplicationFailure } from '@temporalio/workflow';
import type { FreezeInput, FreezeResult } from '../activities/types.ts';
import { freezing } from './proxies.ts';

/** Sets or lifts a freeze. Its workflow id comes from `commandIdOf` (workflows/ids.ts). */
export async function command(input: FreezeInput): Promise<FreezeResult> {
  if ((input as Partial<FreezeInput> | null | undefined)?.v !== 1) {
    throw ApplicationFailure.create({
      message: 'the input of this workflow cannot be read',
      type: 'ARGUMENTS_INVALID',
      nonRetryable: true,
    });
  }
  return freezing.changeFreeze(input);
}
