import { createHash } from 'node:crypto'
import { type BigIntStats, constants } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isPlainObject } from '../validate.ts'
import { UploadError } from './errors.ts'

/** Bytes of the caller's own, from wherever they come: they are asked for again after a break. */
export interface UploadSource {
  /** Bytes in all. */
  readonly size: number
  /** A name to tell the server, for information. */
  readonly name?: string
  /** Changes when the bytes change; a job file is only resumed with the one that it began with. Required for `job`. */
  readonly version?: string
  /** The bytes from `start` up to, but not, `end`: a stream of `node:stream`, or any other iterable of chunks. */
  read(start: number, end: number): AsyncIterable<Uint8Array>
}

/** What distinguishes the bytes of an upload from any others, as far as can be told without reading them. */
export type Identity = Readonly<Record<string, string | number>>

/** Bytes that can be sent, and sent again. */
export interface OpenSource {
  readonly size: number
  readonly name: string | undefined
  /** Undefined where the caller did not say. */
  readonly identity: Identity | undefined
  /** The bytes from `start` up to, but not, `end`; fails rather than hand over the last of what has changed. */
  read(start: number, end: number): AsyncIterable<Uint8Array>
  /** @throws {UploadError} `file-changed` */
  check(): Promise<void>
  close(): Promise<void>
}

/** Bytes read, and sent, at once. */
const SourceChunk = 64 * 1024

/**
 * @throws {TypeError} for what cannot be read twice, with what to do instead
 * @throws {UploadError} `source-failed`
 */
export async function openSource(source: string | URL | Uint8Array | UploadSource): Promise<OpenSource> {
  if (typeof source === 'string' && source !== '') return openFile(resolve(source))
  if (source instanceof URL) return openFile(fileURLToPath(source))
  if (source instanceof Uint8Array) return memorySource(source)
  if (isStream(source)) {
    throw new TypeError(
      'uploadFile: a stream tells no size, and cannot be sent again after a break; write it to a file first, or pass ' +
        '{ size, read(start, end) }',
    )
  }
  if (!isUploadSource(source)) {
    throw new TypeError('uploadFile: the source is a path, a Buffer, or { size, read(start, end) }')
  }
  return callersSource(source)
}

const isStream = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && ('pipe' in value || 'getReader' in value)

function isUploadSource(value: unknown): value is UploadSource {
  if (typeof value !== 'object' || value === null || !('size' in value) || !('read' in value)) return false
  const { size, read, name, version } = value as { [Key in keyof UploadSource]: unknown }
  const isText = [name, version].every((text) => text === undefined || typeof text === 'string')
  return Number.isSafeInteger(size) && (size as number) >= 0 && typeof read === 'function' && isText
}

const changed = (fact: string): UploadError => new UploadError('file-changed', fact)

/** To open a pipe takes until somebody writes to it, and nothing could stop that. Windows has no such files. */
const ReadAtOnce = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)

async function openFile(path: string): Promise<OpenSource> {
  const failed = (cause: unknown): UploadError =>
    new UploadError('source-failed', cause instanceof Error ? `${cause.message}.` : undefined, { cause })
  const handle = await open(path, ReadAtOnce).catch((error) => {
    throw failed(error)
  })
  try {
    const first = await handle.stat({ bigint: true })
    if (!first.isFile()) throw new UploadError('source-failed', `${path} is no regular file.`)
    return fileSource(path, handle, first, failed)
  } catch (error) {
    await handle.close()
    throw error
  }
}

function fileSource(
  path: string,
  handle: FileHandle,
  first: BigIntStats,
  failed: (cause: unknown) => UploadError,
): OpenSource {
  const size = Number(first.size)
  const check = async (): Promise<void> => {
    // By its name: a file that was replaced is another one, though the old one can still be read.
    const now = await stat(path, { bigint: true }).catch(() => undefined)
    const same = (['size', 'mtimeNs', 'ino', 'dev'] as const).every((fact) => now?.[fact] === first[fact])
    if (!same) throw changed(`${path} is not what it was when the upload began.`)
  }
  return {
    size,
    name: basename(path),
    identity: { path, size, mtime: String(first.mtimeNs) },
    check,
    async *read(start, end) {
      for (let at = start; at < end; ) {
        const length = Math.min(SourceChunk, end - at)
        const { bytesRead, buffer } = await handle
          .read(Buffer.allocUnsafeSlow(length), 0, length, at)
          .catch((error) => {
            throw failed(error)
          })
        if (bytesRead === 0) throw changed(`${path} ends at ${at} instead of ${size}.`)
        at += bytesRead
        // Before the last bytes go out: a fragment that is never whole leaves no mixture of old and new.
        if (at === end) await check()
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
      for (let at = start; at < end; at += SourceChunk)
        yield bytes.subarray(at, Math.min(end, at + SourceChunk))
    },
    async check() {},
    async close() {},
  }
}

function callersSource(source: UploadSource): OpenSource {
  const { size, name, version } = source
  const check = async (): Promise<void> => {
    if (source.size !== size || source.version !== version) throw changed('The source says so.')
  }
  return {
    size,
    name,
    identity: version === undefined ? undefined : { size, version },
    check,
    async *read(start, end) {
      let left = end - start
      for await (const chunk of source.read(start, end)) {
        if (!(chunk instanceof Uint8Array)) throw new TypeError('read(start, end) gives chunks of bytes')
        left -= chunk.length
        if (left < 0) break
        if (left === 0) await check()
        if (chunk.length > 0) yield chunk
      }
      if (left !== 0) {
        const word = left < 0 ? 'more' : 'fewer'
        throw new UploadError('source-failed', `read(${start}, ${end}) gave ${word} bytes.`)
      }
    },
    close: async () => {},
  }
}

export const isSameIdentity = (a: Identity, b: unknown): boolean =>
  isPlainObject(b) && Object.keys({ ...a, ...b }).every((name) => a[name] === b[name])
