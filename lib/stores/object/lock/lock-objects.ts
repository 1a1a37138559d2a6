import {
  ConditionFailed,
  InternalPrefix,
  type ObjectService,
  type Precondition,
  type ServiceOptions,
} from '../service/service.ts'

/** Who has a lock. */
export interface LockOwner {
  readonly node: string
  /** Another each time that a lock is taken. */
  readonly token: string
}

/** A lock as it stands at the service. */
export interface LockObject extends LockOwner {
  readonly version: string
}

/** @param hash of the lock's name, in hexadecimal digits */
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

/** @returns what stands there then: what was to be written, or what somebody else did; undefined: nothing any more */
export async function writeLock(
  service: ObjectService,
  hash: string,
  holder: LockOwner,
  condition: Precondition,
  options?: ServiceOptions,
): Promise<LockObject | undefined> {
  try {
    const bytes = Buffer.from(JSON.stringify(holder))
    return { ...holder, version: await service.put(lockObjectKey(hash), [bytes], { ...options, condition }) }
  } catch (error) {
    // It may have been written all the same: answers get lost, and a request that is sent again then meets what it
    // wrote itself. What stands there tells.
    if (error instanceof ConditionFailed) return readLock(service, hash, options)
    const current = await readLock(service, hash, options).catch(() => undefined)
    if (current?.token === holder.token) return current
    throw error
  }
}

/** A lock that a node has, and somebody waits for. */
export interface ReleaseRequest {
  /** Of the lock's name. */
  readonly hash: string
  readonly token: string
}

const hashLength = 64

/** Tells a node that a lock of it is wanted: this one, not the one that it takes under the same name after it. */
export async function sendReleaseRequest(
  service: ObjectService,
  hash: string,
  { node, token }: LockOwner,
  options?: ServiceOptions,
): Promise<void> {
  await service.put(wantKey(node, { hash, token }), [], options)
}

/** All that is wanted of a node. */
export async function* listReleaseRequests(
  service: ObjectService,
  node: string,
  options?: ServiceOptions,
): AsyncGenerator<ReleaseRequest> {
  const folder = requestPrefix(node)
  for await (const { key } of service.list(folder, options)) {
    const name = key.slice(folder.length)
    yield { hash: name.slice(0, hashLength), token: name.slice(hashLength + 1) }
  }
}

/** Takes what is wanted for told. */
export const removeReleaseRequests = (
  service: ObjectService,
  node: string,
  requestsPrefix: readonly ReleaseRequest[],
): Promise<void> => service.remove(requestsPrefix.map((want) => wantKey(node, want)))

const wantKey = (node: string, { hash, token }: ReleaseRequest): string =>
  `${requestPrefix(node)}${hash}.${token}`

/** One object a lock that is held. */
export const locksPrefix = `${InternalPrefix}locks/`
/** @param hash of the lock's name, in hexadecimal digits */
export const lockObjectKey = (hash: string): string => locksPrefix + hash

/** One object a node that is alive: its heartbeat. */
export const nodesPrefix = `${InternalPrefix}nodes/`
export const nodeKey = (node: string): string => nodesPrefix + node

/** A folder for each node of which something is wanted. */
export const requestPrefixes = `${InternalPrefix}wants/`
export const requestPrefix = (node: string): string => `${requestPrefixes}${node}/`
