import type { Ack } from '../protocol/ack.ts'
import { asBitsError, BitsError } from '../protocol/errors.ts'
import { newGuid } from '../protocol/guid.ts'
import { checkName } from '../protocol/name.ts'
import type { CreateSessionPacket } from '../protocol/packet.ts'
import { readSize } from '../protocol/size.ts'
import type { NewSession } from '../stores/store.ts'
import { assertKnownKeys, isPlainObject } from '../validate.ts'
import { createSession, type PacketContext, type SessionDependencies } from './context.ts'
import type { CreateDecision, NewUpload } from './hooks.ts'

/**
 * Create-Session ([MC-BUP] 3.2.5.2.4): every one makes a new session, for there is no form of it that resumes.
 * @param name decoded path of the destination below the mount path
 */
export async function handleCreateSession<Caller>(
  deps: SessionDependencies<Caller>,
  context: PacketContext<Caller>,
  { protocol }: CreateSessionPacket,
  name: string,
): Promise<Ack> {
  const { settings, locker, quota, events } = deps
  const { owner, path, url } = context
  const upload: NewUpload = {
    id: newGuid(await locker.mark?.()),
    name: checkName(name),
    path,
    url,
    owner,
  }
  const { id } = upload
  const counted = { id, ...(owner !== undefined && { owner }) }
  try {
    quota.reserve(counted, settings)
  } catch (error) {
    // Nobody is refused for sessions that were ended meanwhile by another process.
    if (!(await deps.recount())) throw error
    quota.reserve(counted, settings)
  }
  try {
    const { onCreate } = settings
    const session = applyDecision(
      settings,
      upload,
      onCreate ? await callOnCreate(onCreate, upload, context.caller) : {},
    )
    const created = await createSession(deps, session, context)
    quota.commit({ id })
    events.emitUpload('created', created)
  } catch (error) {
    quota.release({ id })
    throw error
  }
  return { status: settings.createStatus, sessionId: id, protocol, hostId: settings.hostId }
}

async function callOnCreate<Caller>(
  onCreate: NonNullable<SessionDependencies<Caller>['settings']['onCreate']>,
  upload: NewUpload,
  caller: Caller,
): Promise<CreateDecision> {
  try {
    return (await onCreate(upload, caller)) ?? {}
  } catch (error) {
    throw asBitsError(error, 'hook-failed')
  }
}

const decisionNames = ['name', 'maxSize', 'overwrite', 'metadata'] as const satisfies (keyof CreateDecision)[]

function applyDecision(
  { maxSize, overwrite }: Pick<NewSession, 'maxSize' | 'overwrite'>,
  { id, name, path, url, owner }: NewUpload,
  decision: CreateDecision,
): NewSession {
  const { maxSize: cap, overwrite: replaces, metadata, name: other } = checkCreateDecision(decision)
  return {
    id,
    name: other === undefined ? name : checkName(other),
    path,
    url,
    ...(owner !== undefined && { owner }),
    maxSize: Math.min(maxSize, readSize(cap) ?? maxSize),
    overwrite: replaces ?? overwrite,
    // A copy: the session may be kept, and the hook may use its object again.
    ...(metadata && { metadata: { ...metadata } }),
    created: Date.now(),
  }
}

/** @throws {BitsError} `hook-failed` for a decision that is none: to guess could lift a limit */
function checkCreateDecision(decision: CreateDecision): CreateDecision {
  try {
    if (!isPlainObject(decision)) throw new TypeError('onCreate() returns nothing, or an object')
    assertKnownKeys('onCreate', 'decision', decision, decisionNames)
  } catch (cause) {
    throw new BitsError('hook-failed', (cause as TypeError).message, { cause })
  }
  const { name, maxSize, overwrite, metadata } = decision
  const isMetadata =
    isPlainObject(metadata) && Object.values(metadata).every((tag) => typeof tag === 'string')
  if (name !== undefined && typeof name !== 'string') throw invalidDecision('name', 'a string')
  if (maxSize !== undefined && readSize(maxSize) === undefined) throw invalidDecision('maxSize', 'a size')
  if (overwrite !== undefined && typeof overwrite !== 'boolean')
    throw invalidDecision('overwrite', 'true or false')
  if (metadata !== undefined && !isMetadata) throw invalidDecision('metadata', 'an object of strings')
  return decision
}

function invalidDecision(key: keyof CreateDecision, expected: string): BitsError {
  const cause = new TypeError(`onCreate() returns ${expected} as '${key}', or nothing`)
  return new BitsError('hook-failed', cause.message, { cause })
}
