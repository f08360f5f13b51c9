import { defineConfig, mergeConfig } from 'vitest/config';
import base from './vitest.config.ts';

/** Faults, races and long runs: `npm run test:long`, one file at a time. */
const long = mergeConfig(base, defineConfig({ test: { testTimeout: 600_000, hookTimeout: 300_000, maxWorkers: 1 } }));
long.test = { ...long.test, include: ['test/long/**/*.test.ts'], exclude: ['**/node_modules/**'] };

export default long;
