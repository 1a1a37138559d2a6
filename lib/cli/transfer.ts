import { rm } from 'node:fs/promises'
import {
  cancelUpload,
  UploadError,
  type UploadErrorCode,
  type UploadOptions,
  type UploadProgress,
  uploadFile,
} from '../client/index.ts'
import { Failed, Incomplete, Ok } from './command.ts'
import type { Display } from './display.ts'
import { countOf, formatRate, formatSize, formatTime, printable } from './format.ts'

/** One file on its way. */
export interface Transfer {
  readonly path: string
  /** As it is shown. */
  readonly name: string
  readonly url: URL
  /** Its job file. */
  readonly job: string
}

export interface TransferOptions extends Omit<UploadOptions, 'job' | 'onProgress'> {
  /** How many at once. */
  readonly parallel: number
}

/** Sends files, some at once, and tells of each. Resolves to the exit code. */
export async function transferAll(
  transfers: readonly Transfer[],
  { parallel, ...options }: TransferOptions,
  display: Display,
): Promise<number> {
  const began = Date.now()
  const sum = { done: 0, bytes: 0, failed: 0, unfinished: 0 }
  const queue = transfers.values()
  const work = async (): Promise<void> => {
    for (const transfer of queue) {
      if (options.signal?.aborted) {
        sum.unfinished += 1
        continue
      }
      try {
        // Others may add to the sum while this one is on its way.
        const size = await transferOne(transfer, options, display)
        sum.bytes += size
        sum.done += 1
      } catch (error) {
        const code = exitCodeOf(error, options.signal)
        sum[code === Failed ? 'failed' : 'unfinished'] += 1
        if (!options.signal?.aborted) display.line(`${printable(transfer.name)}: ${messageOf(error)}`)
      } finally {
        display.hide(transfer.job)
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(parallel, transfers.length) }, work))
  const { done, bytes, failed, unfinished } = sum
  const parts = [
    `${countOf(done, 'file')}, ${formatSize(bytes)}`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(unfinished > 0 ? [`${unfinished} unfinished`] : []),
  ]
  display.line(`${parts.join(', ')}, in ${formatTime(Date.now() - began)}`)
  if (unfinished > 0)
    display.line(
      'The same command goes on with what is unfinished. What has begun is listed by: express-bits-upload jobs',
    )
  if (failed > 0) return Failed
  return unfinished > 0 ? Incomplete : Ok
}

/** Why a job is not gone on with: the server need not keep what it has of it. */
const reasons: Partial<Record<UploadErrorCode, string>> = {
  'job-mismatch': 'changed since it was broken off',
  'job-invalid': 'what was remembered of it is damaged',
}

/** @returns the bytes of the file */
async function transferOne(
  transfer: Transfer,
  options: Omit<TransferOptions, 'parallel'>,
  display: Display,
): Promise<number> {
  const { name, path, url, job } = transfer
  const began = Date.now()
  const show = trackProgress(transfer, display)
  /** Bytes that the server held before: they are not this call's. */
  let had: number | undefined
  const onProgress = (progress: UploadProgress): void => {
    had ??= progress.held
    show(progress)
  }
  const send = () => uploadFile(path, url, { ...options, job, onProgress })
  const result = await send().catch(async (error) => {
    const why = error instanceof UploadError ? reasons[error.code] : undefined
    if (why === undefined) throw error
    display.line(`${printable(name)}: ${why}, begins anew`)
    await forgetJob(job, options)
    had = undefined
    return send()
  })
  const { size, reply } = result
  const time = Date.now() - began
  const rate = formatRate(size - (had ?? 0), time)
  const rest = had ? `the last ${formatSize(size - had)} of ` : ''
  const answer = reply ? `, reply of ${formatSize(reply.size)}` : ''
  display.line(
    `${printable(name)}: sent, ${rest}${formatSize(size)} in ${formatTime(time)}, ${rate}${answer}`,
  )
  return size
}

/** Shows how a transfer goes, and tells of each break once. */
function trackProgress({ name, job }: Transfer, display: Display): (progress: UploadProgress) => void {
  let told = ''
  return ({ state, sent, total, rate, timeLeft, error, retryIn = 0, replyReceived }) => {
    const text = error?.message ?? ''
    if (error && text !== told)
      display.line(`${printable(name)}: broken off, tries again: ${printable(text)}`)
    if (state !== 'create-session' && state !== 'ping') told = text
    const left = Number.isFinite(timeLeft) ? `, ${formatTime(timeLeft * 1000)} left` : ''
    const notes: Partial<Record<typeof state, string>> = {
      waiting: `tries again in ${formatTime(retryIn)}`,
      fragment: `${formatRate(rate, 1000)}${left}`,
      reply: `${formatSize(replyReceived)} of the reply`,
    }
    display.show(job, { name, done: sent, total, note: notes[state] ?? state })
  }
}

/** Ends what is left of an upload on the server, as far as it listens: it would remove it by itself. */
async function forgetJob(job: string, options: Omit<TransferOptions, 'parallel'>): Promise<void> {
  const { auth, headers = {}, tls = {}, signal } = options
  const connection = { headers, tls, ...(auth && { auth }), ...(signal && { signal }) }
  await cancelUpload(job, { ...connection, noProgressTimeout: 0 }).catch(() => rm(job, { force: true }))
}

/** What time, or the end of another process, mends. */
const transientCodes: readonly UploadErrorCode[] = ['no-progress', 'job-in-use']

/** Whether an upload that ended in error may be gone on with. */
export function exitCodeOf(error: unknown, signal?: AbortSignal): number {
  if (signal?.aborted) return Incomplete
  return error instanceof UploadError && transientCodes.includes(error.code) ? Incomplete : Failed
}

/** What the client's messages call options is here spelt otherwise. */
const messageReplacements: readonly (readonly [string, string])[] = [
  ['for `noProgressTimeout`', 'for as long as --give-up says'],
  ['`auth` and `headers`', '--user and --header'],
  ['`tls: { ca }`', '--cacert'],
  ['; raise it, or name a file with `reply`', ''],
  [
    'The file that `job` names is not a job file; name another',
    'What is remembered of it is damaged; be rid of it with: express-bits-upload jobs cancel',
  ],
  ['end that one with cancelUpload()', 'end that one with: express-bits-upload jobs cancel'],
]

/** As a user of the command line is to see it, in one line. */
export function messageOf(error: unknown): string {
  const { cause } = error as Error
  const message = messageReplacements.reduce(
    (text, [from, to]) => text.replace(from, to),
    (error as Error).message,
  )
  const below = cause instanceof Error && !message.includes(cause.message) ? ` (${cause.message})` : ''
  return printable(`${message}${below}`)
}
