/** What `actguard init` writes: one function a file, each returns its text. */

/** A first `actguard.config.ts`: a tool that reads, a tool that writes, an agent that may use both. */
export function configFile(): string {
  return `import { defineAgent, defineConfig, defineTool } from 'actguard';
import { z } from 'zod';

// A tool that only reads, inside the house: the policy lets it run without asking.
const findNote = defineTool({
  name: 'notes.find',
  description: 'Find a note by its number',
  effect: 'read',
  reach: 'internal',
  inputSchema: z.strictObject({ id: z.string() }),
  outputSchema: z.object({ id: z.string(), text: z.string() }),
  execute: async ({ id }) => ({ id, text: 'hello' }), // your function
});

// A tool that changes something: the policy asks a person first.
const saveNote = defineTool({
  name: 'notes.save',
  description: 'Save a note',
  effect: 'write',
  inputSchema: z.strictObject({ id: z.string(), text: z.string() }),
  idempotency: { key: ({ id }) => \`note:\${id}\` }, // the same key twice is the same effect: it happens once
  execute: async ({ id }) => ({ saved: id }), // your function
});

export default defineConfig({
  tools: [findNote, saveNote],
  agents: [defineAgent({ name: 'assistant', tools: [findNote, saveNote] })],
  policies: './policies',
});
`;
}

/** A first policy: internal reads run, writes run after a person's yes, everything else is denied. */
export function policyFile(): string {
  return `// What no policy permits is denied. Check this folder with: npx actguard policy check

// Reads inside the house are free.
@id("internal-reads")
permit (principal, action, resource)
when { resource.effect == "read" && resource.reach == "internal" };

// Writes are permitted …
@id("writes")
permit (principal, action, resource)
when { resource.effect == "write" };

// … but somebody with the role "owner" has to say yes to each. Narrow the \`when\` to ask less often.
@id("writes-ask")
@gate("approval")
@roles("owner")
@quorum("1")
forbid (principal, action, resource)
when { resource.effect == "write" }
unless { context.approved.contains(Gate::"writes-ask") };
`;
}

/** What to append to a `.gitignore` with this text; empty: nothing is missing. */
export function ignoreLines(present: string): string {
  const has = new Set(present.split(/\r?\n/).map((line) => line.trim().replace(/^\/|\/$/g, '')));
  const missing = ['.actguard', 'node_modules'].filter((name) => !has.has(name)).map((name) => `${name}/\n`);
  if (missing.length === 0) return '';
  return `${present === '' || present.endsWith('\n') ? '' : '\n'}${missing.join('')}`;
}
