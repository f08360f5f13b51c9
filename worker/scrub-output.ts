/** Standard output and error of a worker's process, scrubbed: tools and libraries print there, too. */
import type { SecretSet } from '../activities/scrub.ts';
import { ScrubStream } from '../activities/scrub-stream.ts';

/** A piece that could be the beginning of a secret goes out when nothing follows it for so long. */
const IDLE_MS = 1_000;

type Stream = Pick<NodeJS.WriteStream, 'write'>;

/** Scrubs everything that is written to these streams from now on; answers how to undo it. */
export function scrubOutput(
  known: SecretSet,
  streams: readonly Stream[] = [process.stdout, process.stderr],
): () => void {
  const undo = streams.map((stream) => scrubStream(stream, known));
  return () => undo.forEach((restore) => restore());
}

function scrubStream(stream: Stream, known: SecretSet): () => void {
  const write = stream.write.bind(stream) as (text: string, done?: () => void) => boolean;
  const own = stream.write;
  const scrub = new ScrubStream(known);
  let timer: NodeJS.Timeout | undefined;
  const flush = (): void => {
    clearTimeout(timer);
    if (scrub.waiting) write(scrub.flush());
  };
  stream.write = ((piece: string | Uint8Array, encoding?: unknown, done?: () => void): boolean => {
    clearTimeout(timer);
    const text = scrub.push(piece);
    if (scrub.waiting) timer = setTimeout(flush, IDLE_MS).unref();
    return write(text, typeof encoding === 'function' ? (encoding as () => void) : done);
  }) as typeof stream.write;
  process.once('exit', flush);
  return () => {
    process.removeListener('exit', flush);
    flush();
    stream.write = own;
  };
}
