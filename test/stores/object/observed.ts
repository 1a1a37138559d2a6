/** An object service in memory whose requests are recorded, and can be stopped, replaced or lost. */
import type { ObjectService } from '../../../lib/stores/object/service/service.ts'
import type { Store } from '../../../lib/stores/store.ts'
import {
  type Bucket,
  type MemoryObjectServiceOptions,
  memoryObjectService,
} from '../../support/memory-object-service.ts'
import { withResolvers } from '../../support/promise.ts'
import { storeOn } from './fixture.ts'

/** Carries out a request, or does something else. */
type Replacement = (send: () => Promise<unknown>) => Promise<unknown>

export interface Observed {
  readonly service: ObjectService
  /** The requests so far, such as `PUT record lease`. */
  readonly requests: string[]
  /** Bytes of all objects and parts, without records. */
  sentBytes: number
  /** Replaces the next request of this name. */
  next(name: string, replacement: Replacement): void
}

/** The fields of records that tests are interested in. */
const flags = ['starting', 'strays', 'lease', 'accepted', 'rejected', 'published', 'removed'] as const

/** A short name of an object, by the key. */
function kindOf(key: string): string {
  const kind = /^\.bits-sessions\/(record|claim)s\//.exec(key)?.[1]
  return kind ?? /^\.bits-sessions\/uploads\/.*\/(?:bytes\/)?(part|tail|reply)-/.exec(key)?.[1] ?? 'file'
}

function putName(key: string, chunks: readonly Uint8Array[]): string {
  const kind = kindOf(key)
  if (kind !== 'record') return `PUT ${kind}`
  const [json = ''] = Buffer.concat(chunks).toString().split('\t')
  const state = JSON.parse(json)
  return ['PUT record', ...flags.filter((flag) => state[flag] !== undefined)].join(' ')
}

const sizeOf = (chunks: readonly Uint8Array[]): number => chunks.reduce((sum, { length }) => sum + length, 0)

/** Observes the requests of one node. */
export function observe(service: ObjectService): Observed {
  const replacements: { name: string; replacement: Replacement }[] = []
  const requests: string[] = []
  const record = async <Result>(name: string, send: () => Promise<Result>): Promise<Result> => {
    requests.push(name)
    const i = replacements.findIndex((other) => other.name === name)
    if (i < 0) return send()
    const [{ replacement } = { replacement: send }] = replacements.splice(i, 1)
    return (await replacement(send)) as Result
  }
  const observed: Observed = {
    requests,
    sentBytes: 0,
    next: (name, replacement) => void replacements.push({ name, replacement }),
    service: {
      ...service,
      get: (key, options) => record(`GET ${kindOf(key)}`, () => service.get(key, options)),
      head: (key, options) => record(`HEAD ${kindOf(key)}`, () => service.head(key, options)),
      read(key, first, last) {
        requests.push(`READ ${kindOf(key)}`)
        return service.read(key, first, last)
      },
      list(prefix, options) {
        requests.push('LIST')
        return service.list(prefix, options)
      },
      put(key, chunks, options) {
        if (kindOf(key) !== 'record') observed.sentBytes += sizeOf(chunks)
        return record(putName(key, chunks), () => service.put(key, chunks, options))
      },
      async remove(keys, options) {
        if (keys.length === 0) return
        const kinds = [...new Set(keys.map(kindOf))].sort()
        await record(`DELETE ${kinds.join(', ')}`, () => service.remove(keys, options))
      },
      createUpload(key, options) {
        if (!service.keepsUploads) return service.createUpload(key, options)
        return record('create upload', () => service.createUpload(key, options))
      },
      putPart(key, part, chunks, options) {
        observed.sentBytes += sizeOf(chunks)
        return record('PUT part', () => service.putPart(key, part, chunks, options))
      },
      copyPart: (...args) => record('copy part', () => service.copyPart(...args)),
      listParts: (...args) => record('list parts', () => service.listParts(...args)),
      completeUpload: (...args) => record('complete', () => service.completeUpload(...args)),
      async abortUpload(...args) {
        if (service.keepsUploads) await record('abort', () => service.abortUpload(...args))
      },
    },
  }
  return observed
}

/** A node with its own store on a bucket. */
export interface Node extends Observed {
  readonly store: Store
  /** The requests since this was last called. */
  takeRequests(): string[]
}

/** Parts of at least 1000 bytes, cut at 4000. */
export const small = { minPartBytes: 1000, partSize: 4000 }

export interface NodeOptions extends MemoryObjectServiceOptions {
  readonly partSize?: number
  readonly memory?: number
}

/** Nodes that share a bucket, with short leases. */
export function sharedBucket(options: NodeOptions = {}) {
  const { partSize = small.partSize, memory, ...rest } = { minPartBytes: small.minPartBytes, ...options }
  const bucket: Bucket = rest.bucket ?? new Map()
  const service = memoryObjectService({ ...rest, bucket })
  const newNode = (times = { renew: 4, dead: 25, poll: 1 }, size = partSize): Node => {
    const observed = observe(service)
    return Object.assign(observed, {
      store: storeOn(observed.service, size, memory, times),
      takeRequests: () => observed.requests.splice(0),
    })
  }
  /** The ids of all uploads, on S3. */
  const uploads = async (): Promise<string[]> => {
    const ids: string[] = []
    for await (const { id } of service.listUploads('')) ids.push(id)
    return ids
  }
  /** The record of a session. */
  const recordOf = (id: string) => {
    const found = bucket.get(`.bits-sessions/records/${id}`)?.bytes.toString().split('\t')[0]
    return found === undefined ? undefined : JSON.parse(found)
  }
  return { bucket, service, newNode, uploads, recordOf, fileOf: (name = 'a.bin') => bucket.get(name)?.bytes }
}

/** Stops a node before a request. Resolves to a function that continues it, and resolves as the work does. */
export async function stopBefore(
  node: Node,
  name: string,
  work: () => Promise<unknown>,
): Promise<() => Promise<unknown>> {
  const [reached, resume] = [withResolvers<void>(), withResolvers<void>()]
  node.next(name, async (send) => {
    reached.resolve()
    await resume.promise
    return send()
  })
  const done = work()
  done.catch(() => {})
  await Promise.race([reached.promise, done])
  return () => {
    resume.resolve()
    return done
  }
}
