import { systemClock } from './clock.ts'
import type { Connections } from './connections.ts'
import { Job } from './job.ts'
import type { JobBinding } from './job-writer.ts'
import { readUploadOptions, readUploadUrl, type UploadOptions } from './options.ts'
import type { UploadResult } from './progress.ts'
import { type OpenSource, openSource, type UploadSource } from './source.ts'
import { Upload } from './upload.ts'

/**
 * Uploads a file by the BITS Upload Protocol. The promise resolves when the server holds the file, with the
 * reply if there is one. Failures that can pass are retried until there was no progress for
 * `noProgressTimeout`. Aborting `signal` is a pause: the session stays on the server, and the next call with
 * the same job file resumes it.
 *
 * @param source a path, a `Buffer`, or an object that returns any range of the bytes
 * @param url the complete URL of the uploaded file
 * @example await uploadFile('./today.log', 'https://files.example/upload/today.log', { job: './today.job' })
 * @throws {TypeError} for an invalid option, or a source that cannot be read twice, with what to write
 *   instead
 * @throws {UploadError} with `code`, if the upload failed
 * @throws the signal's reason, if the signal is aborted
 */
export function uploadFile(
  source: string | URL | Uint8Array | UploadSource,
  url: string | URL,
  options: UploadOptions = {},
): Promise<UploadResult> {
  return uploadOver(undefined, source, url, options)
}

/**
 * {@link uploadFile} over connections that several uploads share.
 *
 * @param connections with the `tls` of the options; undefined: its own, which are closed at the end
 */
export async function uploadOver(
  connections: Connections | undefined,
  source: string | URL | Uint8Array | UploadSource,
  url: string | URL,
  options: UploadOptions,
): Promise<UploadResult> {
  const settings = readUploadOptions(options)
  const destination = readUploadUrl(url)
  settings.signal?.throwIfAborted()
  const openedSource = await openSource(source)
  try {
    const binding = await openJob(settings.job, destination, openedSource)
    try {
      return await new Upload(openedSource, destination, settings, systemClock, {
        binding,
        connections,
      }).run()
    } finally {
      await binding?.job.release()
    }
  } finally {
    await openedSource.close()
  }
}

/** Opens the job file, and checks that it belongs to this upload. */
async function openJob(
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
