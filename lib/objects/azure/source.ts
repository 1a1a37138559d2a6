import {
  BlobSASPermissions,
  type BlockBlobClient,
  type BlockBlobStageBlockFromURLOptions,
  type ContainerClient,
} from '@azure/storage-blob'

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
