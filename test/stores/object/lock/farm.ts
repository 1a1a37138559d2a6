import { createHash } from 'node:crypto'
import type { Locker } from '../../../../lib/locks/locker.ts'
import { defaultTiming } from '../../../../lib/stores/object/lock/heartbeat.ts'
import { type LockOwner, readLock } from '../../../../lib/stores/object/lock/lock-objects.ts'
import { type ObjectLocker, objectLocker } from '../../../../lib/stores/object/lock/locker.ts'
import type { ObjectService } from '../../../../lib/stores/object/service/service.ts'
import type { Store } from '../../../../lib/stores/store.ts'
import type { Fixture } from '../../../../lib/testing/contract-test.ts'
import type { Capabilities } from '../../../../lib/testing/fixture.ts'
import { ManualClock } from '../../../support/manual-clock.ts'
import { memoryObjectService, type Semantics } from '../../../support/memory-object-service.ts'
import { type RecordingService, recordingService, unreachable } from './recording-service.ts'

/** The locker tests run once with the semantics of each service. */
export const serviceSemantics = ['Azure', 'S3'] as const

/** The locker of one process, with production timing. */
export interface TestedNode {
  readonly locker: ObjectLocker
  readonly service: RecordingService
  readonly clock: ManualClock
}

/** An object service, and nodes that share it. */
export interface Farm {
  /** The service, for the test itself. */
  readonly service: ObjectService
  /** The clock of all nodes that do not have their own. */
  readonly clock: ManualClock
  node(clock?: ManualClock): TestedNode
}

export function newFarm(semantics: Semantics): Farm {
  const service = memoryObjectService({ semantics })
  const shared = new ManualClock()
  return {
    service,
    clock: shared,
    node(clock = shared) {
      const recording = recordingService(service)
      return { locker: objectLocker(recording, defaultTiming, clock), service: recording, clock }
    },
  }
}

/** Kills a process: none of its requests reaches the service. Its clock must not be advanced any more. */
export const kill = ({ service }: TestedNode): void => service.intercept(/./, unreachable)

/** How many of the node's requests match. */
export const count = ({ service }: TestedNode, request: RegExp): number =>
  service.requests.filter((one) => request.test(one)).length

/** The keys of all objects of the lockers, without `.bits-sessions/`. */
export async function keysIn(service: ObjectService): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of service.list('')) keys.push(key.replace('.bits-sessions/', ''))
  return keys
}

/** The first folder of each key of {@link keysIn}. */
export const foldersIn = async (service: ObjectService): Promise<string[]> =>
  (await keysIn(service)).map((key) => key.replace(/\/.*/, ''))

/** The holder that the lock object names; undefined if there is no lock object. */
export async function findHolder(service: ObjectService, name: string): Promise<LockOwner | undefined> {
  return readLock(service, createHash('sha256').update(name).digest('hex'))
}

/** The holder of a lock that must be held. */
export async function holderIn(service: ObjectService, name: string): Promise<LockOwner> {
  const holder = await findHolder(service, name)
  if (!holder) throw new Error(`There is no lock ${name}`)
  return holder
}

/**
 * Fixture for the locker tests of the store contract: stores that have only a locker.
 * @param newLocker creates lockers that share an object service
 */
export function lockerFixture(newLocker: () => Locker): [Fixture, Capabilities] {
  const open = () => ({ locker: newLocker() }) as unknown as Store
  const fixture: Partial<Fixture> = { store: open(), reopen: async () => open() }
  const supports: Partial<Capabilities> = { locker: true, sharing: true, paths: false }
  return [fixture as Fixture, supports as Capabilities]
}
