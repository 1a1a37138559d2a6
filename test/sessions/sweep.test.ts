import { expect, it } from 'vitest'
import { bitsUpload, memoryStore } from '../../lib/index.ts'
import { listed, newSession } from '../support/store.ts'

it('upload.sweep: removes the other sessions when one cannot be removed, and throws its error', async () => {
  const store = memoryStore()
  const sessions = [1, 2, 3].map(() => newSession({ created: 0 }))
  for (const session of sessions) await store.create(session)
  const [stuck] = sessions
  const remove = store.remove.bind(store)
  store.remove = async (session) => {
    if (session.id === stuck?.id) throw new Error('it cannot be removed')
    await remove(session)
  }
  const upload = bitsUpload({ store, sweepEvery: 0 })
  await expect(upload.sweep()).rejects.toThrow('it cannot be removed')
  expect(await listed(store)).toEqual([stuck?.id])
  store.remove = remove
  expect(await upload.sweep()).toEqual({ expired: 1, open: 0 })
})

it('upload.sweep: removes and counts the other sessions when one cannot be read, and throws its error', async () => {
  const store = memoryStore()
  const [old, recent] = [newSession({ created: 0 }), newSession({ name: 'b' })]
  for (const session of [old, recent]) await store.create(session)
  const { list } = store
  store.list = async function* (options = {}) {
    options.onUnreadable?.(new Error('a corrupt journal'))
    yield* list(options)
  }
  const upload = bitsUpload({ store, sweepEvery: 0 })
  await expect(upload.sweep()).rejects.toThrow('a corrupt journal')
  expect(await listed(store)).toEqual([recent.id])
})
