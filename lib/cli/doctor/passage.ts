import { setTimeout as delay } from 'node:timers/promises'
import { SmallestFragment } from '../../client/fragment.ts'
import { formatSize } from '../format.ts'
import type { Examination } from './examination.ts'
import { ok, warning } from './finding.ts'
import { heldBy, Unfinished } from './fragments.ts'
import { NoAnswer } from './line.ts'
import { piece, type Visit } from './visit.ts'

/** Bytes of the fragment, of which half are sent: as many, or as many as pass. */
const Length = 512 * 1024
/** Milliseconds that those have for their way before the connection breaks. */
const Way = 500
/** Milliseconds between two questions for them, and how many there are. */
const Pause = 200
const Questions = 10

/** The connection breaks, as it does when a laptop is closed. */
class BrokenOff extends Error {}

/** Whether what came of a broken fragment is held, or was gathered in between for the whole of it. */
export const passage: Examination = {
  name: 'whether bytes are passed on as they come',
  async *examine(visit) {
    const before = await held(visit)
    const length = Math.min(Length, visit.passes)
    // What is refused for its length, or lies beyond the end, says nothing.
    if (before === undefined || length < SmallestFragment || before + length >= Unfinished) return true
    await breakOff(visit, before, length)
    let after: number | undefined = before
    for (let i = 0; i < Questions && after === before; i += 1) {
      if (i > 0) await delay(Pause)
      after = await held(visit)
    }
    if (after !== undefined && after > before) {
      yield ok(
        `Bytes are passed on as they come: of a Fragment that broke off ${formatSize(after - before)} are held`,
      )
    } else {
      yield warning(
        'Of a Fragment that broke off nothing is held: something in between gathers whole Fragments first',
        'Over bad lines up to 13 MB come again and again. nginx: proxy_request_buffering off, and proxy_http_version 1.1. ' +
          'Others: turn the buffering of requests off.',
      )
    }
    return true
  },
}

/** How many bytes are held, asked by the last byte of the file: that one comes behind a gap, and changes nothing. */
async function held(visit: Visit): Promise<number | undefined> {
  return heldBy(await visit.fragment(Unfinished - 1, 1, Unfinished))
}

async function breakOff(visit: Visit, start: number, length: number): Promise<void> {
  const whole = piece(start, length, Unfinished)
  const broken = {
    ...whole,
    async *read() {
      yield* piece(start, Math.floor(length / 2), Unfinished).read()
      await delay(Way)
      throw new BrokenOff()
    },
  }
  try {
    await visit.say({ type: 'Fragment', sessionId: visit.sessionId, range: broken })
  } catch (error) {
    // Somebody may have hung up before.
    if (!(error instanceof BrokenOff || error instanceof NoAnswer)) throw error
  }
}
