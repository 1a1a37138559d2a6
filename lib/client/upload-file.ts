import { systemClock } from './clock.ts'
import { Job } from './job.ts'
import type { JobBinding } from './job-writer.ts'
import { readUploadOptions, readUploadUrl, type UploadOptions } from './options.ts'
import type { UploadResult } from './result.ts'
import { type OpenSource, openSource, type UploadSource } from './source.ts'
import { Upload } from './upload.ts'

/**
 * Uploads a file by the BITS Upload Protocol; resolves when the server holds it, with the reply if there is one. Breaks
 * are waited out, as long as `noProgressTimeout` says. Aborting `signal` is a pause: the session stays on the server, and
 * the next call with the same job file goes on with it.
 *
 * @param source a path, a `Buffer`, or bytes of the caller's own
 * @param url the whole URL that the file is to have
 * @example await uploadFile('./today.log', 'https://files.example/upload/today.log', { job: './today.job' })
 * @throws {TypeError} for a source that cannot be read twice, and for options, with what to write instead
 * @throws {UploadError} with `code`, when it gave up
 * @throws the signal's reason, when it is aborted
 */
export async function uploadFile(
  source: string | URL | Uint8Array | UploadSource,
  url: string | URL,
  options: UploadOptions = {},
): Promise<UploadResult> {
  const settings = readUploadOptions(options)
  const destination = readUploadUrl(url)
  settings.signal?.throwIfAborted()
  const opened = await openSource(source)
  try {
    const memory = await saveBinding(settings.job, destination, opened)
    try {
      return await new Upload(opened, destination, settings, systemClock, memory).run()
    } finally {
      await memory?.job.release()
    }
  } finally {
    await opened.close()
  }
}

async function saveBinding(
  path: string | undefined,
  url: URL,
  source: OpenSource,
): Promise<JobBinding | undefined> {
  if (path === undefined) return undefined
  const { identity } = source
  if (!identity) {
    throw new TypeError("uploadFile: with a job file the source has a 'version' that changes with its bytes")
  }
  const job = await Job.open(path)
  try {
    job.assertMatches(url.href, identity)
  } catch (error) {
    await job.release()
    throw error
  }
  return { job, identity }
}
