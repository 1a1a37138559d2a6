import { createHash } from 'node:crypto'
import { type BigIntStats, constants } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isCount, isPlainObject } from '../validate.ts'
import { causeText, UploadError } from './errors.ts'

/** A source that the caller implements. The client may read any range again after a failure. */
export interface UploadSource {
  /** Total number of bytes. */
  readonly size: number
  /** File name to send to the server, for information. */
  readonly name?: string
  /**
   * Must change when the bytes change: a job file is resumed only with the same version. Required with `job`.
   */
  readonly version?: string
  /** Returns the bytes from `start` (inclusive) to `end` (exclusive), as a stream or another iterable. */
  read(start: number, end: number): AsyncIterable<Uint8Array>
}

/** Properties that identify the bytes of an upload, as far as possible without reading them. */
export type Identity = Readonly<Record<string, string | number>>

/** An opened source. */
export interface OpenSource {
  readonly size: number
  readonly name: string | undefined
  /** Undefined for an {@link UploadSource} without `version`. */
  readonly identity: Identity | undefined
  /** Reads from `start` (inclusive) to `end` (exclusive). Fails before the last chunk of a changed source. */
  read(start: number, end: number): AsyncIterable<Uint8Array>
  /** @throws {UploadError} `file-changed` */
  check(): Promise<void>
  close(): Promise<void>
}

/** Bytes of a chunk that is read and sent. */
const SourceChunkBytes = 64 * 1024

/**
 * @throws {TypeError} for a source that cannot be read twice, with what to pass instead
 * @throws {UploadError} `source-failed`
 */
export async function openSource(source: string | URL | Uint8Array | UploadSource): Promise<OpenSource> {
  if (typeof source === 'string' && source !== '') return openFile(resolve(source))
  if (source instanceof URL) return openFile(fileURLToPath(source))
  if (source instanceof Uint8Array) return memorySource(source)
  if (isStream(source)) {
    throw new TypeError(
      'uploadFile: a stream has no size, and cannot be sent again after a failure; write it to a file first, or pass ' +
        '{ size, read(start, end) }',
    )
  }
  if (!isUploadSource(source)) {
    throw new TypeError('uploadFile: the source is a path, a Buffer, or { size, read(start, end) }')
  }
  return callerSource(source)
}

const isStream = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && ('pipe' in value || 'getReader' in value)

function isUploadSource(value: unknown): value is UploadSource {
  if (typeof value !== 'object' || value === null || !('size' in value) || !('read' in value)) return false
  const { size, read, name, version } = value as { [Key in keyof UploadSource]: unknown }
  const isText = [name, version].every((text) => text === undefined || typeof text === 'string')
  return isCount(size) && typeof read === 'function' && isText
}

const fileChangedError = (detail: string): UploadError => new UploadError('file-changed', detail)

/**
 * Flags to open a source. Without O_NONBLOCK, opening a FIFO waits for a writer and cannot be stopped.
 * Windows has no FIFOs, and no such flag.
 */
const SourceOpenFlags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)

const sourceError = (cause: unknown): UploadError =>
  new UploadError('source-failed', causeText(cause), { cause })

async function openFile(path: string): Promise<OpenSource> {
  const handle = await open(path, SourceOpenFlags).catch((error) => {
    throw sourceError(error)
  })
  try {
    const status = await handle.stat({ bigint: true })
    if (!status.isFile()) throw new UploadError('source-failed', `${path} is not a regular file.`)
    return fileSource(path, handle, status)
  } catch (error) {
    await handle.close()
    throw error
  }
}

function fileSource(path: string, handle: FileHandle, initial: BigIntStats): OpenSource {
  const size = Number(initial.size)
  const check = async (): Promise<void> => {
    // By name, not by handle: the handle would still show the old file after the file was replaced.
    const current = await stat(path, { bigint: true }).catch(() => undefined)
    const isSame = (['size', 'mtimeNs', 'ino', 'dev'] as const).every(
      (key) => current?.[key] === initial[key],
    )
    if (!isSame) throw fileChangedError(`${path} is not the file that it was when the upload began.`)
  }
  return {
    size,
    name: basename(path),
    identity: { path, size, mtime: String(initial.mtimeNs) },
    check,
    async *read(start, end) {
      for (let position = start; position < end; ) {
        const length = Math.min(SourceChunkBytes, end - position)
        const { bytesRead, buffer } = await handle
          .read(Buffer.allocUnsafeSlow(length), 0, length, position)
          .catch((error) => {
            throw sourceError(error)
          })
        if (bytesRead === 0) throw fileChangedError(`${path} ends at ${position} instead of ${size}.`)
        position += bytesRead
        // Before the last chunk is sent: an incomplete fragment cannot complete a file of old and new bytes.
        if (position === end) await check()
        yield buffer.subarray(0, bytesRead)
      }
    },
    close: () => handle.close(),
  }
}

function memorySource(bytes: Uint8Array): OpenSource {
  return {
    size: bytes.length,
    name: undefined,
    get identity() {
      return { size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
    },
    async *read(start, end) {
      for (let position = start; position < end; position += SourceChunkBytes)
        yield bytes.subarray(position, Math.min(end, position + SourceChunkBytes))
    },
    async check() {},
    async close() {},
  }
}

function callerSource(source: UploadSource): OpenSource {
  const { size, name, version } = source
  const check = async (): Promise<void> => {
    if (source.size !== size || source.version !== version)
      throw fileChangedError('Its size or version is another one.')
  }
  return {
    size,
    name,
    identity: version === undefined ? undefined : { size, version },
    check,
    async *read(start, end) {
      let remaining = end - start
      for await (const chunk of source.read(start, end)) {
        if (!(chunk instanceof Uint8Array)) throw new TypeError('read(start, end) returns chunks of bytes')
        remaining -= chunk.length
        if (remaining < 0) break
        if (remaining === 0) await check()
        if (chunk.length > 0) yield chunk
      }
      if (remaining !== 0) {
        const amount = remaining < 0 ? 'too many' : 'too few'
        throw new UploadError('source-failed', `read(${start}, ${end}) returned ${amount} bytes.`)
      }
    },
    close: async () => {},
  }
}

export const isSameIdentity = (a: Identity, b: unknown): boolean =>
  isPlainObject(b) && Object.keys({ ...a, ...b }).every((name) => a[name] === b[name])
