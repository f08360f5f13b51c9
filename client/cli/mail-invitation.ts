/** Mails an invitation's link. */
import type { InvitationMail } from '../../activities/mail-texts.ts';
import { ActGuardError } from '../../governance/errors.ts';

/** Sends it. @throws ActGuardError CONFIG_INVALID (no mail server), BACKEND_UNAVAILABLE (it does not take the mail) */
export async function mailInvitation(smtpUrl: string | null, mail: InvitationMail): Promise<void> {
  if (smtpUrl === null) {
    throw new ActGuardError('CONFIG_INVALID', 'nothing says where mails go', {
      hint: 'set ACTGUARD_SMTP_URL, or leave `--mail` out and hand the link over yourself',
    });
  }
  try {
    // loaded here: most commands send no mail
    await (await import('../../worker/invitation-mail.ts')).sendInvitation(smtpUrl, mail);
  } catch (cause) {
    throw new ActGuardError('BACKEND_UNAVAILABLE', 'the mail was not taken; nobody was told', {
      hint: 'see `actguard doctor`, then invite again',
      cause,
    });
  }
}
