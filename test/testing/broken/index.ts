import { bytes } from './append.ts'
import { publishingAppends } from './append-and-publish.ts'
import { conflicts } from './concurrent.ts'
import { decisions } from './decide.ts'
import type { Broken } from './kit.ts'
import { locks } from './lock.ts'
import { publications } from './publish.ts'
import { ends } from './remove.ts'
import { replies } from './reply.ts'
import { sessions } from './session.ts'
import { shared } from './share.ts'

/**
 * Stores with one bug each. Each file has the name of the file in lib/testing whose tests detect its bugs.
 */
export const brokenStores: readonly Broken[] = [
  ...sessions,
  ...bytes,
  ...publishingAppends,
  ...decisions,
  ...publications,
  ...replies,
  ...ends,
  ...locks,
  ...shared,
  ...conflicts,
]
