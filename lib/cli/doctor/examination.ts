import type { Finding } from './finding.ts'
import type { Visit } from './visit.ts'

/** One thing that can be wrong, or a few that are seen together. */
export interface Examination {
  /** What is not known if it was not made. */
  readonly name: string
  /** Tells what it finds as it finds it, and returns whether those behind it make sense. */
  examine(visit: Visit): AsyncGenerator<Finding, boolean, void>
}
