import { isAck } from '../../client/ack.ts'
import { LargestFragment, SmallestFragment } from '../../client/fragment.ts'
import { Hresult } from '../../client/response-policy.ts'
import { formatSize } from '../format.ts'
import { type Check, type CheckContext, type Finding, fault, ok, warning } from './context.ts'
import { bodyRemedy, explain, formatResponse } from './explain.ts'
import { heldBy } from './fragments.ts'
import { NoResponse, orNoResponse, type RawResponse } from './prober.ts'

/**
 * Bisection steps between a size that passes and its double, which does not: the result is exact to a
 * sixteenth.
 */
const Refinements = 4

/**
 * Finds the largest fragment that passes. Each attempt has a session of its own: an interrupted one then
 * leaves no offset behind. Its file is one byte longer than the fragment: a server with a limit of the file
 * size gets no larger file.
 */
export const fragmentLimit: Check = {
  name: 'largest Fragment',
  async *run(context) {
    const failure = await probeSize(context, LargestFragment)
    if (failure === undefined) {
      yield ok(`A Fragment of ${formatSize(LargestFragment)} passes, the largest that Windows sends`)
      return true
    }
    let refused = { size: LargestFragment, outcome: failure }
    let passes = 0
    for (
      let size = LargestFragment / 2;
      passes === 0 && size >= SmallestFragment;
      size = Math.floor(size / 2)
    ) {
      const outcome = await probeSize(context, size)
      if (outcome) refused = { size, outcome }
      else passes = size
    }
    for (let i = 0; passes > 0 && i < Refinements; i += 1) {
      const size = Math.floor((passes + refused.size) / 2)
      const outcome = await probeSize(context, size)
      if (outcome) refused = { size, outcome }
      else passes = size
    }
    context.maxFragment = passes
    yield describe(passes, refused.size, refused.outcome)
    return true
  },
}

/** The answer to a fragment of this size that did not pass; undefined if it passed. */
async function probeSize(context: CheckContext, size: number): Promise<RawResponse | NoResponse | undefined> {
  const sessionId = await context.create()
  const answer = await orNoResponse(context.fragment(0, size, size + 1, sessionId))
  await orNoResponse(context.end('Cancel-Session', sessionId))
  const passed = !(answer instanceof NoResponse) && answer.status === 200 && heldBy(answer) === size
  return passed ? undefined : answer
}

function describe(passes: number, refused: number, outcome: RawResponse | NoResponse): Finding {
  const bounds =
    passes === 0
      ? 'not even the smallest passes'
      : `${formatSize(passes)} pass, ${formatSize(refused)} do not`
  if (outcome instanceof NoResponse) {
    return fault(
      `Large Fragments get no answer, ${outcome.message}: ${bounds}`,
      `${bodyRemedy} If the cause is a timeout: server.requestTimeout = 0 in Node, and --timeout here.`,
    )
  }
  if (outcome.hresult === Hresult.TooLarge) {
    return warning(
      `The server accepts no large files (${formatResponse(outcome)}): ${bounds}`,
      'If larger files are needed, raise maxSize (IIS: BITSMaximumUploadSize).',
    )
  }
  if (outcome.status === 413) {
    const by = isAck(outcome.headers) ? 'the server' : 'a proxy'
    const text = `Large Fragments are refused with ${formatResponse(outcome)}, by ${by}: ${bounds}`
    // After a 413 clients send smaller fragments, down to 5 KB ([MC-BUP] product note 16).
    return passes === 0 ? fault(text, bodyRemedy) : warning(`${text}; clients send smaller ones`, bodyRemedy)
  }
  // 404.13
  const filter = outcome.status === 404 ? ', as by the request filter of IIS' : ''
  const reason =
    passes > 0 ? `${filter}; Windows does not send smaller ones then` : `: ${explain(outcome).reason}`
  return fault(`Large Fragments are answered ${formatResponse(outcome)}${reason}: ${bounds}`, bodyRemedy)
}
