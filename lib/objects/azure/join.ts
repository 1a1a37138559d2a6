import { createHash } from 'node:crypto'
import type { BlockBlobClient } from '@azure/storage-blob'
import { inParallel } from '../parallel.ts'
import type { PutOptions } from '../space.ts'
import { codeOf } from './answers.ts'
import type { Block, Stage } from './stage.ts'
import { check, write } from './write.ts'

const blocksAtOnce = 8

/** How often a join begins anew because another one came before it. */
const maxTries = 5

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
    if (condition) await check(target, condition, signal)
    await inParallel(blocks, blocksAtOnce, signal, (block, either) => stage(target, block, either))
    try {
      await write(target, options, (committing) => target.commitBlockList(ids, committing))
      return
    } catch (error) {
      if (codeOf(error) !== 'InvalidBlockList' || tries === maxTries) throw error
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
