import { LargestFragment, SmallestFragment } from '../../client/fragment.ts'
import { Hresult } from '../../client/response-policy.ts'
import { formatSize } from '../format.ts'
import { type Check, type CheckContext, type Finding, fault, ok, warning } from './context.ts'
import { bodyRemedy, explain, formatResponse } from './explain.ts'
import { heldBy } from './fragments.ts'
import { isAck, NoResponse, orNoResponse, type RawResponse } from './prober.ts'

/** Halvings between what passes and what does not, when the double does not: to a sixteenth of it. */
const Refinements = 4

/**
 * How large a fragment may be. Each is the first of a session of its own, in a file that is one byte longer: a server
 * with a limit for files is then told nothing larger than what it is sent, and what broke off leaves no offset to mind.
 */
export const fragmentLimit: Check = {
  name: 'the limit of bodies',
  async *run(context) {
    const largest = await probeSize(context, LargestFragment)
    if (largest === undefined) {
      yield ok(`A Fragment of ${formatSize(LargestFragment)} passes, the largest that Windows sends`)
      return true
    }
    let refused = { size: LargestFragment, outcome: largest }
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

/** Why a fragment of that size did not arrive; undefined if it did. */
async function probeSize(context: CheckContext, size: number): Promise<RawResponse | NoResponse | undefined> {
  const sessionId = await context.create()
  const answer = await orNoResponse(context.fragment(0, size, size + 1, sessionId))
  await orNoResponse(context.end('Cancel-Session', sessionId))
  const arrived = !(answer instanceof NoResponse) && answer.status === 200 && heldBy(answer) === size
  return arrived ? undefined : answer
}

function describe(passes: number, refused: number, outcome: RawResponse | NoResponse): Finding {
  const bounds =
    passes === 0
      ? 'not even the smallest passes'
      : `${formatSize(passes)} pass, ${formatSize(refused)} do not`
  if (outcome instanceof NoResponse) {
    return fault(
      `Large Fragments get no answer, ${outcome.message}: ${bounds}`,
      `${bodyRemedy} If it is time that is short: server.requestTimeout = 0 in Node, and --timeout here.`,
    )
  }
  if (outcome.hresult === Hresult.TooLarge) {
    return warning(
      `The server takes no large files (${formatResponse(outcome)}): ${bounds}`,
      'If that is too little, raise maxSize (IIS: BITSMaximumUploadSize).',
    )
  }
  if (outcome.status === 413) {
    const who = isAck(outcome) ? 'the server' : 'something in between'
    const text = `Large Fragments are refused with ${formatResponse(outcome)}, by ${who}: ${bounds}`
    // "Smaller fragments, not below 5 KB": [MC-BUP] product note 16.
    return passes === 0 ? fault(text, bodyRemedy) : warning(`${text}; clients send smaller ones`, bodyRemedy)
  }
  // IIS's filter answers 404 (404.13).
  const filtered = outcome.status === 404 ? ', as the request filter of IIS does' : ''
  const reason = passes > 0 ? `${filtered}, which clients do not understand` : `: ${explain(outcome).reason}`
  return fault(`Large Fragments are answered ${formatResponse(outcome)}${reason}: ${bounds}`, bodyRemedy)
}
