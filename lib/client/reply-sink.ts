import { type FileHandle, open, rename, unlink } from 'node:fs/promises'
import type { Writable } from 'node:stream'
import { causeText, UploadError } from './errors.ts'

/** Destination of a reply. */
export interface ReplySink {
  write(chunk: Buffer): Promise<void>
  /** Discards the written bytes. @throws {UploadError} `reply-changed` if that is impossible */
  restart(): Promise<void>
  /** Completes the reply. Resolves to its bytes, if the destination is memory. */
  finish(): Promise<Buffer | undefined>
  /** Ends an incomplete reply, and deletes its file. */
  abandon(): Promise<void>
}

const sinkError = (cause: unknown): UploadError =>
  new UploadError('reply-failed', causeText(cause), { cause })

/** @param destination a path or a writable stream; undefined: memory */
export function replySink(destination: string | Writable | undefined): ReplySink {
  if (destination === undefined) return memorySink()
  return typeof destination === 'string' ? fileSink(destination) : streamSink(destination)
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

/** Writes to `<path>.part`, and renames it to `path` when the reply is complete. */
function fileSink(path: string): ReplySink {
  const partPath = `${path}.part`
  let handle: FileHandle | undefined
  let created = false
  let abandoned = false
  let lastOperation: Promise<unknown> = Promise.resolve()
  const run = <T>(work: () => Promise<T>): Promise<T> => {
    const outcome = work().catch((error) => {
      throw sinkError(error)
    })
    lastOperation = outcome
    return outcome
  }
  const openPart = async (): Promise<FileHandle> => {
    // A chunk that arrives after the upload was stopped must not create the file again.
    if (abandoned) throw new Error('The upload has ended')
    handle ??= await open(partPath, 'w')
    created = true
    return handle
  }
  const close = async (): Promise<void> => {
    await handle?.close()
    handle = undefined
  }
  return {
    write: (chunk) => run(async () => void (await (await openPart()).writeFile(chunk))),
    restart: () => run(close),
    finish: () =>
      run(async () => {
        await (await openPart()).sync()
        await close()
        await rename(partPath, path)
        created = false
        return undefined
      }),
    async abandon() {
      abandoned = true
      await lastOperation.catch(() => {})
      await close().catch(() => {})
      if (created) await unlink(partPath).catch(() => {})
    },
  }
}

function streamSink(stream: Writable): ReplySink {
  let hasWritten = false
  let streamError: unknown
  const onError = (error: unknown): void => {
    streamError = error
  }
  stream.on('error', onError)
  /** Resolves to the error of an operation, if any. A destroyed stream may emit only 'close'. */
  const completed = (start: (callback: (error?: unknown) => void) => void): Promise<unknown> =>
    new Promise((resolve) => {
      const onClose = (): void => resolve(undefined)
      stream.once('close', onClose)
      start((error) => {
        stream.off('close', onClose)
        resolve(error)
      })
    })
  const check = (): void => {
    if (streamError || stream.destroyed) throw sinkError(streamError ?? new Error('The stream was closed'))
  }
  return {
    async write(chunk) {
      check()
      hasWritten = true
      await completed((callback) => stream.write(chunk, callback))
      check()
    },
    async restart() {
      if (hasWritten) {
        throw new UploadError('reply-changed', 'A part of it was already written to the stream.')
      }
    },
    async finish() {
      check()
      // The callback gets the error of the stream, if any; its type in @types/node has no parameter.
      const error = await completed((callback) => stream.end(callback as () => void))
      stream.off('error', onError)
      if (error || !stream.writableFinished)
        throw sinkError(error ?? streamError ?? new Error('The stream was closed'))
      return undefined
    },
    async abandon() {
      if (!stream.writableFinished) stream.destroy()
      stream.off('error', onError)
    },
  }
}
