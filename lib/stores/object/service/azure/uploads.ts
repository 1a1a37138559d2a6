/** Uploads in parts: uncommitted blocks of a blob. */
import { randomBytes } from 'node:crypto'
import type { BlockBlobClient } from '@azure/storage-blob'
import { abortOptions, type PutOptions, type ServiceOptions, uploadMissing } from '../service.ts'
import { azureErrorCode, blobBody, uploadBlob } from './requests.ts'

/**
 * A random id of an upload, and of a part: 18 characters, 104 random bits.
 *
 * All uncommitted ids of a blob must have the same length. An upload and a part together have the length of the
 * ids of the SDKs for JavaScript and .NET, 48 bytes, so that blocks that other programs left do not cause errors.
 */
export const newAzureId = (): string => randomBytes(13).toString('base64url')

export const blockIdOf = (upload: string, tag: string): string => Buffer.from(upload + tag).toString('base64')

/**
 * Stages a block. Each call has another id, so that no block replaces another one, whose bytes may differ. If the
 * SDK repeats the request it replaces the block by the same bytes.
 */
export async function putAzurePart(
  blob: BlockBlobClient,
  upload: string,
  chunks: readonly Uint8Array[],
  { signal }: ServiceOptions = {},
): Promise<string> {
  const tag = newAzureId()
  const { body, size } = blobBody(chunks)
  await blob.stageBlock(blockIdOf(upload, tag), body, size, abortOptions(signal))
  return tag
}

/**
 * Commits the blocks of an upload.
 *
 * The request may be carried out twice, because the SDK repeats it after a lost response. The SDK sends each block
 * as `Latest`, which also finds a block that the first request has committed, so the list alone does not refuse
 * the second one. The condition does: after the first request the blob exists (`absent`), and has another version. If the
 * blob was removed or replaced in between, its blocks are gone, so that the list is invalid. Without a condition the
 * second request writes the same bytes again.
 *
 * @param blocks their ids
 */
export async function commitBlocks(
  blob: BlockBlobClient,
  blocks: readonly string[],
  options: PutOptions,
): Promise<void> {
  try {
    await uploadBlob(blob, options, (writeOptions) => blob.commitBlockList([...blocks], writeOptions))
  } catch (error) {
    throw azureErrorCode(error) === 'InvalidBlockList' ? uploadMissing(blob.name, error) : error
  }
}
