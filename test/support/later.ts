import { onTestFinished, vi } from 'vitest'

/** Advances `performance.now()` by `milliseconds` until the end of the test. */
export function later(milliseconds = 100): void {
  const now = performance.now.bind(performance)
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + milliseconds)
  onTestFinished(() => clock.mockRestore())
}
