/** The workflows' bundle: prebuilt in a published package, made at start in a checkout (about 3 s). */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, type WorkflowBundle } from '@temporalio/worker';
import { payloadConverterPath } from '../workflows/converter-path.ts';

const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';

const workflowsPath = fileURLToPath(new URL(`../workflows/index.${extension}`, import.meta.url));
const prebuilt = fileURLToPath(new URL('../workflow-bundle.js', import.meta.url));

/** The bundle a worker runs. */
export async function bundleWorkflows(): Promise<WorkflowBundle> {
  if (extension === 'js' && existsSync(prebuilt)) return { codePath: prebuilt } as unknown as WorkflowBundle;
  return makeBundle();
}

/** Bundles the workflows now. */
export function makeBundle(): Promise<WorkflowBundle> {
  return bundleWorkflowCode({
    workflowsPath,
    payloadConverterPath,
    logger: {
      log: quiet,
      trace: quiet,
      debug: quiet,
      info: quiet,
      warn: quiet,
      error: (message: string) => process.stderr.write(`${message}\n`),
    },
  });
}

function quiet(): void {}
