/** `npm start`: the payment service, the recorded model (unless `--real-model`), and `actguard dev` around the refund desk. */
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { startWorld, worldEnvironment } from './world.ts';

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));
const words = process.argv.slice(2);
const realModel = words.includes('--real-model');
mkdirSync('.actguard', { recursive: true });
const world = await startWorld('.actguard/refund-desk-books');
const { ACTGUARD_MODEL_REPLAY_URL: replay, ...environment } = worldEnvironment(world);
process.stderr.write(
  realModel
    ? 'the model is a real one: OPENAI_API_KEY is used, and calls cost money\n'
    : 'the model is a recording: it knows a few requests and needs no key (a real one: npm start -- --real-model)\n',
);
const args = [
  path('../../bin/actguard.mjs'),
  'dev',
  '--config',
  path('./actguard.config.ts'),
  ...words.filter((w) => w !== '--real-model'),
];
const dev = spawn(process.execPath, args, {
  env: { ...process.env, ...environment, ...(realModel ? {} : { ACTGUARD_MODEL_REPLAY_URL: replay }) },
  stdio: 'inherit',
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => dev.kill(signal));
dev.on('exit', (code) => {
  void world.stop().then(() => process.exit(code ?? 1));
});
