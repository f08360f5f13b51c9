/** Whether what is shown is what is signed for: the content beside a request opens every commitment in it. */
import type { ApprovalContent, ApprovalRequest } from './approval.ts';
import { commitment } from './digest.ts';
import type { Json } from './json.ts';

/** Content that cannot be read: its key is gone from here, or it is not what was sealed under that key. */
export interface Gone {
  readonly unreadable?: string;
  readonly damaged?: string;
}

/** Why stored content cannot be read; null: it can. */
export function goneKey(content: unknown): Gone | null {
  if (typeof content !== 'object' || content === null) return null;
  const { unreadable, damaged } = content as { unreadable?: unknown; damaged?: unknown };
  if (typeof unreadable === 'string') return { unreadable };
  return typeof damaged === 'string' ? { damaged } : null;
}

/** The same in words. */
export function goneWords(gone: Gone): string {
  return gone.damaged === undefined
    ? `its content is unreadable: key ${gone.unreadable ?? ''} is gone`
    : 'its content was changed';
}

/** What does not fit, in words; null: everything fits. Never throws, whatever stands in the content. */
export function contentProblem(request: ApprovalRequest, content: ApprovalContent | null): string | null {
  if (content === null) return 'its content was erased';
  const gone = goneKey(content);
  if (gone) return goneWords(gone);
  try {
    const { salt, args, shown, facts, provenance } = content;
    if (commitment(salt, args) !== request.argsCommitment) return 'the arguments are not those that were asked for';
    if (commitment(salt, shown) !== request.shownCommitment) return 'the text is not what was asked for';
    if (commitment(salt, provenance as unknown as Json) !== request.provenanceCommitment)
      return 'where the arguments came from is not what was asked for';
    const same =
      facts.length === request.facts.length &&
      facts.every((fact, i) => {
        const asked = request.facts[i];
        return (
          asked?.kind === fact.kind && asked.call === fact.call && asked.commitment === commitment(salt, fact.value)
        );
      });
    return same ? null : 'the facts are not those that were asked for';
  } catch {
    return 'its content is damaged';
  }
}
