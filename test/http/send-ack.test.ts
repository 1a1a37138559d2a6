import inject from 'light-my-request'
import { expect, it, onTestFinished } from 'vitest'
import { bitsUpload, memoryStore } from '../../lib/index.ts'

// fastify.inject() and other test tools call a handler without a connection. Their requests have no `complete`.
it('ends the Acks of mocked requests, whose body ends without `complete`', async () => {
  const store = memoryStore()
  const upload = bitsUpload({ store })
  onTestFinished(() => upload.close({ grace: 0 }))
  const send = (fields: Record<string, string>, payload?: string) =>
    inject((request, response) => upload(request, response, () => response.end()), {
      method: 'POST',
      url: '/a',
      headers: { 'x-http-method-override': 'BITS_POST', 'content-length': '0', ...fields },
      ...(payload !== undefined && { payload }),
    })
  const created = await send({
    'bits-packet-type': 'Create-Session',
    'bits-supported-protocols': '{7df0354d-249b-430f-820d-3d2a9bef4931}',
  })
  const session = { 'bits-session-id': String(created.headers['bits-session-id']) }
  const fragment = { ...session, 'bits-packet-type': 'Fragment' }
  const first = { ...fragment, 'content-range': 'bytes 0-1/5', 'content-length': '2' }
  const answers = [
    created,
    await send(first, 'he'),
    // Refused before its body was read.
    await send({ ...first, 'bits-session-id': '{00000000-0000-0000-0000-000000000000}' }, 'he'),
    await send({ ...fragment, 'content-range': 'bytes 2-4/5', 'content-length': '3' }, 'llo'),
    await send({ ...session, 'bits-packet-type': 'Close-Session' }),
  ]
  expect(answers.map(({ statusCode }) => statusCode)).toEqual([200, 200, 500, 200, 200])
  expect([...store.files.keys()]).toEqual(['a'])
}, 3000)
