/** The same call, of which only the first is made. */
export function once(call: (() => void) | undefined): () => void {
  let called = false
  return () => {
    if (!called) call?.()
    called = true
  }
}
