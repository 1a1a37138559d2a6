/** Shared by the clients that are measured. They are plain JavaScript, for the same reason as the servers. */
import { readFileSync, writeSync } from 'node:fs'

/** The URL to send to, and the pattern of the files. */
export const [, , url = '', pattern = ''] = process.argv

/**
 * When the process exits, prints as JSON the seconds of processor time that it used, and the peak of its resident memory in
 * bytes. Linux counts the memory of the parent in `maxRSS`.
 */
process.on('exit', () => {
  const { user, system } = process.cpuUsage()
  const status = process.platform === 'linux' ? readFileSync('/proc/self/status', 'utf8') : ''
  const peak = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024
  writeSync(1, `${JSON.stringify({ cpu: (user + system) / 1e6, peak })}\n`)
})
