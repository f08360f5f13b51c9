/** `actguard.scan.ts` beside a configuration: starts what a project's run needs (its receivers, say), and says what to run. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createJiti } from 'jiti';
import * as actguard from '../define/index.ts';
import { ActGuardError } from '../governance/errors.ts';
import type { Json } from '../governance/json.ts';

const NAMES = ['ts', 'mts', 'js', 'mjs'].map((extension) => `actguard.scan.${extension}`);

/** What the default export of the file answers. Everything has a default. */
export interface ScanPlan {
  /** The request that opens the agent's run. */
  readonly input?: string;
  readonly agent?: string;
  readonly calls?: readonly { readonly tool: string; readonly args: Json }[];
  /** The environment's values are the canaries: a receiver checks them. */
  readonly ownValues?: boolean;
  /** Set before the configuration is loaded. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly stop?: () => Promise<void> | void;
}

/** A plan that was prepared; `end` stops what it started. */
export interface Prepared {
  readonly plan: ScanPlan;
  end(): Promise<void>;
}

/** Runs the file beside a configuration; without one the plan is empty. @throws CONFIG_INVALID where it does not run */
export async function prepareScan(configFile: string): Promise<Prepared> {
  const file = NAMES.map((name) => join(dirname(configFile), name)).find((path) => existsSync(path));
  if (file === undefined) return { plan: {}, end: () => Promise.resolve() };
  const folder = mkdtempSync(join(tmpdir(), 'actguard-scan-plan-'));
  const clean = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    const plan = await planOf(file, folder);
    return {
      plan,
      async end() {
        await plan.stop?.();
        clean();
      },
    };
  } catch (cause) {
    clean();
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ActGuardError('CONFIG_INVALID', `\`${file}\` prepares no scan: ${why}`, {
      hint: 'its default export is an async function that answers { input, environment, stop, … }',
      cause,
    });
  }
}

async function planOf(file: string, folder: string): Promise<ScanPlan> {
  const jiti = createJiti(file, { virtualModules: { actguard }, tsconfigPaths: true, fsCache: false });
  const prepare = await jiti.import(file, { default: true });
  if (typeof prepare !== 'function') throw new Error('it has no function as its default export');
  const plan: unknown = await (prepare as (place: { folder: string }) => unknown)({ folder });
  if (typeof plan !== 'object' || plan === null) throw new Error('it answers no plan');
  return plan;
}
