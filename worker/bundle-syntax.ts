/**
 * The syntax that workflows run in: as it is written. Temporal's bundler writes classes, spread and private fields for engines of
 * 2017, which costs every task; a worker's Node has them. A published package is compiled before and needs none of it.
 */
import type { BundleOptions } from '@temporalio/worker';

type Configuration = Parameters<NonNullable<BundleOptions['webpackConfigHook']>>[0];

/** For `webpackConfigHook`: swc takes types out and leaves the rest. */
export function keepSyntax(config: Configuration): Configuration {
  for (const rule of config.module?.rules ?? []) {
    const use = typeof rule === 'object' && rule !== null ? rule.use : undefined;
    if (typeof use !== 'object' || Array.isArray(use) || typeof use.options !== 'object') continue;
    const { jsc } = use.options as { jsc?: { target?: string } };
    if (jsc) jsc.target = 'es2022';
  }
  return config;
}
