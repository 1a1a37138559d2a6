import { expect, it } from 'vitest'
import { BitsError } from '../../lib/index.ts'
import { authorize } from '../../lib/sessions/authorize.ts'

const ask = (say: () => unknown) => authorize(say as () => string, {}, { type: 'Ping' })

it.each([undefined, null, true])('takes %j for anybody', async (said) => {
  expect(await ask(() => said)).toBeUndefined()
})

it('takes a name for the owner', async () => {
  expect(await ask(async () => 'alice')).toBe('alice')
})

it('takes false for no', async () => {
  await expect(ask(() => false)).rejects.toMatchObject({ code: 'access-denied' })
})

it.each(['', 7, {}, ['alice']])('takes %j for a mistake of the application', async (said) => {
  await expect(ask(() => said)).rejects.toMatchObject({ code: 'hook-failed' })
})

it('passes on a refusal, and tells of all else that it throws', async () => {
  const refusal = new BitsError('unauthorized')
  const cause = new Error('no database')
  await expect(ask(() => Promise.reject(refusal))).rejects.toBe(refusal)
  await expect(ask(() => Promise.reject(cause))).rejects.toMatchObject({ code: 'hook-failed', cause })
})
