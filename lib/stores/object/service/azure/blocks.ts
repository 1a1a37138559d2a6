import type { Readable } from 'node:stream'
import {
  BlobSASPermissions,
  type BlockBlobClient,
  type BlockBlobStageBlockFromURLOptions,
  type ContainerClient,
} from '@azure/storage-blob'
import { abortOptions } from '../service.ts'
import { azureErrorCode, azureErrorStatus } from './requests.ts'

/** One block of a blob: all bytes of another blob. */
interface Block {
  readonly id: string
  readonly source: BlockBlobClient
  /** Bytes, at least 1: a block cannot be empty (page on Put Block). */
  readonly size: number
}

/** Stages a block of a blob. */
type StageBlock = (target: BlockBlobClient, block: Block, signal?: AbortSignal) => Promise<void>

/**
 * Returns a function that lets the service copy blocks itself (Put Block From URL). If the service cannot,
 * because it does not implement that request or has no access to the source, the bytes pass through this
 * process: those of this block and of all later ones.
 * @param read streams all bytes of a source
 */
export function createBlockStager(
  container: ContainerClient,
  read: (source: BlockBlobClient, size: number) => Readable,
): StageBlock {
  const authorize = sourceAuthorizer(container)
  let canCopy = true

  const copy: StageBlock = async (target, { id, source, size }, signal) => {
    const { url, ...authorization } = await authorize(source)
    await target.stageBlockFromURL(id, url, 0, size, { ...abortOptions(signal), ...authorization })
  }

  const transfer: StageBlock = async (target, { id, source, size }, signal) => {
    let stream: Readable | undefined
    const failure = new AbortController()
    // Called each time that the SDK sends the request.
    const body = (): Readable => {
      stream?.destroy()
      // The SDK does not handle errors of a stream that it sends, and does not destroy the stream when it
      // gives up.
      stream = read(source, size).on('error', (error) => failure.abort(error))
      return stream
    }
    try {
      const abortSignal = signal ? AbortSignal.any([signal, failure.signal]) : failure.signal
      await target.stageBlock(id, body, size, { abortSignal })
    } catch (error) {
      throw failure.signal.reason ?? error
    } finally {
      stream?.destroy()
    }
  }

  return async (target, block, signal) => {
    if (canCopy) {
      try {
        return await copy(target, block, signal)
      } catch (error) {
        if (!isCopyRefused(error)) throw error
      }
    }
    await transfer(target, block, signal)
    canCopy = false
  }
}

/**
 * The service did not copy. Azurite returns 501. The service returns CannotVerifyCopySource with the status
 * of the source, or 403, for example when the account's firewall allows the address of this process but not
 * that of the service. A missing source has the same code; reading it then reports that.
 */
const isCopyRefused = (error: unknown): boolean =>
  azureErrorStatus(error) === 501 ||
  azureErrorStatus(error) === 403 ||
  azureErrorCode(error) === 'CannotVerifyCopySource'

/**
 * Allowed difference of two clocks, either way (page "Best practices when using shared access signatures"):
 * 15 minutes.
 */
const ClockSkewMs = 15 * 60_000
const SignatureTtlMs = 60 * 60_000

/** A token is replaced this long before it expires. */
const TokenMarginMs = 5 * 60_000

type SourceAuthorization = NonNullable<BlockBlobStageBlockFromURLOptions['sourceAuthorization']>

/** How the service gets access to the source of a copy. */
interface AuthorizedSource {
  readonly url: string
  readonly sourceAuthorization?: SourceAuthorization
}

/**
 * Returns a function that gives the service read access to blobs of a container. The authorization of the
 * copy request itself does not apply to its source.
 */
function sourceAuthorizer(container: ContainerClient): (blob: BlockBlobClient) => Promise<AuthorizedSource> {
  const { credential } = container
  if ('getToken' in credential) {
    const getToken = cachedToken(credential)
    return async ({ url }) => ({
      url,
      sourceAuthorization: { scheme: 'Bearer', value: await getToken() },
    })
  }
  if ('accountName' in credential) {
    return async (blob) => {
      const now = Date.now()
      const url = await blob.generateSasUrl({
        permissions: BlobSASPermissions.parse('r'),
        startsOn: new Date(now - ClockSkewMs),
        expiresOn: new Date(now + SignatureTtlMs),
      })
      return { url }
    }
  }
  // A signature in the URL of the container is also in the URLs of its blobs.
  return async ({ url }) => ({ url })
}

type TokenCredential = Extract<ContainerClient['credential'], { getToken: unknown }>

/** Caches the token of a credential, because some credentials do not. Concurrent calls share one request. */
function cachedToken(credential: TokenCredential): () => Promise<string> {
  let last = Promise.resolve<Awaited<ReturnType<TokenCredential['getToken']>>>(null)
  return async () => {
    last = last
      .catch(() => null)
      .then((cached) =>
        cached && cached.expiresOnTimestamp > Date.now() + TokenMarginMs
          ? cached
          : credential.getToken('https://storage.azure.com/.default'),
      )
    const token = await last
    if (!token) throw new Error('The credential returned no token for the source of a copy')
    return token.token
  }
}
