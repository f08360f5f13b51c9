/** The workflows' bundle: prebuilt in a published package, made at start in a checkout (about 3 s). */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { bundleWorkflowCode, type WorkflowBundleOption, type WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { failureConverterPath, payloadConverterPath } from '../workflows/converter-path.ts';
import { keepSyntax } from './bundle-syntax.ts';

const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));
const prebuilt = path('../workflow-bundle.js');

/** A bundle to run, and what to do once it is loaded. */
export interface LoadableBundle {
  readonly bundle: WorkflowBundleOption;
  readonly loaded: () => void;
}

/** The bundle a worker runs. Made in a process of its own where it has to be made: webpack's memory goes with it. */
export async function bundleWorkflows(): Promise<LoadableBundle> {
  if (extension === 'js' && existsSync(prebuilt)) return { bundle: { codePath: prebuilt }, loaded: () => undefined };
  const folder = mkdtempSync(join(tmpdir(), 'actguard-bundle-'));
  const codePath = join(folder, 'workflow-bundle.js');
  try {
    await promisify(execFile)(process.execPath, [...process.execArgv, path(`./bundle-main.${extension}`), codePath]);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  return { bundle: { codePath }, loaded: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Bundles the workflows now, in this process. */
export function makeBundle(): Promise<WorkflowBundleWithSourceMap> {
  return bundleWorkflowCode({
    workflowsPath: path(`../workflows/index.${extension}`),
    payloadConverterPath,
    failureConverterPath,
    webpackConfigHook: keepSyntax,
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
