import type { ObjectSpace, SpaceOptions } from '../../objects/space.ts'
import { wantFolder } from './keys.ts'
import type { Holder } from './lock-object.ts'

/** A lock that a node has, and somebody waits for. */
export interface Want {
  /** Of the lock's name. */
  readonly hash: string
  readonly nonce: string
}

const hashLength = 64

/** Tells a node that a lock of it is wanted: this one, not the one that it takes under the same name after it. */
export async function announce(
  space: ObjectSpace,
  hash: string,
  { node, nonce }: Holder,
  options?: SpaceOptions,
): Promise<void> {
  await space.put(wantKey(node, { hash, nonce }), [], options)
}

/** All that is wanted of a node. */
export async function* listWants(
  space: ObjectSpace,
  node: string,
  options?: SpaceOptions,
): AsyncGenerator<Want> {
  const folder = wantFolder(node)
  for await (const { key } of space.list(folder, options)) {
    const name = key.slice(folder.length)
    yield { hash: name.slice(0, hashLength), nonce: name.slice(hashLength + 1) }
  }
}

/** Takes what is wanted for told. */
export const removeWants = (space: ObjectSpace, node: string, wants: readonly Want[]): Promise<void> =>
  space.remove(wants.map((want) => wantKey(node, want)))

const wantKey = (node: string, { hash, nonce }: Want): string => `${wantFolder(node)}${hash}.${nonce}`
