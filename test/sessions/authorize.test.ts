import { expect, it } from 'vitest'
import { BitsError } from '../../lib/index.ts'
import { authorizeRequest } from '../../lib/sessions/hooks.ts'
import { TestClient } from '../support/client.ts'
import { uploadServer } from '../support/server.ts'
import { download, replyUrlOf } from '../wire/reply.ts'

const authorize = (hook: () => unknown) => authorizeRequest(hook as () => string, {}, { type: 'Ping' })

it.each([undefined, true])('authorize: returns no owner when the hook returns %j', async (returned) => {
  expect(await authorize(() => returned)).toBeUndefined()
})

it('authorize: uses a returned string as the owner', async () => {
  expect(await authorize(async () => 'alice')).toBe('alice')
})

it('authorize: throws access-denied when the hook returns false', async () => {
  await expect(authorize(() => false)).rejects.toMatchObject({ code: 'access-denied' })
})

it.each([
  ['', "''"],
  [0, '0'],
  [7, '7'],
  [{}, '{}'],
  [['alice'], "[ 'alice' ]"],
  [null, 'null'],
])(
  'authorize: throws hook-failed that names the result when the hook returns %j',
  async (returned, shown) => {
    await expect(authorize(() => returned)).rejects.toMatchObject({
      code: 'hook-failed',
      message: `authorize() returns a name, true, false or undefined, not ${shown}`,
    })
  },
)

it('authorize: refuses every packet and every download of a reply when it returns null', async () => {
  let owner: null | undefined
  const { url, upload } = await uploadServer({
    authorize: async () => owner as undefined,
    onUpload: () => 'reply',
  })
  const client = new TestClient(new URL('a.bin', url))
  await client.create()
  const last = await client.fragment(0, Buffer.from('hello'), 5)
  const replyUrl = replyUrlOf(last, client)
  expect((await download(replyUrl)).status).toBe(200)
  owner = null
  const failures: string[] = []
  upload.events.on('failed', ({ error }) => failures.push(error.message))
  const statuses = [
    (await client.ping()).status,
    (await client.fragment(0, Buffer.from('hello'), 5)).status,
    (await client.close()).status,
    (await client.cancel()).status,
    (await client.create()).status,
    (await download(replyUrl)).status,
  ]
  expect(statuses).toEqual(statuses.map(() => 500))
  expect(failures).toEqual(statuses.map(() => expect.stringMatching(/^authorize\(\) returns .*, not null$/)))
})

it('authorize: passes on a BitsError from the hook, and wraps other errors as hook-failed', async () => {
  const refusal = new BitsError('unauthorized')
  const cause = new Error('no database')
  await expect(authorize(() => Promise.reject(refusal))).rejects.toBe(refusal)
  await expect(authorize(() => Promise.reject(cause))).rejects.toMatchObject({ code: 'hook-failed', cause })
})
