/** A budget guard needs no tool and no agent. */
import { defineConfig } from 'actguard';

export default defineConfig({ tools: [], agents: [], policies: './policies', budgets: { run: { usd: 1 } } });
