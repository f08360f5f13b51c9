/** Mails an invitation's link from the administrator's machine: the token is stored nowhere. */
import { invitationMail, type InvitationMail } from '../activities/mail-texts.ts';
import { smtpMailer } from './mailer.ts';

/** Sends it; throws what the mail server says. */
export async function sendInvitation(smtpUrl: string, mail: InvitationMail): Promise<void> {
  await smtpMailer(smtpUrl).send(invitationMail(mail));
}
