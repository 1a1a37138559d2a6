import { rm } from 'node:fs/promises'
import { Connections } from '../client/connections.ts'
import { joinTexts } from '../client/errors.ts'
import {
  cancelUpload,
  UploadError,
  type UploadErrorCode,
  type UploadOptions,
  type UploadProgress,
} from '../client/index.ts'
import { uploadOver } from '../client/upload-file.ts'
import { ExitCode } from './command.ts'
import type { Display } from './display.ts'
import { countOf, formatRate, formatSize, formatTime, printable } from './format.ts'

/** One file to send. */
export interface Transfer {
  readonly path: string
  /** Name in the output. */
  readonly name: string
  readonly url: URL
  /** Path of the job file. */
  readonly job: string
}

export interface TransferOptions extends Omit<UploadOptions, 'job' | 'onProgress'> {
  /** Number of transfers at the same time. */
  readonly parallel: number
}

/** Sends files, over connections that they share, and prints the result of each. Resolves to the exit code. */
export async function transferAll(
  transfers: readonly Transfer[],
  { parallel, ...options }: TransferOptions,
  display: Display,
): Promise<number> {
  const startTime = Date.now()
  const sum = { done: 0, bytes: 0, failed: 0, unfinished: 0 }
  const connections = new Connections(options.tls ?? {})
  const queue = transfers.values()
  const work = async (): Promise<void> => {
    for (const transfer of queue) {
      if (options.signal?.aborted) {
        sum.unfinished += 1
        continue
      }
      try {
        // Not `sum.bytes += await …`: other transfers add to the sum in the meantime.
        const size = await transferOne(transfer, connections, options, display)
        sum.bytes += size
        sum.done += 1
      } catch (error) {
        const code = exitCodeOf(error, options.signal)
        sum[code === ExitCode.Failed ? 'failed' : 'unfinished'] += 1
        if (!options.signal?.aborted) display.line(`${printable(transfer.name)}: ${messageOf(error)}`)
      } finally {
        display.hide(transfer.job)
      }
    }
  }
  try {
    await Promise.all(Array.from({ length: Math.min(parallel, transfers.length) }, work))
  } finally {
    connections.close()
  }
  const { done, bytes, failed, unfinished } = sum
  const parts = [
    `${countOf(done, 'file')}, ${formatSize(bytes)}`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(unfinished > 0 ? [`${unfinished} unfinished`] : []),
  ]
  display.line(`${parts.join(', ')}, in ${formatTime(Date.now() - startTime)}`)
  if (unfinished > 0)
    display.line(
      'The same command resumes what is unfinished. To list unfinished uploads: express-bits-upload jobs',
    )
  if (failed > 0) return ExitCode.Failed
  return unfinished > 0 ? ExitCode.Incomplete : ExitCode.Ok
}

/** Why an upload cannot be resumed and starts again, with a new session. */
const restartReasons: Partial<Record<UploadErrorCode, string>> = {
  'job-mismatch': 'the file changed since the upload was interrupted',
  'job-invalid': 'the job file is damaged',
}

/** Sends one file. Resolves to its size. */
async function transferOne(
  transfer: Transfer,
  connections: Connections,
  options: Omit<TransferOptions, 'parallel'>,
  display: Display,
): Promise<number> {
  const { name, path, url, job } = transfer
  const startTime = Date.now()
  const show = trackProgress(transfer, display)
  /** Bytes that the server held before this transfer. */
  let heldBefore: number | undefined
  const onProgress = (progress: UploadProgress): void => {
    heldBefore ??= progress.held
    show(progress)
  }
  const send = () => uploadOver(connections, path, url, { ...options, job, onProgress })
  const result = await send().catch(async (error) => {
    const why = error instanceof UploadError ? restartReasons[error.code] : undefined
    if (why === undefined) throw error
    display.line(`${printable(name)}: ${why}; starting again`)
    await discardJob(job, options)
    heldBefore = undefined
    return send()
  })
  const { size, reply } = result
  const time = Date.now() - startTime
  const rate = formatRate(size - (heldBefore ?? 0), time)
  const part = heldBefore ? `the last ${formatSize(size - heldBefore)} of ` : ''
  const answer = reply ? `, reply of ${formatSize(reply.size)}` : ''
  display.line(
    `${printable(name)}: sent, ${part}${formatSize(size)} in ${formatTime(time)}, ${rate}${answer}`,
  )
  return size
}

/** Returns an `onProgress` that shows the progress of a transfer, and prints each interruption once. */
function trackProgress({ name, job }: Transfer, display: Display): (progress: UploadProgress) => void {
  let lastError = ''
  return ({ state, sent, total, rate, timeLeft, error, retryIn = 0, replyReceived }) => {
    const text = error?.message ?? ''
    if (error && text !== lastError)
      display.line(`${printable(name)}: interrupted, retrying: ${printable(text)}`)
    if (state !== 'create-session' && state !== 'ping') lastError = text
    const left = (): string => (Number.isFinite(timeLeft) ? `, ${formatTime(timeLeft * 1000)} left` : '')
    const notes: Partial<Record<typeof state, () => string>> = {
      waiting: () => `retry in ${formatTime(retryIn)}`,
      fragment: () => `${formatRate(rate, 1000)}${left()}`,
      reply: () => `${formatSize(replyReceived)} of the reply`,
    }
    display.show(job, { name, done: sent, total, note: notes[state]?.() ?? state })
  }
}

/** Cancels a job on the server, in one attempt: the server also removes the session when it expires. */
async function discardJob(job: string, options: Omit<TransferOptions, 'parallel'>): Promise<void> {
  const { auth, headers = {}, tls = {}, signal } = options
  const connection = { headers, tls, ...(auth && { auth }), ...(signal && { signal }) }
  await cancelUpload(job, { ...connection, noProgressTimeout: 0 }).catch(() => rm(job, { force: true }))
}

/** Errors after which the same command may succeed later. */
const transientCodes: readonly UploadErrorCode[] = ['no-progress', 'job-in-use']

/** The exit code for the error of an upload. */
export function exitCodeOf(error: unknown, signal?: AbortSignal): number {
  if (signal?.aborted) return ExitCode.Incomplete
  return error instanceof UploadError && transientCodes.includes(error.code)
    ? ExitCode.Incomplete
    : ExitCode.Failed
}

/** Texts for the errors whose message names options of the API. */
const errorTexts: Partial<Record<UploadErrorCode, string>> = {
  certificate: "The server's certificate is not trusted; check its name, or pass its issuer with --cacert",
  'job-invalid': 'The job file is damaged; remove it with: express-bits-upload jobs cancel',
  'job-mismatch':
    'The job file belongs to another upload; cancel that one with: express-bits-upload jobs cancel',
  'no-progress':
    'There was no progress for the time of --give-up; run the command again when the cause is removed',
  'reply-too-large': 'The reply is too large',
  unauthorized: 'The server requires credentials, or other ones; see --user and --header',
}

/** The message of an error on one line, with the options of the command line. */
export function messageOf(error: unknown): string {
  const { message, cause } = error as Error
  const text = error instanceof UploadError ? errorTexts[error.code] : undefined
  const own = error instanceof UploadError && text ? joinTexts(error.code, text, error.detail) : message
  const below = cause instanceof Error && !own.includes(cause.message) ? ` (${cause.message})` : ''
  return printable(`${own}${below}`)
}
