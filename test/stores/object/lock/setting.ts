import { createHash } from 'node:crypto'
import { defaultTiming } from '../../../../lib/stores/object/lock/heartbeat.ts'
import { type LockOwner, readLock } from '../../../../lib/stores/object/lock/lock-objects.ts'
import { type ObjectLocker, objectLocker } from '../../../../lib/stores/object/lock/locker.ts'
import type { ObjectService } from '../../../../lib/stores/object/service/service.ts'
import { ManualClock } from '../../../support/manual-clock.ts'
import { memoryObjectSpace, type Semantics } from '../../../support/memory-object-service.ts'
import { unreachable, type WatchedSpace, watchedSpace } from './watched-service.ts'

/** The locker tests run once with the semantics of each service. */
export const services = ['Azure', 'S3'] as const

/** A locker as in its own process, with production timing. */
export interface TestedNode {
  readonly locker: ObjectLocker
  readonly space: WatchedSpace
  readonly clock: ManualClock
}

/** An object service, and nodes that share it. */
export interface Farm {
  /** The service as the test sees it. */
  readonly space: ObjectService
  /** The clock of all nodes that do not have their own. */
  readonly clock: ManualClock
  node(clock?: ManualClock): TestedNode
}

export function newFarm(semantics: Semantics): Farm {
  const space = memoryObjectSpace({ semantics })
  const shared = new ManualClock()
  return {
    space,
    clock: shared,
    node(clock = shared) {
      const watched = watchedSpace(space)
      return { locker: objectLocker(watched, defaultTiming, clock), space: watched, clock }
    },
  }
}

/** Kills a process: none of its requests reaches the service. Its clock must not be advanced any more. */
export const kill = ({ space }: TestedNode): void => space.intercept(/./, unreachable)

/** How many of the node's requests match. */
export const count = ({ space }: TestedNode, request: RegExp): number =>
  space.requests.filter((one) => request.test(one)).length

/** The keys of all objects of the lockers, without `.bits-sessions/`. */
export async function keysIn(space: ObjectService): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of space.list('')) keys.push(key.replace('.bits-sessions/', ''))
  return keys
}

/** The first folder of each key of {@link keysIn}. */
export const foldersIn = async (space: ObjectService): Promise<string[]> =>
  (await keysIn(space)).map((key) => key.replace(/\/.*/, ''))

/** The holder that the lock object names; undefined if there is no lock object. */
export async function findHolder(space: ObjectService, name: string): Promise<LockOwner | undefined> {
  return readLock(space, createHash('sha256').update(name).digest('hex'))
}

/** The holder of a lock that must be held. */
export async function holderIn(space: ObjectService, name: string): Promise<LockOwner> {
  const holder = await findHolder(space, name)
  if (!holder) throw new Error(`There is no lock ${name}`)
  return holder
}
