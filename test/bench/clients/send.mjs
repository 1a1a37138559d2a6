/** The command `send`: `send.mjs URL PATTERN`. The pattern is not expanded by a shell, as on Windows. */
import { pattern, url } from './measured.mjs'

process.argv.splice(2, Number.POSITIVE_INFINITY, 'send', pattern, url)
await import('../../../dist/cli/main.js')
