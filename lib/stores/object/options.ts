import type { Locker } from '../../locks/locker.ts'
import { memoryLocker } from '../../locks/memory.ts'
import { readSize, type Size } from '../../protocol/size.ts'
import { assertKnownKeys } from '../../validate.ts'
import type { Store } from '../store.ts'
import { objectLocker } from './lock/locker.ts'
import { ObjectStore } from './object-store.ts'
import type { ObjectService } from './service/service.ts'

/** What the stores on object services have in common. */
export interface ObjectStoreOptions {
  /**
   * Put before all names, for example `'incoming/'`. Default: nothing. What is not finished lies in `.bits-sessions/`
   * behind it. Stores with different prefixes do not know of each other.
   */
  readonly prefix?: string
  /**
   * Bytes of the objects that an upload's bytes travel in: a larger part is fewer requests, and more memory. From 5 MiB to
   * 256 MiB, in powers of 1024. Default: `'8mb'`. Uploads that have begun keep what they began with.
   */
  readonly partSize?: Size
  /**
   * Bytes that all fragments on their way may take together in this process; the more of them, the fewer each gathers before it writes,
   * but 64 KiB at least. Default: `'256mb'`. What is read again to be put together takes as much once more at most, and the
   * client of the service about as much as both.
   */
  readonly memory?: Size
  /**
   * Locks that hold among all processes and machines that share the objects. Default: locks that the service itself
   * keeps; nothing else is needed.
   */
  readonly locker?: Locker
}

export const objectStoreOptions = ['prefix', 'partSize', 'memory', 'locker'] as const

/** Longest key of S3 and Azure: in bytes of UTF-8 and in characters. */
const LongestKey = 1024

const MiB = 1024 * 1024

/** What was given, checked, and defaulted. */
export function readObjectStoreOptions(
  where: string,
  options: ObjectStoreOptions,
  own: readonly string[],
): Required<Omit<ObjectStoreOptions, 'locker'>> & { partSize: number; memory: number } {
  assertKnownKeys(where, 'option', options, [...own, ...objectStoreOptions])
  const { prefix = '', locker } = options
  if (typeof prefix !== 'string' || prefix.startsWith('/') || Buffer.byteLength(prefix) > LongestKey / 2) {
    throw new TypeError(
      `${where}: prefix is what all names begin with, such as 'incoming/': no slash in front, ${LongestKey / 2} bytes at most`,
    )
  }
  if (locker !== undefined && typeof locker?.acquire !== 'function') {
    throw new TypeError(`${where}: locker is an object with the methods acquire and tryAcquire`)
  }
  const size = (name: 'partSize' | 'memory', value: Size, least: number, most: number): number => {
    const parsed = readSize(value)
    if (parsed !== undefined && parsed >= least && parsed <= most) return parsed
    throw new TypeError(
      `${where}: ${name} is a number of bytes from ${least} to ${most}, or a string such as '8mb', not ${String(value)}`,
    )
  }
  return {
    prefix,
    partSize: size('partSize', options.partSize ?? '8mb', 5 * MiB, 256 * MiB),
    memory: size('memory', options.memory ?? '256mb', MiB, Number.MAX_SAFE_INTEGER),
  }
}

/**
 * A store on a space.
 * @param isShared whether the service keeps conditions, without which no two processes may use it
 */
export function objectStore(
  service: ObjectService,
  { prefix, partSize, memory }: ReturnType<typeof readObjectStoreOptions>,
  { locker, isShared }: { readonly locker: Locker | undefined; readonly isShared: boolean },
): Store {
  const own = !locker && isShared ? objectLocker(service) : undefined
  const shared = locker ?? own
  return new ObjectStore({
    service,
    locker: shared,
    names: shared ?? memoryLocker(),
    clearLocks: own?.clear,
    part: partSize,
    memory,
    longest: LongestKey - Buffer.byteLength(prefix),
  })
}
