/** Finds a Chromium for `npm run demo -- --browser`: named, installed, or the one of the development dependencies. */
import { accessSync, constants } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome', 'chrome'];
const PLACES = [
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

/** What to do where none is found. */
export const NO_CHROMIUM = `  looked at ACTGUARD_CHROMIUM, then for ${NAMES.join(', ')} on the PATH, then in node_modules
  Debian, Ubuntu   apt-get install chromium
  macOS            brew install --cask chromium
  any Linux x64    npm ci (with development dependencies)
  elsewhere        ACTGUARD_CHROMIUM=/path/to/chromium npm run demo -- --browser
without a browser: npm run demo (the approval is signed with a key file)`;

/** The path of a Chromium; null: there is none. One that is named and is not there is not replaced by another. */
export async function findChromium(env: NodeJS.ProcessEnv): Promise<string | null> {
  const named = env['ACTGUARD_CHROMIUM'];
  if (named) return runs(named) ? named : null;
  const folders = (env['PATH'] ?? '').split(delimiter).filter(isAbsolute);
  const installed = NAMES.flatMap((name) => folders.map((folder) => join(folder, name)));
  const found = [...installed, ...PLACES].find(runs);
  if (found) return found;
  if (process.platform !== 'linux' || process.arch !== 'x64') return null;
  try {
    return await (await import('@sparticuz/chromium')).default.executablePath();
  } catch {
    return null;
  }
}

function runs(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
