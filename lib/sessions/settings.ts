import type { HostId } from '../protocol/ack.ts'
import type { Store } from '../stores/store.ts'
import type { Hooks } from './hooks.ts'

/** What the sessions need of the options: checked, defaulted, frozen. Bytes and milliseconds. */
export interface SessionSettings<Caller> extends Hooks<Caller> {
  readonly store: Store
  readonly maxSize: number
  readonly maxFragmentSize: number
  readonly maxSessions: number
  readonly maxSessionsPerOwner: number
  readonly overwrite: boolean
  readonly expireAfter: number
  readonly commitOn: 'last-fragment' | 'close'
  readonly createStatus: 200 | 201
  readonly hostId: HostId | undefined
  readonly enabled: () => boolean
}
