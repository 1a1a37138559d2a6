import { LargestFragment, SmallestFragment } from '../../client/fragment.ts'
import { formatSize } from '../format.ts'
import type { Examination } from './examination.ts'
import { type Finding, fault, ok, warning } from './finding.ts'
import { heldBy } from './fragments.ts'
import { isAck, NoAnswer, orNone, type RawAnswer } from './line.ts'
import { bodyRemedy, refusal, shown, TooLarge } from './refusal.ts'
import type { Visit } from './visit.ts'

/** Halvings between what passes and what does not, when the double does not: to a sixteenth of it. */
const Refinements = 4

/**
 * How large a fragment may be. Each is the first of a session of its own, in a file that is one byte longer: a server
 * with a limit for files is then told nothing larger than what it is sent, and what broke off leaves no offset to mind.
 */
export const limit: Examination = {
  name: 'the limit of bodies',
  async *examine(visit) {
    const largest = await probe(visit, LargestFragment)
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
      const outcome = await probe(visit, size)
      if (outcome) refused = { size, outcome }
      else passes = size
    }
    for (let i = 0; passes > 0 && i < Refinements; i += 1) {
      const size = Math.floor((passes + refused.size) / 2)
      const outcome = await probe(visit, size)
      if (outcome) refused = { size, outcome }
      else passes = size
    }
    visit.passes = passes
    yield told(passes, refused.size, refused.outcome)
    return true
  },
}

/** Why a fragment of that size did not arrive; undefined if it did. */
async function probe(visit: Visit, size: number): Promise<RawAnswer | NoAnswer | undefined> {
  const sessionId = await visit.create()
  const answer = await orNone(visit.fragment(0, size, size + 1, sessionId))
  await orNone(visit.end('Cancel-Session', sessionId))
  const arrived = !(answer instanceof NoAnswer) && answer.status === 200 && heldBy(answer) === size
  return arrived ? undefined : answer
}

function told(passes: number, refused: number, outcome: RawAnswer | NoAnswer): Finding {
  const bounds =
    passes === 0
      ? 'not even the smallest passes'
      : `${formatSize(passes)} pass, ${formatSize(refused)} do not`
  if (outcome instanceof NoAnswer) {
    return fault(
      `Large Fragments get no answer, ${outcome.message}: ${bounds}`,
      `${bodyRemedy} If it is time that is short: server.requestTimeout = 0 in Node, and --timeout here.`,
    )
  }
  if (outcome.hresult === TooLarge) {
    return warning(
      `The server takes no large files (${shown(outcome)}): ${bounds}`,
      'If that is too little, raise maxSize (IIS: BITSMaximumUploadSize).',
    )
  }
  if (outcome.status === 413) {
    const who = isAck(outcome) ? 'the server' : 'something in between'
    const text = `Large Fragments are refused with ${shown(outcome)}, by ${who}: ${bounds}`
    // "Smaller fragments, not below 5 KB": [MC-BUP] product note 16.
    return passes === 0 ? fault(text, bodyRemedy) : warning(`${text}; clients send smaller ones`, bodyRemedy)
  }
  // IIS's filter answers 404 (404.13).
  const filtered = outcome.status === 404 ? ', as the request filter of IIS does' : ''
  const reason = passes > 0 ? `${filtered}, which clients do not understand` : `: ${refusal(outcome).reason}`
  return fault(`Large Fragments are answered ${shown(outcome)}${reason}: ${bounds}`, bodyRemedy)
}
