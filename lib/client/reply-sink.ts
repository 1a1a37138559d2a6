import { type FileHandle, open, rename, unlink } from 'node:fs/promises'
import type { Writable } from 'node:stream'
import { UploadError } from './errors.ts'

/** Where a reply goes. */
export interface ReplySink {
  write(chunk: Buffer): Promise<void>
  /** Forgets what was written. @throws {UploadError} `reply-changed` where that cannot be done */
  restart(): Promise<void>
  /** All is written. Resolves to the bytes, where they are kept in memory. */
  finish(): Promise<Buffer | undefined>
  /** There will be no more; nothing half is left. */
  abandon(): Promise<void>
}

const sinkError = (cause: unknown): UploadError =>
  new UploadError('reply-failed', cause instanceof Error ? `${cause.message}.` : undefined, { cause })

/** A path, a writable stream, or memory. */
export function replySink(target: string | Writable | undefined): ReplySink {
  if (target === undefined) return memorySink()
  return typeof target === 'string' ? fileSink(target) : streamSink(target)
}

function memorySink(): ReplySink {
  let chunks: Buffer[] = []
  const clear = async (): Promise<void> => {
    chunks = []
  }
  return {
    async write(chunk) {
      chunks.push(chunk)
    },
    restart: clear,
    finish: async () => Buffer.concat(chunks),
    abandon: clear,
  }
}

/** Appears under its name when it is whole. */
function fileSink(path: string): ReplySink {
  const beside = `${path}.part`
  let handle: FileHandle | undefined
  let made = false
  let abandoned = false
  let last: Promise<unknown> = Promise.resolve()
  const attempt = <T>(work: () => Promise<T>): Promise<T> => {
    const outcome = work().catch((error) => {
      throw sinkError(error)
    })
    last = outcome
    return outcome
  }
  const opened = async (): Promise<FileHandle> => {
    // A chunk that was on its way when the upload was stopped must not make it again.
    if (abandoned) throw new Error('The upload has ended')
    handle ??= await open(beside, 'w')
    made = true
    return handle
  }
  const close = async (): Promise<void> => {
    await handle?.close()
    handle = undefined
  }
  return {
    write: (chunk) => attempt(async () => void (await (await opened()).writeFile(chunk))),
    restart: () => attempt(close),
    finish: () =>
      attempt(async () => {
        await (await opened()).sync()
        await close()
        await rename(beside, path)
        made = false
        return undefined
      }),
    async abandon() {
      abandoned = true
      await last.catch(() => {})
      await close().catch(() => {})
      if (made) await unlink(beside).catch(() => {})
    },
  }
}

function streamSink(stream: Writable): ReplySink {
  let begun = false
  let broken: unknown
  const onError = (error: unknown): void => {
    broken = error
  }
  stream.on('error', onError)
  /** Resolves to an error, if there was one. A stream that is destroyed does not always call back. */
  const calledBack = (begin: (done: (error?: unknown) => void) => void): Promise<unknown> =>
    new Promise((resolve) => {
      const closed = (): void => resolve(undefined)
      stream.once('close', closed)
      begin((error) => {
        stream.off('close', closed)
        resolve(error)
      })
    })
  const check = (): void => {
    if (broken || stream.destroyed) throw sinkError(broken ?? new Error('The stream was closed'))
  }
  return {
    async write(chunk) {
      check()
      begun = true
      await calledBack((done) => stream.write(chunk, done))
      check()
    },
    async restart() {
      if (begun) throw new UploadError('reply-changed', 'A part of it was written to the stream already.')
    },
    async finish() {
      check()
      // The types know nothing of its argument: the error, if it came to one.
      const error = await calledBack((done) => stream.end(done as () => void))
      stream.off('error', onError)
      if (error || !stream.writableFinished)
        throw sinkError(error ?? broken ?? new Error('The stream was closed'))
      return undefined
    },
    async abandon() {
      if (!stream.writableFinished) stream.destroy()
      stream.off('error', onError)
    },
  }
}
