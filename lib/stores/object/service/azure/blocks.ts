import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import {
  BlobSASPermissions,
  type BlockBlobClient,
  type BlockBlobStageBlockFromURLOptions,
  type ContainerClient,
} from '@azure/storage-blob'
import { inParallel } from '../parallel.ts'
import { ObjectMissing, type PutOptions } from '../service.ts'
import { assertWritten, errorCodeOf, errorStatusOf, uploadBlob } from './requests.ts'

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
export function createBlockStager(
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
        if (!isTransient(error)) throw error
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
const isTransient = (error: unknown): boolean =>
  errorStatusOf(error) === 501 ||
  errorStatusOf(error) === 403 ||
  errorCodeOf(error) === 'CannotVerifyCopySource'

export const objectMissingError = ({ name }: BlockBlobClient, cause: unknown): ObjectMissing =>
  new ObjectMissing(`There is no blob "${name}"`, { cause })

const blocksAtOnce = 8

/** How often a join begins anew because another one came before it. */
const MaxComposeAttempts = 5

export interface BlobSource {
  readonly blob: BlockBlobClient
  readonly size: number
}

/**
 * Makes one blob of several: stages each as a block, and then commits the list of blocks, which publishes all of them at
 * once. To commit discards whatever else is staged for that blob: the joins that are overtaken so begin anew.
 */
export async function joinBlobs(
  target: BlockBlobClient,
  sources: readonly BlobSource[],
  options: PutOptions,
  stage: Stage,
): Promise<void> {
  const { condition, signal } = options
  const blocks = blocksOf(sources)
  const ids = blocks.map(({ id }) => id)
  for (let tries = 1; ; tries += 1) {
    if (condition) await assertWritten(target, condition, signal)
    await inParallel(blocks, blocksAtOnce, signal, (block, either) => stage(target, block, either))
    try {
      await uploadBlob(target, options, (committing) => target.commitBlockList(ids, committing))
      return
    } catch (error) {
      if (errorCodeOf(error) !== 'InvalidBlockList' || tries === MaxComposeAttempts) throw error
    }
  }
}

/**
 * The id of a block says of which join it is, and where in the file it stands. Joins of other sources have other ids. A
 * join of the same ones has the same: when one dies and is begun again, what it left is replaced. Else a file of many
 * blocks that fails often could come to the 100,000 that a blob may have uncommitted ("Understanding block blobs").
 *
 * All ids of a blob that are uncommitted have to be of one length. These have that of the ids which the SDKs for
 * JavaScript and .NET make, 48 bytes, so that what other programs left does not stand in the way.
 */
function blocksOf(sources: readonly BlobSource[]): Block[] {
  const names = sources.map(({ blob, size }) => [blob.name, size])
  const join = createHash('sha256').update(JSON.stringify(names)).digest('hex').slice(0, 36)
  const blocks: Block[] = []
  let offset = 0
  for (const { blob: source, size } of sources) {
    const id = Buffer.from(join + offset.toString(16).padStart(12, '0')).toString('base64')
    if (size > 0) blocks.push({ id, source, size })
    offset += size
  }
  return blocks
}

type SourceAuthorization = NonNullable<BlockBlobStageBlockFromURLOptions['sourceAuthorization']>

/** A blob as the service is told to read it. */
export interface ReadableSource {
  readonly url: string
  readonly sourceAuthorization?: SourceAuthorization
}

/** By the page on best practices for shared access signatures clocks may be a quarter of an hour apart, either way. */
const clockSkew = 15 * 60_000
const validity = 60 * 60_000

/** How long before its end a token is not used any more. */
const tokenMargin = 5 * 60_000

/**
 * Lets the service read blobs of a container on our behalf: a client's own authorization is for the request, not for the
 * source that the request names.
 */
export function sourceReader(container: ContainerClient): (blob: BlockBlobClient) => Promise<ReadableSource> {
  const { credential } = container
  if ('getToken' in credential) {
    const token = tokens(credential)
    return async ({ url }) => ({
      url,
      sourceAuthorization: { scheme: 'Bearer', value: await token() },
    })
  }
  if ('accountName' in credential) {
    return async (blob) => {
      const now = Date.now()
      const url = await blob.generateSasUrl({
        permissions: BlobSASPermissions.parse('r'),
        startsOn: new Date(now - clockSkew),
        expiresOn: new Date(now + validity),
      })
      return { url }
    }
  }
  // A signature that is part of the container's URL is part of its blobs' URLs.
  return async ({ url }) => ({ url })
}

type TokenCredential = Extract<ContainerClient['credential'], { getToken: unknown }>

/** Not every credential remembers its tokens, so this does; of many who ask at once one asks the credential. */
function tokens(credential: TokenCredential): () => Promise<string> {
  let last = Promise.resolve<Awaited<ReturnType<TokenCredential['getToken']>>>(null)
  return async () => {
    last = last
      .catch(() => null)
      .then((held) =>
        held && held.expiresOnTimestamp > Date.now() + tokenMargin
          ? held
          : credential.getToken('https://storage.azure.com/.default'),
      )
    const given = await last
    if (!given) throw new Error('The credential gave no token for the source of a copy')
    return given.token
  }
}
