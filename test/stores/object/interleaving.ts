/**
 * Runs the object store on several nodes over a service in memory, in a random order of all requests, with failures. The model in
 * model.ts checks the protocol; this checks the code.
 *
 * Each request waits until it is chosen. A request that fails is carried out before its answer is lost, later, or never. A node
 * that crashes gets no answers any more. The client sends each packet to a random node, also while the last one is in progress.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { ObjectStore } from '../../../lib/stores/object/object-store.ts'
import type { ObjectService } from '../../../lib/stores/object/service/service.ts'
import type { NewSession, Session, Store } from '../../../lib/stores/store.ts'
import { type Bucket, memoryObjectService, type Semantics } from '../../support/memory-object-service.ts'
import { body, newSession } from '../../support/store.ts'

export interface Simulation {
  readonly seed: number
  readonly semantics: Semantics
  readonly file: Buffer
  /** The file of a second session with the same name. Default: there is one session. */
  readonly otherFile?: Buffer
  /** Sizes of fragments, in bytes; a random one is chosen for each packet. */
  readonly fragmentSizes: readonly number[]
  readonly checksCompletion?: boolean
  readonly equalParts?: boolean
  readonly separate?: boolean
  readonly overwrite?: boolean
  /** Whether a consumer removes the published file at some time. */
  readonly consumes?: boolean
  /** Probability that a request fails. */
  readonly failures: number
  /** Number of nodes that crash. */
  readonly crashes: number
}

/** A random number generator with a seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

const settings = { partSize: 4000, memory: 2 ** 20, maxNameBytes: 1024 }
const leaseTimes = { renew: 4, dead: 25, poll: 1 }

export interface SimulationResult {
  readonly service: ObjectService
  readonly bucket: Bucket
  /** Those of `file` and `otherFile`. */
  readonly sessions: readonly SimulatedSession[]
  readonly store: Store
  /** The bytes of each object that was written under the name of the session. */
  readonly publications: readonly Buffer[]
}

export interface SimulatedSession extends NewSession {
  /** False if the client was refused, because the other file was there first. */
  readonly isPublished: boolean
}

