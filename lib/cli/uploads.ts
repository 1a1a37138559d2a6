import type { EventEmitter } from 'node:events'
import { join } from 'node:path'
import type { BitsUploadEvents, UploadReport } from '../index.ts'
import type { Display } from './display.ts'
import { countOf, formatRate, formatSize, formatTime, printable } from './format.ts'

/** Start of the measurement of an upload's rate. */
interface RateStart {
  /** Milliseconds of `Date.now()`. */
  readonly time: number
  /** Bytes that the server held then. */
  readonly held: number
}

/**
 * Milliseconds without an event after which the progress of an upload is no longer shown: its client may not come
 * back for days. A fragment of 13 MB takes this time at 44 KB/s.
 */
const MaxSilenceMs = 5 * 60_000

/**
 * Prints the events of a server.
 * @returns a function that returns a summary of the events so far
 */
export function printUploads(
  events: EventEmitter<BitsUploadEvents>,
  display: Display,
  directory: string,
): () => string {
  const began = Date.now()
  const rateStarts = new Map<string, RateStart>()
  /** When the last event of each upload that is shown was emitted. */
  const shownAt = new Map<string, number>()
  /** IDs of the uploads with an event that have not ended. */
  const open = new Set<string>()
  const sum = { files: 0, bytes: 0, cancelled: 0, expired: 0, refused: 0, failed: 0 }

  const track = ({ id, received }: UploadReport): RateStart => {
    open.add(id)
    const known = rateStarts.get(id)
    if (known) return known
    // The session is older than this process: the duration of its first fragment is unknown.
    const start = { time: Date.now(), held: received }
    rateStarts.set(id, start)
    return start
  }
  const hide = (id: string): void => {
    shownAt.delete(id)
    display.hide(id)
  }
  const pause = ({ id }: UploadReport): void => {
    rateStarts.delete(id)
    hide(id)
  }
  const show = ({ id, name, received, total }: UploadReport, note: string): void => {
    shownAt.set(id, Date.now())
    display.show(id, { name, done: received, total, note })
  }
  setInterval(() => {
    for (const [id, time] of shownAt) if (Date.now() - time >= MaxSilenceMs) hide(id)
  }, MaxSilenceMs / 10).unref()
  const forget = (upload: UploadReport): void => {
    open.delete(upload.id)
    pause(upload)
  }
  const print = (name: string, text: string): void => display.line(`${printable(name)}: ${text}`)

  events
    .on('created', (upload) => {
      track(upload)
      print(upload.name, 'begins')
      show(upload, 'no fragment complete yet')
    })
    .on('received', (upload) => {
      const { received } = upload
      const start = track(upload)
      const time = Date.now() - start.time
      const note = time > 0 && received > start.held ? formatRate(received - start.held, time) : 'begins'
      show(upload, note)
    })
    .on('interrupted', (upload) => {
      pause(upload)
      print(upload.name, `${progress(upload)}; interrupted, can be resumed: ${upload.reason.message}`)
    })
    .on('uploaded', (upload) => {
      const { name, total = 0 } = upload
      const start = track(upload)
      const time = Date.now() - start.time
      const bytes = total - start.held
      const rate = bytes > 0 ? ` in ${formatTime(time)}, ${formatRate(bytes, time)}` : ''
      forget(upload)
      sum.files += 1
      sum.bytes += total
      print(name, `complete, ${formatSize(total)}${rate}: ${join(directory, name)}`)
    })
    .on('closed', forget)
    .on('cancelled', (upload) => {
      forget(upload)
      sum.cancelled += 1
      print(upload.name, 'cancelled by the client')
    })
    .on('expired', (upload) => {
      forget(upload)
      sum.expired += 1
      print(upload.name, `${progress(upload)}; expired and removed`)
    })
    .on('refused', ({ type, target, error }) => {
      sum.refused += 1
      print(target, `${type ?? 'a packet'} refused, ${error.status}: ${printable(error.message)}`)
    })
    .on('failed', ({ type, target, error }) => {
      sum.failed += 1
      const cause = error.cause instanceof Error ? ` (${error.cause.message})` : ''
      print(target, `${type ?? 'a sweep'} failed, ${error.status}: ${printable(error.message + cause)}`)
    })

  return () => {
    const { files, bytes, cancelled, expired, refused, failed } = sum
    const others = { unfinished: open.size, cancelled, expired, refused, failed }
    const rest = Object.entries(others).flatMap(([what, number]) => (number > 0 ? [`${number} ${what}`] : []))
    const parts = [`${countOf(files, 'file')}, ${formatSize(bytes)}`, ...rest]
    return `${parts.join(', ')}, in ${formatTime(Date.now() - began)}`
  }
}

const progress = ({ received, total }: UploadReport): string =>
  total ? `${Math.floor((received / total) * 100)} % of ${formatSize(total)}` : 'no bytes'
