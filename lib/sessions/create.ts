import { checkKeys, isRecord } from '../checks.ts'
import type { Ack } from '../protocol/ack.ts'
import { asBitsError, BitsError } from '../protocol/errors.ts'
import { newGuid } from '../protocol/guid.ts'
import { checkName } from '../protocol/name.ts'
import type { CreateSessionPacket } from '../protocol/packet.ts'
import { readSize } from '../protocol/size.ts'
import type { NewSession } from '../stores/store.ts'
import { begin, type Client, type Core } from './core.ts'
import type { CreateDecision, NewUpload } from './hooks.ts'

/**
 * Create-Session ([MC-BUP] 3.2.5.2.4): every one makes a new session, for there is no form of it that resumes.
 * @param name decoded path of the destination below the mount path
 */
export async function createSession<Caller>(
  core: Core<Caller>,
  client: Client<Caller>,
  { protocol }: CreateSessionPacket,
  name: string,
): Promise<Ack> {
  const { settings, locker, census, reports } = core
  const { owner, path, url } = client
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
    census.admit(counted, settings)
  } catch (error) {
    // Nobody is refused for sessions that were ended meanwhile by another process.
    if (!(await core.recount())) throw error
    census.admit(counted, settings)
  }
  try {
    const { onCreate } = settings
    const session = decide(settings, upload, onCreate ? await ask(onCreate, upload, client.caller) : {})
    const begun = await begin(core, session, client)
    census.begun({ id })
    reports.tellOf('created', begun)
  } catch (error) {
    census.drop({ id })
    throw error
  }
  return { status: settings.createStatus, sessionId: id, protocol, hostId: settings.hostId }
}

async function ask<Caller>(
  onCreate: NonNullable<Core<Caller>['settings']['onCreate']>,
  upload: NewUpload,
  caller: Caller,
): Promise<CreateDecision> {
  try {
    return (await onCreate(upload, caller)) ?? {}
  } catch (error) {
    throw asBitsError(error, 'hook-failed')
  }
}

const decisions = ['name', 'maxSize', 'overwrite', 'metadata'] as const satisfies (keyof CreateDecision)[]

function decide(
  { maxSize, overwrite }: Pick<NewSession, 'maxSize' | 'overwrite'>,
  { id, name, path, url, owner }: NewUpload,
  decision: CreateDecision,
): NewSession {
  const { maxSize: cap, overwrite: replaces, metadata, name: other } = checkDecision(decision)
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
function checkDecision(decision: CreateDecision): CreateDecision {
  try {
    if (!isRecord(decision)) throw new TypeError('onCreate() returns nothing, or an object')
    checkKeys('onCreate', 'decision', decision, decisions)
  } catch (cause) {
    throw new BitsError('hook-failed', (cause as TypeError).message, { cause })
  }
  const { name, maxSize, overwrite, metadata } = decision
  const isMetadata = isRecord(metadata) && Object.values(metadata).every((tag) => typeof tag === 'string')
  if (name !== undefined && typeof name !== 'string') throw undecided('name', 'a string')
  if (maxSize !== undefined && readSize(maxSize) === undefined) throw undecided('maxSize', 'a size')
  if (overwrite !== undefined && typeof overwrite !== 'boolean') throw undecided('overwrite', 'true or false')
  if (metadata !== undefined && !isMetadata) throw undecided('metadata', 'an object of strings')
  return decision
}

function undecided(key: keyof CreateDecision, expected: string): BitsError {
  const cause = new TypeError(`onCreate() returns ${expected} as '${key}', or nothing`)
  return new BitsError('hook-failed', cause.message, { cause })
}
