import { asBitsError, BitsError } from '../protocol/errors.ts'
import type { Packet, ReplyRequest } from '../protocol/packet.ts'
import type { Hooks } from './hooks.ts'

/**
 * Asks who a client is.
 * @returns the owner's name; undefined for anybody
 * @throws {BitsError} what the hook threw, `access-denied` if it said no, `hook-failed` for an answer that is none
 */
export async function authorize<Caller>(
  hook: NonNullable<Hooks<Caller>['authorize']>,
  caller: Caller,
  packet: Packet | ReplyRequest,
): Promise<string | undefined> {
  let owner: unknown
  try {
    owner = await hook(caller, packet)
  } catch (error) {
    throw asBitsError(error, 'hook-failed')
  }
  if (owner === false) throw new BitsError('access-denied')
  if (owner === undefined || owner === null || owner === true) return undefined
  if (typeof owner === 'string' && owner !== '') return owner
  // An empty name would make one owner of all who have none.
  const cause = new TypeError('authorize() returns a name, true, false or undefined')
  throw new BitsError('hook-failed', cause.message, { cause })
}
