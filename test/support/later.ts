import { onTestFinished, vi } from 'vitest'

/** Moves the monotonic clock on, as if somebody had taken his time behind the server's back. */
export function later(milliseconds = 100): void {
  const now = performance.now.bind(performance)
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + milliseconds)
  onTestFinished(() => clock.mockRestore())
}
