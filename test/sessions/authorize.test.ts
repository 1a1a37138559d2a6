import { expect, it } from 'vitest'
import { BitsError } from '../../lib/index.ts'
import { authorizeRequest } from '../../lib/sessions/hooks.ts'

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

it.each(['', 7, {}, ['alice'], null])(
  'authorize: throws hook-failed when the hook returns %j',
  async (returned) => {
    await expect(authorize(() => returned)).rejects.toMatchObject({ code: 'hook-failed' })
  },
)

it('authorize: passes on a BitsError from the hook, and wraps other errors as hook-failed', async () => {
  const refusal = new BitsError('unauthorized')
  const cause = new Error('no database')
  await expect(authorize(() => Promise.reject(refusal))).rejects.toBe(refusal)
  await expect(authorize(() => Promise.reject(cause))).rejects.toMatchObject({ code: 'hook-failed', cause })
})
