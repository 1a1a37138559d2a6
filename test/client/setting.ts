/** Fixtures of the client tests. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../lib/client/clock.ts'
import { type UploadOptions, type UploadSource, uploadFile } from '../../lib/client/index.ts'
import { readUploadOptions } from '../../lib/client/options.ts'
import type { UploadResult } from '../../lib/client/progress.ts'
import { openSource } from '../../lib/client/source.ts'
import { Upload } from '../../lib/client/upload.ts'
import { temporaryDirectory } from '../support/directory.ts'
import type { FakeServer } from './fake-server.ts'

/** A clock whose waits end at once. */
export interface FastClock extends Clock {
  time: number
  /** The milliseconds of each wait. */
  readonly waits: number[]
}

/** @param random the result of each call of `random()` */
export function fastClock(random = 1): FastClock {
  const clock: FastClock = {
    time: 1_000_000,
    waits: [],
    now: () => clock.time,
    random: () => random,
    async wait(milliseconds, signal) {
      signal?.throwIfAborted()
      clock.waits.push(milliseconds)
      clock.time += milliseconds
    },
  }
  return clock
}

/** `uploadFile` with another clock, without a job file. */
export async function uploadBy(
  clock: Clock,
  source: Uint8Array | UploadSource,
  url: URL,
  options: UploadOptions = {},
): Promise<UploadResult> {
  return new Upload(await openSource(source), url, readUploadOptions(options), clock).run()
}

/** A file on disk, and the path of a job file that does not exist. */
export async function fileAndJob(bytes: Uint8Array) {
  const directory = await temporaryDirectory()
  const path = join(directory, 'a.bin')
  await writeFile(path, bytes)
  return { directory, path, job: join(directory, 'a.job') }
}

/** Pauses an upload when the server receives the fragment that begins at `first`. */
export async function pauseAt(
  first: number,
  server: FakeServer,
  source: string | Uint8Array,
  options: UploadOptions,
): Promise<void> {
  const controller = new AbortController()
  const pause = new Error('paused')
  server.hangAt = first
  server.onHang = () => controller.abort(pause)
  const upload = uploadFile(source, new URL('a.bin', server.url), { ...options, signal: controller.signal })
  const outcome = await server.watch(upload).catch((error) => error)
  if (outcome !== pause) throw new Error('The upload was not paused', { cause: outcome })
}
