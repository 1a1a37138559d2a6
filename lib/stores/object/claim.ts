import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { BitsError } from '../../protocol/errors.ts'
import type { NewSession } from '../store.ts'
import type { StoreContext } from './context.ts'
import { SessionRecord } from './record.ts'
import {
  ConditionFailed,
  InternalPrefix,
  type ObjectService,
  type ServiceOptions,
} from './service/service.ts'

/** Milliseconds after which a claim belongs to no completion in progress. */
const StaleClaimMs = 3_600_000

/** Milliseconds after which a sweep removes a claim. */
const RemoveAfterMs = 24 * StaleClaimMs

const claimsPrefix = `${InternalPrefix}claims/`

/** Keys are at most 1024 bytes, as names are. */
const claimKey = (name: string): string => claimsPrefix + createHash('sha256').update(name).digest('hex')

/**
 * Publishes one file of a name at a time, for services that ignore the condition of a completion: a claim is an object with the
 * id of the session that may publish. A completion begins with a HEAD request, which replaces the condition.
 *
 * The claim is removed afterwards. If the request that publishes fails, or its node dies, it may be carried out later, so the
 * claim stays for the next packet of the session. Another session replaces it when the session of the claim has ended, or after
 * an hour.
 * @throws {BitsError} `session-busy` if another session has the claim, and does not end within the time `dead`
 */
export async function withClaim<Result>(
  { service, leaseTimes }: Pick<StoreContext, 'service' | 'leaseTimes'>,
  { id, name }: NewSession,
  work: () => Promise<Result>,
): Promise<Result> {
  const key = claimKey(name)
  const deadline = performance.now() + leaseTimes.dead
  for (;;) {
    try {
      await acquireClaim(service, key, { id, name })
      break
    } catch (error) {
      const isBusy = error instanceof BitsError && error.code === 'session-busy'
      if (!isBusy || performance.now() > deadline) throw error
      // Several sessions that wait must not try again at the same moment.
      await sleep(leaseTimes.poll * Math.random(), undefined, { ref: false })
    }
  }
  let mayComplete = false
  try {
    return await work()
  } catch (error) {
    mayComplete = !(error instanceof BitsError)
    throw error
  } finally {
    if (!mayComplete) await service.remove([key]).catch(() => {})
  }
}

/** Removes the claims that failed nodes have left, a day later. */
export async function removeStaleClaims(service: ObjectService, options: ServiceOptions): Promise<void> {
  if (service.checksCompletion) return
  const stale: string[] = []
  for await (const { key, modified } of service.list(claimsPrefix, options)) {
    if (Date.now() - modified > RemoveAfterMs) stale.push(key)
  }
  await service.remove(stale, options)
}

async function acquireClaim(
  service: ObjectService,
  key: string,
  session: Pick<NewSession, 'id' | 'name'>,
): Promise<void> {
  try {
    await service.put(key, [Buffer.from(session.id)], { condition: 'absent' })
  } catch (error) {
    if (!(error instanceof ConditionFailed)) throw error
    await replaceClaim(service, key, session)
  }
}

async function replaceClaim(
  service: ObjectService,
  key: string,
  { id, name }: Pick<NewSession, 'id' | 'name'>,
): Promise<void> {
  const [claim, attributes] = await Promise.all([service.get(key), service.head(key)])
  const holder = claim?.bytes.toString()
  if (!claim || !attributes || holder === undefined) throw busy()
  if (holder === id) return
  const record = await SessionRecord.read(service, holder)
  const hasEnded = !record || record.state.published || record.state.removed
  // A completion takes minutes at most, so the clocks may differ by almost an hour.
  const isStale = Date.now() - attributes.modified > StaleClaimMs
  if (!hasEnded && !isStale) throw busy()
  // The node that completes its upload may not have noticed the removal.
  const { removed, layout } = record?.state ?? {}
  if (removed && layout?.upload !== undefined) await service.abortUpload(name, layout.upload)
  const condition = { version: claim.version }
  await service.put(key, [Buffer.from(id)], { condition }).catch((cause) => {
    throw cause instanceof ConditionFailed ? busy(cause) : cause
  })
}

const busy = (cause?: unknown): BitsError =>
  new BitsError('session-busy', 'Another upload of the same name is being published', { cause })
