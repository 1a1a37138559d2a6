import type { Readable } from 'node:stream'
import type { BlockBlobClient, ContainerClient } from '@azure/storage-blob'
import { ObjectMissing } from '../space.ts'
import { codeOf, statusOf } from './answers.ts'
import { sourceReader } from './source.ts'

/** One block of a blob to be: all bytes of another blob. */
export interface Block {
  readonly id: string
  readonly source: BlockBlobClient
  /** Bytes, at least 1: by the page on Put Block none is empty. */
  readonly size: number
}

/** Stages a block of a blob. */
export type Stage = (target: BlockBlobClient, block: Block, signal: AbortSignal) => Promise<void>

/**
 * Has the service copy blocks within itself (Put Block From URL). Where it cannot, because it has no such request, or may
 * not read the source as whoever stands in the source's network may, the bytes pass through this process, and so do those
 * of all blocks that follow.
 * @param read all bytes of a source
 */
export function staging(
  container: ContainerClient,
  read: (source: BlockBlobClient, size: number) => Readable,
): Stage {
  const readable = sourceReader(container)
  let passing = false

  const copy: Stage = async (target, { id, source, size }, signal) => {
    const { url, ...authorization } = await readable(source)
    await target.stageBlockFromURL(id, url, 0, size, { abortSignal: signal, ...authorization })
  }

  const pass: Stage = async (target, { id, source, size }, signal) => {
    let stream: Readable | undefined
    const failure = new AbortController()
    // Called for each time that the SDK sends the request.
    const body = (): Readable => {
      stream?.destroy()
      // The SDK neither listens for errors of a stream that it sends, nor ends it when it gives up.
      stream = read(source, size).on('error', (error) => failure.abort(error))
      return stream
    }
    try {
      const abortSignal = AbortSignal.any([signal, failure.signal])
      await target.stageBlock(id, body, size, { abortSignal })
    } catch (error) {
      throw failure.signal.reason ?? error
    } finally {
      stream?.destroy()
    }
  }

  return async (target, block, signal) => {
    if (!passing) {
      try {
        return await copy(target, block, signal)
      } catch (error) {
        if (!mayPass(error)) throw error
      }
    }
    await pass(target, block, signal)
    passing = true
  }
}

/**
 * Azurite answers 501. The service answers CannotVerifyCopySource with the status that it got from the source, or 403 for
 * itself, for example where the account's firewall lets this process in by its address, which is not that of the copy. If
 * the source is missing, too: whoever reads it will tell.
 */
const mayPass = (error: unknown): boolean =>
  statusOf(error) === 501 || statusOf(error) === 403 || codeOf(error) === 'CannotVerifyCopySource'

export const missing = ({ name }: BlockBlobClient, cause: unknown): ObjectMissing =>
  new ObjectMissing(`There is no blob "${name}"`, { cause })
