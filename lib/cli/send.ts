import { PassThrough } from 'node:stream'
import { stopSignal, UsageError, type Values } from './command.ts'
import { readConnection, readTargetUrl } from './connection.ts'
import { openDisplay } from './display.ts'
import { findFiles, urlFor } from './files.ts'
import { createJobsDirectory, jobPath } from './jobs-directory.ts'
import { type TransferOptions, transferAll } from './transfer.ts'
import { numberOf, sizeValue } from './values.ts'

/** Runs {@link sendCommand}. */
export async function runSend(values: Values, positionals: readonly string[]): Promise<number> {
  const [last, ...rest] = [...positionals].reverse()
  if (last === undefined || rest.length === 0) throw new UsageError('send takes one or more files, and a URL')
  const url = readTargetUrl(last)
  const files = await findFiles(rest.reverse())
  if (files.length > 1 && !url.pathname.endsWith('/')) {
    throw new UsageError(`several files need the URL of a folder: ${url}/`)
  }
  const options = sendOptionsOf(values, files.length)
  await createJobsDirectory()
  const transfers = files.map((file) => {
    const target = urlFor(file, url)
    return { path: file.path, name: file.name, url: target, job: jobPath(file.path, target) }
  })
  return transferUntilStopped(transfers, options)
}

/**
 * Runs {@link transferAll}. The first SIGINT or SIGTERM pauses the transfers, the second ends the process at
 * once.
 */
export async function transferUntilStopped(
  transfers: Parameters<typeof transferAll>[0],
  options: TransferOptions,
): Promise<number> {
  // Standard output is reserved for the reply.
  const display = openDisplay(process.stderr)
  const controller = new AbortController()
  void stopSignal().then(() => controller.abort(new Error('paused')))
  try {
    return await transferAll(transfers, { ...options, signal: controller.signal }, display)
  } finally {
    display.close()
  }
}

function sendOptionsOf(values: Values, files: number): TransferOptions {
  const maxFragmentSize = sizeValue(values, 'max-fragment')
  const reply = values.reply as string | undefined
  if (reply !== undefined && files > 1) throw new UsageError('--reply can only be used with one file')
  return {
    ...readConnection(values),
    parallel: numberOf(values, 'parallel', 1, 100) ?? 3,
    ...(maxFragmentSize !== undefined && { maxFragmentSize }),
    reply: reply === '-' ? standardOutput() : (reply ?? false),
  }
}

/**
 * A stream that writes to standard output. The client ends the stream of a reply; standard output must stay
 * open.
 */
function standardOutput(): PassThrough {
  const through = new PassThrough()
  through.pipe(process.stdout, { end: false })
  // Standard output is closed: the reply cannot be written.
  process.stdout.once('error', (error) => through.destroy(error))
  return through
}
