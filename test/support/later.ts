import { onTestFinished, vi } from 'vitest'

/** Advances the monotonic clock, as if time had passed. */
export function later(milliseconds = 100): void {
  const now = performance.now.bind(performance)
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + milliseconds)
  onTestFinished(() => clock.mockRestore())
}
