import type { Ack } from '../protocol/ack.ts'
import { asBitsError, BitsError } from '../protocol/errors.ts'
import { newGuid } from '../protocol/guid.ts'
import { checkName } from '../protocol/name.ts'
import type { CreateSessionPacket } from '../protocol/packet.ts'
import { readSize } from '../protocol/size.ts'
import type { NewSession } from '../stores/store.ts'
import type { Client, Core } from './core.ts'
import type { CreateDecision, NewUpload } from './hooks.ts'
import { uploadReport } from './reports.ts'

/**
 * Create-Session ([MC-BUP] 3.2.5.2.4): every one makes a new session, for there is no form of it that resumes.
 * @param name decoded path of the destination below the mount path
 */
export async function createSession<Caller>(
  { settings, census, reports }: Core<Caller>,
  client: Client<Caller>,
  { protocol }: CreateSessionPacket,
  name: string,
): Promise<Ack> {
  const { owner, path, signal } = client
  const upload: NewUpload = { id: newGuid(), name: checkName(name), path, owner }
  const { id } = upload
  census.admit({ id, ...(owner !== undefined && { owner }) }, settings)
  try {
    const session = decide(settings, upload, await ask(settings.onCreate, upload, client.caller))
    await settings.store.create(session, { signal })
    census.begun({ id })
    reports.tell(
      'created',
      uploadReport({ ...session, state: 'receiving', received: 0, progressed: session.created }),
    )
  } catch (error) {
    census.drop({ id })
    throw error
  }
  return { status: settings.createStatus, sessionId: id, protocol, hostId: settings.hostId }
}

async function ask<Caller>(
  onCreate: Core<Caller>['settings']['onCreate'],
  upload: NewUpload,
  caller: Caller,
): Promise<CreateDecision> {
  try {
    return (await onCreate?.(upload, caller)) ?? {}
  } catch (error) {
    throw asBitsError(error, 'hook-failed')
  }
}

/** @throws {BitsError} `hook-failed` for a decision that is none: to guess could lift a limit */
function decide(
  { maxSize, overwrite }: Pick<NewSession, 'maxSize' | 'overwrite'>,
  { id, name, path, owner }: NewUpload,
  decision: CreateDecision,
): NewSession {
  const cap = decision.maxSize === undefined ? maxSize : readSize(decision.maxSize)
  if (cap === undefined) throw undecided('maxSize', 'a size', decision.maxSize)
  for (const [key, type] of Object.entries({ name: 'string', overwrite: 'boolean', metadata: 'object' })) {
    const value = decision[key as keyof CreateDecision]
    if (value !== undefined && typeof value !== type) throw undecided(key, `a ${type}`, value)
  }
  return {
    id,
    name: decision.name === undefined ? name : checkName(decision.name),
    path,
    ...(owner !== undefined && { owner }),
    maxSize: Math.min(maxSize, cap),
    overwrite: decision.overwrite ?? overwrite,
    ...(decision.metadata && { metadata: decision.metadata }),
    created: Date.now(),
  }
}

function undecided(key: string, expected: string, value: unknown): BitsError {
  const cause = new TypeError(`onCreate() returns ${expected} as '${key}', not ${String(value)}`)
  return new BitsError('hook-failed', cause.message, { cause })
}
