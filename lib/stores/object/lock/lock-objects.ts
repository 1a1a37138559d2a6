import {
  ConditionFailed,
  InternalPrefix,
  type ObjectService,
  type Precondition,
  type ServiceOptions,
} from '../service/service.ts'

/** The content of a lock object: its holder. */
export interface LockOwner {
  readonly node: string
  /** A new one for each acquisition. */
  readonly token: string
}

/** A lock object as it was last read or written. */
export interface LockObject extends LockOwner {
  readonly version: string
}

/**
 * Reads a lock object; undefined if the lock is free.
 * @param hash of the lock's key, in hexadecimal digits
 */
export async function readLock(
  service: ObjectService,
  hash: string,
  options?: ServiceOptions,
): Promise<LockObject | undefined> {
  const found = await service.get(lockObjectKey(hash), options)
  if (!found) return undefined
  const { node, token } = JSON.parse(found.bytes.toString()) as LockOwner
  return { node, token, version: found.version }
}

/**
 * Writes a lock object if the condition is met.
 * @returns the lock object afterwards: this owner's, or that of another writer; undefined if it was removed
 * meanwhile
 */
export async function writeLock(
  service: ObjectService,
  hash: string,
  owner: LockOwner,
  condition: Precondition,
  options?: ServiceOptions,
): Promise<LockObject | undefined> {
  try {
    const bytes = Buffer.from(JSON.stringify(owner))
    return { ...owner, version: await service.put(lockObjectKey(hash), [bytes], { ...options, condition }) }
  } catch (error) {
    // The object may have been written all the same: a response can be lost, and the repeated request then
    // fails because of the first one. The token of the existing object shows it.
    if (error instanceof ConditionFailed) return readLock(service, hash, options)
    const current = await readLock(service, hash, options).catch(() => undefined)
    if (current?.token === owner.token) return current
    throw error
  }
}

/** A request to the holder of a lock to release it. */
export interface ReleaseRequest {
  /** Of the lock's key. */
  readonly hash: string
  readonly token: string
}

/** Length of a hash in hexadecimal digits. */
const HashLength = 64

/**
 * Asks a node to release a lock. The token limits the request to this acquisition, not a later one of the
 * same node.
 */
export async function sendReleaseRequest(
  service: ObjectService,
  hash: string,
  { node, token }: LockOwner,
  options?: ServiceOptions,
): Promise<void> {
  await service.put(releaseRequestKey(node, { hash, token }), [], options)
}

/** All release requests to a node. */
export async function* listReleaseRequests(
  service: ObjectService,
  node: string,
  options?: ServiceOptions,
): AsyncGenerator<ReleaseRequest> {
  const prefix = releaseRequestsPrefix(node)
  for await (const { key } of service.list(prefix, options)) {
    const name = key.slice(prefix.length)
    yield { hash: name.slice(0, HashLength), token: name.slice(HashLength + 1) }
  }
}

/** Removes release requests that were processed. */
export const removeReleaseRequests = (
  service: ObjectService,
  node: string,
  requests: readonly ReleaseRequest[],
): Promise<void> => service.remove(requests.map((request) => releaseRequestKey(node, request)))

const releaseRequestKey = (node: string, { hash, token }: ReleaseRequest): string =>
  `${releaseRequestsPrefix(node)}${hash}.${token}`

/** One object per lock that is held. */
export const locksPrefix = `${InternalPrefix}locks/`
/** @param hash of the lock's key, in hexadecimal digits */
export const lockObjectKey = (hash: string): string => locksPrefix + hash

/** One object per live node: its heartbeat. */
export const nodesPrefix = `${InternalPrefix}nodes/`
export const nodeKey = (node: string): string => nodesPrefix + node

/** One folder per node with release requests. */
export const allReleaseRequestsPrefix = `${InternalPrefix}wants/`
export const releaseRequestsPrefix = (node: string): string => `${allReleaseRequestsPrefix}${node}/`
