/**
 * The command `serve` with its defaults: `command.mjs DIRECTORY`. After the URL its output goes to /dev/null, because a pipe to
 * the benchmark takes more time than a file or a terminal.
 */
import { openSync, writeSync } from 'node:fs'

const [, , directory = ''] = process.argv

// The channel must not keep a stopped server running.
process.on('disconnect', () => process.exit()).channel?.unref()
const output = openSync('/dev/null', 'w')
const write = process.stdout.write.bind(process.stdout)
/** @type {any} */
process.stdout.write = (/** @type {string} */ text) => {
  process.stdout.write = /** @type {any} */ ((/** @type {string} */ more) => writeSync(output, more) >= 0)
  return write(text)
}
process.argv.splice(2, Number.POSITIVE_INFINITY, 'serve', '--host', '127.0.0.1', '--port', '0', directory)
await import('../../../dist/cli/main.js')
