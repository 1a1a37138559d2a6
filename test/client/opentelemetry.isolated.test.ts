/** The client in a process whose `node:http` OpenTelemetry instruments; dd-trace copies headers in the same way. */

import { createServer, request } from 'node:http'
import { createRequire, syncBuiltinESMExports } from 'node:module'
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http'
import { expect, it, onTestFinished } from 'vitest'

/** Instruments `node:http` for this process. */
function instrument(): void {
  const original = request
  const instrumentation = new HttpInstrumentation()
  onTestFinished(() => instrumentation.disable())
  // The hook of OpenTelemetry patches the module when it is required, as Express does.
  createRequire(import.meta.url)('node:http')
  syncBuiltinESMExports()
  expect(request).not.toBe(original)
}

it('uploadFile sends its header fields unchanged when OpenTelemetry instruments node:http', async () => {
  instrument()
  const { bitsUpload, memoryStore } = await import('../../lib/index.ts')
  const { uploadFile } = await import('../../lib/client/index.ts')
  const store = memoryStore()
  const upload = bitsUpload({ store })
  const heads: string[][] = []
  const server = createServer((incoming, response) => {
    heads.push(incoming.rawHeaders.filter((_, index) => index % 2 === 0))
    upload(incoming, response, () => response.end())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    await upload.close({ grace: 0 })
    server.close().closeAllConnections()
  })
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const result = await uploadFile(Buffer.from('hello'), `http://127.0.0.1:${port}/a.txt`, {
    headers: { 'X-Token': 'a' },
    noProgressTimeout: 0,
  })
  expect(result.size).toBe(5)
  expect([...store.files.keys()]).toEqual(['a.txt'])
  expect(heads[1]).toEqual([
    'Accept',
    'BITS-Packet-Type',
    'BITS-Session-Id',
    'Content-Range',
    'X-Token',
    'User-Agent',
    'Host',
    'Content-Length',
    'Connection',
  ])
})
