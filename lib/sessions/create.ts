import type { Ack } from '../protocol/ack.ts'
import { asBitsError, BitsError } from '../protocol/errors.ts'
import { checkName } from '../protocol/name.ts'
import { type CreateSessionPacket, newGuid } from '../protocol/packet.ts'
import type { CreateOptions, NewSession } from '../stores/store.ts'
import {
  assertKnownKeys,
  checkBoolean,
  checkSize,
  isPlainObject,
  optionError,
  readSize,
} from '../validate.ts'
import type { PacketContext, SessionDependencies } from './context.ts'
import type { CreateDecision, NewUpload } from './hooks.ts'
import { type CountedSession, clientKey } from './quota.ts'

/**
 * Create-Session ([MC-BUP] 3.2.5.2.4). Each one creates a new session, because none of its forms resumes one.
 */
export async function handleCreateSession<Caller>(
  deps: SessionDependencies<Caller>,
  context: PacketContext<Caller>,
  { protocol }: CreateSessionPacket,
): Promise<Ack> {
  const { settings, cache, quota, events } = deps
  const { owner, path, url } = context
  const name = checkName(context.name())
  const upload: NewUpload = {
    id: newGuid(await settings.store.locker?.idPrefix?.()),
    name,
    path,
    url,
    owner,
  }
  const { id } = upload
  const client = clientKey(owner, context.clientAddress)
  const counted: CountedSession = { id, owner, empty: { created: Date.now(), client } }
  try {
    quota.reserve(counted, settings)
  } catch (error) {
    // Another process may have ended sessions that are still counted here.
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
    const options = new LazyCreateOptions(context, settings.onUpload !== undefined)
    const created = await cache.create(session, options)
    quota.commit({ id })
    events.emitUpload('created', created)
  } catch (error) {
    quota.release({ id })
    throw error
  }
  return { status: settings.createStatus, sessionId: id, protocol, hostId: settings.hostId }
}

/**
 * The signal is read only by a store that needs it, because an AbortSignal takes most of a kilobyte. A class, because an object
 * literal with a getter gets a hidden class of its own, which keeps the request until V8 collects the whole heap.
 */
class LazyCreateOptions implements CreateOptions {
  readonly mayReadBytes: boolean
  readonly #context: Pick<PacketContext<unknown>, 'signal'>

  constructor(context: Pick<PacketContext<unknown>, 'signal'>, mayReadBytes: boolean) {
    this.#context = context
    this.mayReadBytes = mayReadBytes
  }

  get signal(): AbortSignal {
    return this.#context.signal
  }
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
    // A copy, because the session may be cached, and the hook may change its object.
    ...(metadata && { metadata: { ...metadata } }),
    created: Date.now(),
  }
}

/** @throws {BitsError} `hook-failed` for an invalid decision: to ignore it could remove a limit */
function checkCreateDecision(decision: CreateDecision): CreateDecision {
  try {
    if (!isPlainObject(decision)) throw new TypeError('onCreate() returns nothing, or an object')
    assertKnownKeys('onCreate', 'decision', decision, decisionNames)
    const { name, maxSize, overwrite, metadata } = decision
    if (name !== undefined && typeof name !== 'string') {
      throw optionError('onCreate', 'name', 'a string', name)
    }
    if (maxSize !== undefined) checkSize('onCreate', 'maxSize', maxSize)
    if (overwrite !== undefined) checkBoolean('onCreate', 'overwrite', overwrite)
    const isMetadata =
      isPlainObject(metadata) && Object.values(metadata).every((value) => typeof value === 'string')
    if (metadata !== undefined && !isMetadata) {
      throw optionError('onCreate', 'metadata', 'an object of strings', metadata)
    }
    return decision
  } catch (cause) {
    throw new BitsError('hook-failed', (cause as TypeError).message, { cause })
  }
}
