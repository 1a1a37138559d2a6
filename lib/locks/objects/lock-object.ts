import { type Condition, ConditionFailed, type ObjectSpace, type SpaceOptions } from '../../objects/space.ts'
import { lockObjectKey } from './keys.ts'

/** Who has a lock. */
export interface Holder {
  readonly node: string
  /** Another each time that a lock is taken. */
  readonly nonce: string
}

/** A lock as it stands at the service. */
export interface LockObject extends Holder {
  readonly version: string
}

/** @param hash of the lock's name, in hexadecimal digits */
export async function readLock(
  space: ObjectSpace,
  hash: string,
  options?: SpaceOptions,
): Promise<LockObject | undefined> {
  const found = await space.get(lockObjectKey(hash), options)
  if (!found) return undefined
  const { node, nonce } = JSON.parse(found.bytes.toString()) as Holder
  return { node, nonce, version: found.version }
}

/** @returns what stands there then: what was to be written, or what somebody else did; undefined: nothing any more */
export async function writeLock(
  space: ObjectSpace,
  hash: string,
  holder: Holder,
  condition: Condition,
  options?: SpaceOptions,
): Promise<LockObject | undefined> {
  try {
    const bytes = Buffer.from(JSON.stringify(holder))
    return { ...holder, version: await space.put(lockObjectKey(hash), [bytes], { ...options, condition }) }
  } catch (error) {
    // It may have been written all the same: answers get lost, and a request that is sent again then meets what it
    // wrote itself. What stands there tells.
    if (error instanceof ConditionFailed) return readLock(space, hash, options)
    const stands = await readLock(space, hash, options).catch(() => undefined)
    if (stands?.nonce === holder.nonce) return stands
    throw error
  }
}
