import type { Locker } from '../../locks/locker.ts'
import { memoryLocker } from '../../locks/memory.ts'
import { assertKnownKeys, checkSize, optionError, type Size } from '../../validate.ts'
import type { Store } from '../store.ts'
import { objectLocker } from './lock/locker.ts'
import { ObjectStore } from './object-store.ts'
import type { ObjectService } from './service/service.ts'

/** Options that `azureStore` and `s3Store` have in common. */
export interface ObjectStoreOptions {
  /**
   * Prefix of all names, for example `'incoming/'`: without a leading slash, at most 512 bytes. Default: none. Sessions and unfinished uploads are below
   * `<prefix>.bits-sessions/`. Stores with different prefixes are independent of each other.
   */
  readonly prefix?: string
  /**
   * Bytes of the objects that an upload is written in. Larger parts need fewer requests and more memory. From
   * 5 MiB to 256 MiB, in powers of 1024. Default: `'8mb'`. Uploads in progress keep the size that they began
   * with.
   */
  readonly partSize?: Size
  /**
   * Bytes that all fragments in transit may buffer together in this process. The more fragments there are,
   * the fewer bytes each buffers before it writes them, but at least 64 KiB. Default: `'256mb'`. Bytes that
   * are read back to be combined use at most as much again, and the SDK of the service about as much as both.
   */
  readonly memory?: Size
  /**
   * Locks that all processes and machines with the same objects share. Default: lock objects in the service
   * itself, which need no other server.
   */
  readonly locker?: Locker
}

export const objectStoreOptions = ['prefix', 'partSize', 'memory', 'locker'] as const

/** Longest key of S3 in bytes of UTF-8, and of Azure in characters. */
const MaxKeyLength = 1024

const MiB = 1024 * 1024

/** Checks the options and adds the defaults. */
export function readObjectStoreOptions(
  where: string,
  options: ObjectStoreOptions,
  own: readonly string[],
): Required<Omit<ObjectStoreOptions, 'locker'>> & { partSize: number; memory: number } {
  assertKnownKeys(where, 'option', options, [...own, ...objectStoreOptions])
  const { prefix = '', locker } = options
  if (typeof prefix !== 'string' || prefix.startsWith('/') || Buffer.byteLength(prefix) > MaxKeyLength / 2) {
    const expected = `the start of all names, such as 'incoming/', without a leading slash and of at most ${MaxKeyLength / 2} bytes`
    throw optionError(where, 'prefix', expected, prefix)
  }
  if (locker !== undefined && typeof locker?.acquire !== 'function') {
    throw optionError(where, 'locker', 'an object with the methods acquire and tryAcquire', locker)
  }
  return {
    prefix,
    partSize: checkSize(where, 'partSize', options.partSize ?? '8mb', 5 * MiB, 256 * MiB),
    memory: checkSize(where, 'memory', options.memory ?? '256mb', MiB),
  }
}

/**
 * Creates a store on an object service.
 * @param isShared whether the service supports conditional writes, without which only one process may use it
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
    nameLocker: shared ?? memoryLocker(),
    clearLocks: own?.clear,
    partSize,
    memory,
    maxNameBytes: MaxKeyLength - Buffer.byteLength(prefix),
  })
}
