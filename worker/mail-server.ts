/** A mail inbox for the dev stack: takes every mail on loopback and keeps it as a file. */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { ActGuardError } from '../governance/errors.ts';

const MAX_MAIL_BYTES = 1024 * 1024;

/** A running inbox. */
export interface MailServer {
  /** `smtp://127.0.0.1:port` */
  readonly url: string;
  /** Where the mails lie, one `.eml` file each, in order of arrival by name. */
  readonly directory: string;
  stop(): Promise<void>;
}

/** Starts the inbox. Throws BACKEND_UNAVAILABLE when the optional package `smtp-server` is missing. */
export async function startMail(options: { readonly directory: string; readonly port: number }): Promise<MailServer> {
  const { SMTPServer } = await import('smtp-server').catch((cause: unknown) => {
    throw new ActGuardError('BACKEND_UNAVAILABLE', 'the embedded mail inbox is not installed', {
      hint: 'install it with `npm install smtp-server mailparser`, or set ACTGUARD_SMTP_URL',
      cause,
    });
  });
  await mkdir(options.directory, { recursive: true, mode: 0o700 });
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS', 'AUTH'],
    disableReverseLookup: true,
    size: MAX_MAIL_BYTES,
    logger: false,
    onData(stream, _session, done) {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => {
        if (!stream.sizeExceeded) chunks.push(chunk);
      });
      stream.on('end', () => {
        if (stream.sizeExceeded) return done(new Error('552 the message is too large'));
        keep(options.directory, Buffer.concat(chunks)).then(
          () => done(),
          () => done(new Error('452 the message could not be kept')),
        );
      });
    },
  });
  // A client that hangs up in the middle is its own problem.
  server.on('error', () => undefined);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, '127.0.0.1', () => resolve());
  });
  const { port } = server.server.address() as AddressInfo;
  return {
    url: `smtp://127.0.0.1:${port}`,
    directory: options.directory,
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** A kept mail, as a list shows it. */
export interface MailSummary {
  readonly file: string;
  readonly to: string;
  readonly subject: string;
  readonly text: string;
  /** ISO 8601, or empty when the mail names no date. */
  readonly date: string;
}

/** Reads the kept mails, oldest first. */
export async function listMails(directory: string): Promise<MailSummary[]> {
  const { simpleParser } = await import('mailparser');
  const names = (await readdir(directory).catch(() => [] as string[])).filter((name) => name.endsWith('.eml')).sort();
  const mails: MailSummary[] = [];
  for (const name of names) {
    const file = join(directory, name);
    const mail = await simpleParser(await readFile(file), { skipHtmlToText: true, skipImageLinks: true });
    const to = Array.isArray(mail.to) ? mail.to.map((address) => address.text).join(', ') : (mail.to?.text ?? '');
    mails.push({ file, to, subject: mail.subject ?? '', text: mail.text ?? '', date: mail.date?.toISOString() ?? '' });
  }
  return mails;
}

// Written beside and renamed: a reader never sees half a mail.
async function keep(directory: string, bytes: Buffer): Promise<void> {
  const name = `${new Date().toISOString().replaceAll(':', '')}-${randomBytes(3).toString('hex')}`;
  await writeFile(join(directory, `${name}.part`), bytes, { mode: 0o600 });
  await rename(join(directory, `${name}.part`), join(directory, `${name}.eml`));
}
