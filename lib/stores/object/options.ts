import { assertKnownKeys, checkSize, optionError, type Size } from '../../validate.ts'
import type { Store } from '../store.ts'
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
   * Bytes of the parts that a large fragment is written in. A fragment between 5 MiB and this size plus 5 MiB is one part. Larger
   * parts need fewer requests and more memory. From 5 MiB to 256 MiB, in powers of 1024. Default: `'8mb'`.
   */
  readonly partSize?: Size
  /**
   * Bytes that all fragments in transit may buffer together in this process. The more fragments there are,
   * the fewer bytes each buffers before it writes them, but at least 64 KiB. Default: `'256mb'`. On S3,
   * fragments of 5 MiB and more need 10 MiB each that arrive at the same time: with less, most of their bytes are
   * written twice. Bytes that are read back to be combined use at most as much again, and the SDK of the service about as much as both.
   */
  readonly memory?: Size
}

export const objectStoreOptions = ['prefix', 'partSize', 'memory'] as const

/** Longest key of S3 in bytes of UTF-8, and of Azure in characters. */
const MaxKeyLength = 1024

const MiB = 1024 * 1024

/** Checks the options and adds the defaults. */
export function readObjectStoreOptions(
  where: string,
  options: ObjectStoreOptions,
  own: readonly string[],
): Required<ObjectStoreOptions> & { partSize: number; memory: number } {
  assertKnownKeys(where, 'option', options, [...own, ...objectStoreOptions])
  const { prefix = '' } = options
  if (typeof prefix !== 'string' || prefix.startsWith('/') || Buffer.byteLength(prefix) > MaxKeyLength / 2) {
    const expected = `the start of all names, such as 'incoming/', without a leading slash and of at most ${MaxKeyLength / 2} bytes`
    throw optionError(where, 'prefix', expected, prefix)
  }
  return {
    prefix,
    partSize: checkSize(where, 'partSize', options.partSize ?? '8mb', 5 * MiB, 256 * MiB),
    memory: checkSize(where, 'memory', options.memory ?? '256mb', MiB),
  }
}

/** Creates a store on an object service. */
export const objectStore = (
  service: ObjectService,
  { prefix, partSize, memory }: ReturnType<typeof readObjectStoreOptions>,
): Store =>
  new ObjectStore({ service, partSize, memory, maxNameBytes: MaxKeyLength - Buffer.byteLength(prefix) })
