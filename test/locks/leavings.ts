import type { Leaving } from '../../lib/locks/locker.ts'

/** What is left with a session, and how often it was dropped. */
export function leaving(): Leaving & { readonly drops: number } {
  const left = {
    drops: 0,
    drop() {
      left.drops += 1
    },
  }
  return left
}
