import { existsSync } from 'node:fs';
import { defineConfig } from 'vitest/config';
import { recorded } from './test/support/record-decisions.mjs';

const globalSetup = './test/support/global-setup.ts';

/** The tests of every landing: they start Temporal and Postgres once, in globalSetup. */
export default defineConfig({
  plugins: [{ name: 'record-decisions', transform: recorded }],
  resolve: { conditions: ['actguard:source'] },
  ssr: { resolve: { conditions: ['actguard:source'] } },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/long/**', '**/node_modules/**'],
    environment: 'node',
    globals: false,
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 180_000,
    hookTimeout: 240_000,
    teardownTimeout: 600_000, // a second Cedar makes every decision again; the first time on a machine it is compiled
    ...(existsSync(new URL(globalSetup, import.meta.url)) ? { globalSetup: [globalSetup] } : {}),
  },
});
