/** Mail by SMTP. An outage is an error that Temporal retries: it delays nothing else. */
import nodemailer from 'nodemailer';
import type { Mailer } from '../activities/deps.ts';

const TIMEOUT_MS = 10_000;

/** `smtp://host:port` or `smtps://user:password@host:port`; `?from=` sets the sender. */
export function smtpMailer(url: string): Mailer {
  const parsed = new URL(url);
  const from = parsed.searchParams.get('from') ?? 'ActGuard <actguard@localhost>';
  parsed.searchParams.delete('from');
  const transport = nodemailer.createTransport({
    host: parsed.hostname,
    port: Number(parsed.port) || (parsed.protocol === 'smtps:' ? 465 : 25),
    secure: parsed.protocol === 'smtps:',
    ignoreTLS: ['localhost', '127.0.0.1', '[::1]'].includes(parsed.hostname),
    ...(parsed.username
      ? { auth: { user: decodeURIComponent(parsed.username), pass: decodeURIComponent(parsed.password) } }
      : {}),
    connectionTimeout: TIMEOUT_MS,
    greetingTimeout: TIMEOUT_MS,
    socketTimeout: TIMEOUT_MS,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
  return {
    send: async ({ to, subject, text, html, messageId, inReplyTo, references }) => {
      const thread = inReplyTo === undefined ? {} : { inReplyTo, references: [...(references ?? [inReplyTo])] };
      const auto = { 'auto-submitted': 'auto-generated' }; // RFC 3834: nobody's absence note answers
      await transport.sendMail({ from, to: [...to], subject, text, html, messageId, ...thread, headers: auto });
    },
  };
}
