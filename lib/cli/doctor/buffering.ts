import { setTimeout as delay } from 'node:timers/promises'
import { SmallestFragment } from '../../client/fragment.ts'
import { formatSize } from '../format.ts'
import { type Check, type CheckContext, fragmentRange, ok, warning } from './context.ts'
import { heldBy, UnfinishedFileSize } from './fragments.ts'
import { NoResponse } from './prober.ts'

/** Bytes of the fragment, of which half are sent: as many, or as many as pass. */
const ProbeLength = 512 * 1024
/** Milliseconds that those have for their way before the connection breaks. */
const SettleTimeMs = 500
/** Milliseconds between two questions for them, and how many there are. */
const PollIntervalMs = 200
const MaxPolls = 10

/** The connection breaks, as it does when a laptop is closed. */
class Interrupted extends Error {}

/** Whether what came of a broken fragment is held, or was gathered in between for the whole of it. */
export const buffering: Check = {
  name: 'whether bytes are passed on as they come',
  async *run(context) {
    const before = await heldBytes(context)
    const length = Math.min(ProbeLength, context.maxFragment)
    // What is refused for its length, or lies beyond the end, says nothing.
    if (before === undefined || length < SmallestFragment || before + length >= UnfinishedFileSize)
      return true
    await sendPart(context, before, length)
    let after: number | undefined = before
    for (let i = 0; i < MaxPolls && after === before; i += 1) {
      if (i > 0) await delay(PollIntervalMs)
      after = await heldBytes(context)
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
async function heldBytes(context: CheckContext): Promise<number | undefined> {
  return heldBy(await context.fragment(UnfinishedFileSize - 1, 1, UnfinishedFileSize))
}

async function sendPart(context: CheckContext, start: number, length: number): Promise<void> {
  const whole = fragmentRange(start, length, UnfinishedFileSize)
  const broken = {
    ...whole,
    async *read() {
      yield* fragmentRange(start, Math.floor(length / 2), UnfinishedFileSize).read()
      await delay(SettleTimeMs)
      throw new Interrupted()
    },
  }
  try {
    await context.send({ type: 'Fragment', sessionId: context.sessionId, range: broken })
  } catch (error) {
    // Somebody may have hung up before.
    if (!(error instanceof Interrupted || error instanceof NoResponse)) throw error
  }
}
