import type { Leaving } from '../../lib/locks/locker.ts'

/** A value for `leave()` that counts the calls of its `drop()`. */
export function leaving(): Leaving & { readonly drops: number } {
  const left = {
    drops: 0,
    drop() {
      left.drops += 1
    },
  }
  return left
}