/** @throws if the client cannot upload its file */
export async function simulate(simulation: Simulation): Promise<SimulationResult> {
  const { seed, semantics, fragmentSizes, failures, separate = false, overwrite = false } = simulation
  const random = randomOf(seed)
  const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)] as Item
  const publications: Buffer[] = []
  /** Requests that can be carried out, or answered, next. */
  const queue = new Set<() => void>()
  const bucket: Bucket = new (class extends Map {
    override set(key: string, value: { bytes: Buffer }): this {
      if (key === 'a.bin') {
        publications.push(value.bytes)
        if (simulation.consumes) queue.add(() => bucket.delete(key))
      }
      return super.set(key, value)
    }
  })()
  const { checksCompletion = true, equalParts = false } = simulation
  const service = memoryObjectService({
    bucket,
    semantics,
    minPartBytes: 1000,
    checksCompletion,
    equalParts,
  })

  let crashes = simulation.crashes
  let isDone = false
  const newNode = (): { store: Store; isDead: boolean } => {
    const node = { isDead: false, store: undefined as unknown as Store }
    const wrap =
      (method: (...args: never[]) => Promise<unknown>) =>
      async (...args: never[]): Promise<unknown> => {
        const fails = random() < failures
        const isLate = fails && random() < 0.3
        const isDropped = fails && !isLate && random() < 0.5
        if (isLate || isDropped) {
          if (isLate) queue.add(() => void method(...args).catch(() => {}))
          await new Promise<void>((resolve) => queue.add(resolve))
          if (node.isDead) await new Promise(() => {})
          throw new Error('the request failed')
        }
        await new Promise<void>((resolve) => queue.add(resolve))
        if (node.isDead) await new Promise(() => {})
        const result = await method(...args).then(
          (value) => () => value,
          (error) => () => {
            throw error
          },
        )
        await new Promise<void>((resolve) => queue.add(resolve))
        if (!isDone && crashes > 0 && random() < 0.03) {
          crashes -= 1
          node.isDead = true
        }
        if (node.isDead) await new Promise(() => {})
        if (fails) throw new Error('the answer was lost')
        return result()
      }
    const {
      get,
      head,
      put,
      remove,
      putPart,
      copyPart,
      createUpload,
      completeUpload,
      listParts,
      abortUpload,
    } = service
    node.store = new ObjectStore({
      ...settings,
      leaseTimes,
      service: {
        ...service,
        get: wrap(get) as typeof get,
        head: wrap(head) as typeof head,
        // The services recognize their own conditional writes, so a lost answer does not become a condition that is not met.
        put: wrap(put) as typeof put,
        remove: wrap(remove) as typeof remove,
        putPart: wrap(putPart) as typeof putPart,
        copyPart: wrap(copyPart) as typeof copyPart,
        createUpload: wrap(createUpload) as typeof createUpload,
        completeUpload: wrap(completeUpload) as typeof completeUpload,
        listParts: wrap(listParts) as typeof listParts,
        abortUpload: wrap(abortUpload) as typeof abortUpload,
      },
    })
    return node
  }
  const nodes = [newNode(), newNode()]
  const runQueue = async (): Promise<void> => {
    while (!isDone) {
      await turn()
      const next = pick([...queue])
      if (!next) continue
      queue.delete(next)
      next()
    }
  }
  const running = runQueue()

  const plain = new ObjectStore({ ...settings, service, leaseTimes })

  /** A client that uploads a file. Resolves to false if the other file was there first. */
  const upload = async (session: NewSession, file: Buffer): Promise<boolean> => {
    /** The sessions that nodes have cached. */
    const cached = new Map<Store, Session>()
    type Answer = { readonly received: number; readonly isPublished?: boolean }
    /** One fragment, as the session layer handles it. */
    const sendFragment = async (store: Store, first: number, end: number): Promise<Answer> => {
      let current = cached.get(store)
      cached.delete(store)
      if (!current || first > current.received) current = await store.load(session.id)
      if (!current) throw new Error('session-not-found')
      if (current.state === 'published') return { received: file.length, isPublished: true }
      if (first > current.received) return { received: current.received }
      try {
        const options = { total: file.length, durable: end === file.length, publish: !separate }
        const bytes = file.subarray(current.received, Math.max(end, current.received))
        current = await store.append(current, body(bytes), options)
        if (current.received === file.length && current.state !== 'published') {
          await store.publish(current)
          return { received: file.length, isPublished: true }
        }
        cached.set(store, current)
      } catch (error) {
        if ((error as { code?: string }).code !== 'out-of-sync') throw error
        current = await store.load(session.id)
        if (!current) throw new Error('session-not-found', { cause: error })
      }
      if (current.state === 'published') return { received: file.length, isPublished: true }
      // A 416 with the size of the file would be a success for the client.
      if (current.received === file.length) throw new Error('busy')
      return { received: current.received }
    }

    let received = 0
    for (let packets = 1; packets <= 300; packets += 1) {
      const living = nodes.filter(({ isDead }) => !isDead)
      const node = living.length > 0 ? pick(living) : undefined
      if (!node) {
        nodes.splice(0, 2, newNode(), newNode())
        continue
      }
      const end = Math.min(file.length, received + pick(fragmentSizes))
      const answer = sendFragment(node.store, received, end).catch((error: Error & { code?: string }) => {
        if (error.code === 'destination-exists') return 'refused' as const
        if (error.code === 'session-busy') return 'busy' as const
        if (error.message === 'session-not-found') throw error
        return undefined
      })
      // The client may give up before the answer.
      const patience = random() < 0.3 ? Math.floor(random() * 40) : Number.POSITIVE_INFINITY
      let isAnswered = false
      const timeout = (async () => {
        for (let i = 0; i < patience && !node.isDead && !isAnswered; i += 1) await turn()
        return undefined
      })()
      const heard = await Promise.race([answer, timeout])
      isAnswered = true
      // The other session may wait for the lease of a dead node, which takes thousands of turns.
      if (heard === 'busy') for (let i = 0; i < 100; i += 1) await turn()
      if (!heard || heard === 'busy') continue
      if (heard === 'refused') return false
      if (heard.isPublished) return true
      received = heard.received
    }
    throw new Error(`not finished after 300 packets: ${received} of ${file.length} bytes`)
  }

  const sessions: SimulatedSession[] = []
  const files = simulation.otherFile ? [simulation.file, simulation.otherFile] : [simulation.file]
  try {
    const created = files.map((file) => newSession({ maxSize: file.length, overwrite }))
    for (const session of created) await plain.create(session, { mayReadBytes: separate })
    const work = files.map((file, i) => upload(created[i] as NewSession, file))
    for (const [i, isPublished] of (await Promise.all(work)).entries()) {
      sessions.push({ ...(created[i] as NewSession), isPublished })
    }
    // Late requests.
    for (let i = 0; queue.size > 0 && i < 2000; i += 1) await turn()
  } finally {
    isDone = true
    await running
  }
  return { service, bucket, sessions, store: plain, publications }
}
