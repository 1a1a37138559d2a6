import { readFileSync } from 'node:fs'
import { uptime } from 'node:os'

/** How far apart two readings of one boot's time may lie, in seconds: clocks are set right while machines run. */
const Drift = 5

/**
 * Names this run of the machine's kernel. What was written but not synced is sure to be there while it lasts, and
 * not after. Where the kernel gives no name it is the second at which it started.
 */
export function currentBoot(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return String(Math.round(Date.now() / 1000 - uptime()))
  }
}

/** Whether two names are of one boot. A wrong no costs a client some bytes again, a wrong yes would cost a file. */
export function sameBoot(a: string, b: string): boolean {
  return a === b || Math.abs(Number(a) - Number(b)) <= Drift
}
