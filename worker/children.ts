/**
 * Child processes that can be ended later by somebody else: each in a process group of its own, known by pid and start
 * time, so that a pid that was given to a stranger meanwhile is never touched.
 */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, renameSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const IS_WINDOWS = process.platform === 'win32';
const MAX_LOG_BYTES = 10 * 1024 * 1024;

/** Enough to find a process again, and to be sure it is the same one. */
export interface ProcessRef {
  readonly pid: number;
  /** As the system reports it, opaque; empty where it cannot be read. */
  readonly startTime: string;
}

/** A running child. */
export interface Child extends ProcessRef {
  readonly name: string;
  /** Resolves with the exit code or the signal's name; never rejects. */
  readonly exited: Promise<number | string>;
  /** Set once it has ended. */
  readonly ended: () => boolean;
  /** Sends `signal`, and SIGKILL to the whole group after `graceMs`. Resolves when it is gone. */
  stop(options?: { readonly signal?: NodeJS.Signals; readonly graceMs?: number }): Promise<void>;
}

/** How to start a child. Output goes to `logFile`. */
export interface ChildOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly logFile: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Opens a channel: the child may `process.send`, and learns by `disconnect` that we are gone. */
  readonly onMessage?: (message: unknown) => void;
}

/** Starts a child; rejects with the system's error when it cannot be started. */
export async function startChild(options: ChildOptions): Promise<Child> {
  rotate(options.logFile);
  const log = openSync(options.logFile, 'a', 0o600);
  const process_ = spawn(options.command, [...options.args], {
    cwd: options.cwd,
    env: options.env,
    detached: !IS_WINDOWS,
    windowsHide: true,
    stdio: ['ignore', log, log, ...(options.onMessage ? ['ipc' as const] : [])],
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.gid }),
  });
  closeSync(log);
  if (options.onMessage) process_.on('message', options.onMessage);
  let over = false;
  const exited = new Promise<number | string>((resolve) => {
    process_.once('exit', (code, signal) => {
      over = true;
      resolve(code ?? signal ?? 'unknown');
    });
  });
  await new Promise<void>((resolve, reject) => {
    process_.once('spawn', resolve);
    process_.once('error', reject);
  });
  const pid = process_.pid as number;
  const ref: ProcessRef = { pid, startTime: startTimeOf(pid) ?? '' };
  return {
    ...ref,
    name: options.name,
    exited,
    ended: () => over,
    async stop({ signal = 'SIGTERM', graceMs = 10_000 } = {}) {
      if (over) return;
      send(pid, signal);
      const timer = new AbortController();
      const late = sleep(graceMs, 'late' as const, { signal: timer.signal }).catch(() => 'done' as const);
      if ((await Promise.race([exited, late])) === 'late') sendGroup(pid, 'SIGKILL');
      timer.abort();
      await exited;
    },
  };
}

/** Ends a process that somebody else started. Does nothing when it is gone or its pid belongs to another process now. */
export async function endProcess(ref: ProcessRef, signal: NodeJS.Signals = 'SIGTERM', graceMs = 10_000): Promise<void> {
  if (!isRunning(ref)) return;
  send(ref.pid, signal);
  for (let waited = 0; waited < graceMs; waited += 50) {
    if (!isRunning(ref)) return;
    await sleep(50);
  }
  if (isRunning(ref)) sendGroup(ref.pid, 'SIGKILL');
  for (let waited = 0; waited < 5_000 && isRunning(ref); waited += 50) await sleep(50);
}

/** Whether that very process runs: same pid, same start time, not a zombie. */
export function isRunning(ref: ProcessRef): boolean {
  const started = startTimeOf(ref.pid);
  if (started === undefined) return false;
  return ref.startTime === '' || started === '' || started === ref.startTime;
}

/** The process that runs now. */
export function thisProcess(): ProcessRef {
  return { pid: process.pid, startTime: startTimeOf(process.pid) ?? '' };
}

/** When a process started, as the system writes it; undefined: no such process (a zombie counts as none). */
export function startTimeOf(pid: number): string | undefined {
  if (!Number.isInteger(pid) || pid <= 1) return undefined;
  if (process.platform === 'linux') {
    try {
      // The name in brackets may contain spaces and brackets: count fields from its end (proc(5), state is field 3).
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
    } catch {
      return undefined;
    }
  }
  if (!IS_WINDOWS) return output('ps', ['-o', 'lstart=', '-p', String(pid)]) || undefined;
  try {
    process.kill(pid, 0);
    return '';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' ? '' : undefined;
  }
}

/** The command line of a process, where it can be read; else empty. */
export function commandOf(pid: number): string {
  try {
    if (process.platform === 'linux') return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return '';
  }
  return IS_WINDOWS ? '' : output('ps', ['-o', 'command=', '-p', String(pid)]);
}

const KEPT =
  /^(PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|TEMP|TMP|LANG|LC_\w+|TZ|XDG_\w+|SystemRoot|ComSpec|PATHEXT|APPDATA|LOCALAPPDATA|USERPROFILE|NUMBER_OF_PROCESSORS)$/i;

/** A clean environment for a child: no secrets, no addresses; plus what `extra` matches by name. */
export function cleanEnvironment(extra?: RegExp): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => KEPT.test(name) || extra?.test(name)));
}

function output(command: string, args: string[]): string {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return '';
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Already gone.
  }
}

function sendGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    if (IS_WINDOWS) execFileSync('taskkill', ['/pid', String(pid), '/t', '/f'], { stdio: 'ignore' });
    else process.kill(-pid, signal);
  } catch {
    send(pid, signal);
  }
}

function rotate(logFile: string): void {
  try {
    if (statSync(logFile).size > MAX_LOG_BYTES) renameSync(logFile, `${logFile}.1`);
  } catch {
    // No log yet.
  }
}
