/**
 * An upload server in a process of its own, started with --expose-gc, that tells how many bytes V8 takes to be old:
 * `young-server.ts DIRECTORY`.
 */

import { createServer } from 'node:http'
import v8 from 'node:v8'
import { bitsUpload } from '../../lib/index.ts'

const [store = ''] = process.argv.slice(2)
const upload = bitsUpload({ store, sweepEvery: 0 })
const server = createServer((request, response) => {
  upload(request, response, () => response.writeHead(404).end())
})
server.listen(0, '127.0.0.1', () => process.send?.({ listening: server.address() }))

const bytesOf = (space: string): number =>
  v8.getHeapSpaceStatistics().find(({ space_name }) => space_name === space)?.space_used_size ?? 0

process.on('message', (question: 'collect' | 'old') => {
  if (question === 'collect') globalThis.gc?.()
  process.send?.({ old: bytesOf('old_space') })
})
process.on('disconnect', () => process.exit())
