/** Milliseconds within which failures of one cause are printed once. */
const RepeatAfterMs = 60_000
/** Most causes that are remembered. */
const MaxCauses = 100

/**
 * Prints failures to the console, for applications without a listener for them: each cause once a minute, with the number of
 * failures that were not printed, because a full disk fails a thousand uploads at once.
 */
export class FailureLog {
  /** By cause: when it was printed, and how often it occurred since. */
  readonly #causes = new Map<string, { printedAt: number; skipped: number }>()

  print(text: string, error: unknown): void {
    const cause = causeOf(error)
    const known = this.#causes.get(cause)
    const now = performance.now()
    if (known && now - known.printedAt < RepeatAfterMs) {
      known.skipped += 1
      return
    }
    this.#causes.delete(cause)
    this.#causes.set(cause, { printedAt: now, skipped: 0 })
    if (this.#causes.size > MaxCauses) this.#causes.delete(this.#causes.keys().next().value as string)
    const more = known?.skipped ? ` (and ${known.skipped} more of this cause since the last message)` : ''
    console.error(`express-bits-upload: ${text}${more}:`, error)
  }
}

/** What failures have in common: their codes and the place of the innermost error, without ids and paths in its message. */
function causeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return String(error)
  const { code, cause, stack } = error as { code?: unknown; cause?: unknown; stack?: unknown }
  if (cause !== undefined && cause !== error) return `${String(code)} < ${causeOf(cause)}`
  const [, place = ''] = /^ +at (.*)$/m.exec(String(stack)) ?? []
  return `${String(code)} ${place}`
}
