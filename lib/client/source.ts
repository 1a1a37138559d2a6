import { createHash } from 'node:crypto'
import { type BigIntStats, closeSync, constants, fstatSync, open, read } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
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
  /**
   * Reads from `start` (inclusive) to `end` (exclusive). Throws `file-changed` before the first chunk, or before the last one.
   * A chunk is valid until the next one is requested.
   */
  read(start: number, end: number): AsyncGenerator<Uint8Array>
  close(): Promise<void>
}

/**
 * Bytes of a chunk of a file. Larger chunks need fewer calls. But sending counts as stuck if a chunk takes longer than
 * `sendTimeout`, so a range, whose length adapts to the connection, has at least eight chunks or the smallest ones.
 */
const chunkBytes = (range: number): number =>
  Math.min(256 * 1024, Math.max(SmallestChunkBytes, Math.ceil(range / 8)))
/** Also the bytes of the chunks of a source in memory. */
const SmallestChunkBytes = 64 * 1024

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

const openDescriptor = promisify(open)
const readDescriptor = promisify(read)

async function openFile(path: string): Promise<OpenSource> {
  const descriptor = await openDescriptor(path, SourceOpenFlags).catch((error) => {
    throw sourceError(error)
  })
  try {
    // Neither this nor closing it waits for the disk. Another thread would take ten times as long.
    const status = fstatSync(descriptor, { bigint: true })
    if (!status.isFile()) throw new UploadError('source-failed', `${path} is not a regular file.`)
    return new FileSource(path, descriptor, status)
  } catch (error) {
    closeSync(descriptor)
    throw error
  }
}

class FileSource implements OpenSource {
  readonly size: number
  readonly name: string
  readonly identity: Identity
  readonly #path: string
  readonly #descriptor: number
  readonly #initial: BigIntStats
  /** The last call that reads; it never rejects. */
  #reading: Promise<unknown> = Promise.resolve()
  /**
   * Memory that no read uses. All chunks are in the same memory, because each is sent before the next is read. With new
   * memory for each, its collection took half of the processor time.
   */
  #buffer: Buffer | undefined

  constructor(path: string, descriptor: number, initial: BigIntStats) {
    this.size = Number(initial.size)
    this.name = basename(path)
    this.identity = { path, size: this.size, mtime: String(initial.mtimeNs) }
    this.#path = path
    this.#descriptor = descriptor
    this.#initial = initial
  }

  async *read(start: number, end: number): AsyncGenerator<Uint8Array> {
    const max = Math.min(chunkBytes(end - start), end - start)
    if (start === end || start + max < end) await this.#check()
    const buffer = this.#buffer && this.#buffer.length >= max ? this.#buffer : Buffer.allocUnsafeSlow(max)
    this.#buffer = undefined
    for (let position = start; position < end; ) {
      const bytesRead = await this.#fill(buffer, Math.min(max, end - position), position)
      position += bytesRead
      // Before the last chunk is sent: an incomplete fragment cannot complete a file of old and new bytes.
      if (bytesRead === this.size) this.#checkDescriptor()
      else if (position === end) await this.#check()
      yield buffer.subarray(0, bytesRead)
    }
    // Not after a failure, because the system may still use the memory.
    this.#buffer = buffer
  }

  async #fill(buffer: Buffer, length: number, position: number): Promise<number> {
    const reading = readDescriptor(this.#descriptor, buffer, 0, length, position)
    this.#reading = reading.catch(() => {})
    const { bytesRead } = await reading.catch((error) => {
      throw sourceError(error)
    })
    if (bytesRead > 0) return bytesRead
    throw fileChangedError(`${this.#path} ends at ${position} instead of ${this.size}.`)
  }

  /** By name, because the descriptor would still show the old file after the file was replaced. */
  async #check(): Promise<void> {
    this.#compare(await stat(this.#path, { bigint: true }).catch(() => undefined))
  }

  /** Enough for a file that is read at once: if it was replaced, the bytes are all of the old one. */
  #checkDescriptor(): void {
    this.#compare(fstatSync(this.#descriptor, { bigint: true }))
  }

  #compare(current: BigIntStats | undefined): void {
    const isSame = (['size', 'mtimeNs', 'ino', 'dev'] as const).every(
      (key) => current?.[key] === this.#initial[key],
    )
    if (isSame) return
    throw fileChangedError(`${this.#path} is not the file that it was when the upload began.`)
  }

  async close(): Promise<void> {
    // A read after that would use the file that gets the same descriptor.
    await this.#reading
    closeSync(this.#descriptor)
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
      for (let position = start; position < end; position += SmallestChunkBytes)
        yield bytes.subarray(position, Math.min(end, position + SmallestChunkBytes))
    },
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
    async *read(start, end) {
      await check()
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
