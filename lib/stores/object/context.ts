import type { MemoryBudget } from './memory-budget.ts'
import type { ObjectService } from './service/service.ts'

/** Milliseconds. */
export interface LeaseTimes {
  /** Between two renewals. */
  readonly renew: number
  /** A record that has not changed for this time belongs to no living node. */
  readonly dead: number
  /** Between two reads of a node that waits. */
  readonly poll: number
}

/** What the parts of the object store share. */
export interface StoreContext {
  readonly service: ObjectService
  readonly memory: MemoryBudget
  /** Bytes at which a part is cut. */
  readonly partSize: number
  readonly leaseTimes: LeaseTimes
}
