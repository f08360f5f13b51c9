/** Whether what is shown is what is signed for: the content beside a request opens every commitment in it. */
import type { ApprovalContent, ApprovalRequest } from './approval.ts';
import { commitment } from './digest.ts';
import type { Json } from './json.ts';

/** What does not fit, in words; null: everything fits. Never throws, whatever stands in the content. */
export function contentProblem(request: ApprovalRequest, content: ApprovalContent | null): string | null {
  if (content === null) return 'its content was erased';
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
