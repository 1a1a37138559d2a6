import type { ObjectSpace, SpaceOptions } from '../../objects/space.ts'
import { lockKeys, nodeKey, nodeKeys, wantFolder, wantFolders } from './keys.ts'
import type { Witness } from './witness.ts'

/** Locks that are looked at at the same time. */
const AtOnce = 16

/**
 * Removes what dead nodes left. It disturbs none that lives, not even one that was taken for dead: that one goes on under
 * another id.
 *
 * @param clearLock lets a lock go that nobody has, given the hash of its name
 */
export async function clearDead(
  space: ObjectSpace,
  witness: Witness,
  clearLock: (hash: string, options: SpaceOptions) => Promise<void>,
  options: SpaceOptions,
): Promise<void> {
  const hashes = await namesBelow(space, lockKeys, options)
  for (let i = 0; i < hashes.length; i += AtOnce) {
    await Promise.all(hashes.slice(i, i + AtOnce).map((hash) => clearLock(hash, options)))
  }
  const keys: string[] = []
  for await (const node of space.folders(wantFolders, options)) {
    if (!(await witness.isDead(node))) continue
    for await (const { key } of space.list(wantFolder(node), options)) keys.push(key)
  }
  const nodes = await namesBelow(space, nodeKeys, options)
  for (const node of nodes) if (await witness.isDead(node)) keys.push(nodeKey(node))
  await space.remove(keys, options)
  witness.retain(new Set(nodes))
}

async function namesBelow(space: ObjectSpace, prefix: string, options: SpaceOptions): Promise<string[]> {
  const names: string[] = []
  for await (const { key } of space.list(prefix, options)) {
    // Not the empty object that consoles of services put in the place of a folder.
    if (key !== prefix) names.push(key.slice(prefix.length))
  }
  return names
}
