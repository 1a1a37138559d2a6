import type { EventEmitter } from 'node:events'
import { join } from 'node:path'
import type { BitsUploadEvents, UploadReport } from '../index.ts'
import type { Display } from './display.ts'
import { countOf, formatRate, formatSize, formatTime, printable } from './format.ts'

/** Since when an upload is watched, and what it had then. */
interface ListenedEvent {
  readonly since: number
  readonly had: number
}

/**
 * Tells of all uploads of a server as they go.
 * @returns a summary of what has been until it is called
 */
export function printUploads(
  events: EventEmitter<BitsUploadEvents>,
  display: Display,
  directory: string,
): () => string {
  const began = Date.now()
  /** How fast they are. */
  const watched = new Map<string, ListenedEvent>()
  /** Those that were seen, and have not ended. */
  const open = new Set<string>()
  const sum = { files: 0, bytes: 0, cancelled: 0, expired: 0, refused: 0, failed: 0 }

  const watch = ({ id, received }: UploadReport): ListenedEvent => {
    open.add(id)
    const known = watched.get(id)
    if (known) return known
    // Begun before: how fast this fragment came, nobody knows.
    const first = { since: Date.now(), had: received }
    watched.set(id, first)
    return first
  }
  const pause = ({ id }: UploadReport): void => {
    watched.delete(id)
    display.hide(id)
  }
  const forget = (upload: UploadReport): void => {
    open.delete(upload.id)
    pause(upload)
  }
  const tell = (name: string, text: string): void => display.line(`${printable(name)}: ${text}`)

  events
    .on('created', (upload) => {
      watch(upload)
      tell(upload.name, 'begins')
    })
    .on('received', (upload) => {
      const { id, name, received, total = 0 } = upload
      const { since, had } = watch(upload)
      const time = Date.now() - since
      const note = time > 0 && received > had ? formatRate(received - had, time) : 'begins'
      display.show(id, { name, done: received, total, note })
    })
    .on('interrupted', (upload) => {
      pause(upload)
      tell(upload.name, `${progress(upload)}; broken off, it may go on: ${upload.reason.message}`)
    })
    .on('uploaded', (upload) => {
      const { name, total = 0 } = upload
      const { since, had } = watch(upload)
      const time = Date.now() - since
      const rate = had < total ? ` in ${formatTime(time)}, ${formatRate(total - had, time)}` : ''
      forget(upload)
      sum.files += 1
      sum.bytes += total
      tell(name, `complete, ${formatSize(total)}${rate}: ${join(directory, name)}`)
    })
    .on('closed', forget)
    .on('cancelled', (upload) => {
      forget(upload)
      sum.cancelled += 1
      tell(upload.name, 'cancelled by the client')
    })
    .on('expired', (upload) => {
      forget(upload)
      sum.expired += 1
      tell(upload.name, `${progress(upload)}; removed, the client did not come back`)
    })
    .on('refused', ({ type, target, error }) => {
      sum.refused += 1
      tell(target, `${type ?? 'a packet'} refused, ${error.status}: ${printable(error.message)}`)
    })
    .on('failed', ({ type, target, error }) => {
      sum.failed += 1
      const cause = error.cause instanceof Error ? ` (${error.cause.message})` : ''
      tell(target, `${type ?? 'a sweep'} failed, ${error.status}: ${printable(error.message + cause)}`)
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
  total ? `${Math.floor((received / total) * 100)} % of ${formatSize(total)}` : 'no byte yet'
