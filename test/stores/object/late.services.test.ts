import { describe, expect, it } from 'vitest'
import { memoryLocker } from '../../../lib/locks/memory.ts'
import { ObjectStore } from '../../../lib/stores/object/object-store.ts'
import type { ObjectService } from '../../../lib/stores/object/service/service.ts'
import type { Store } from '../../../lib/stores/store.ts'
import { engines } from '../../support/places.ts'
import { withResolvers } from '../../support/promise.ts'
import { body, complete, loaded, newSession } from '../../support/store.ts'

const MiB = 2 ** 20

/** A server of its own on a space that something was done to. */
const storeOn = (space: ObjectService): Store =>
  new ObjectStore({
    service: space,
    locker: undefined,
    names: memoryLocker(),
    part: 5 * MiB,
    memory: 256 * MiB,
    longest: 1024,
  })

/** A server whose call timed out, or that lost its lock, continues with the call. */
describe.each(engines)('Object store on $name', (engine) => {
  engine.describe('late calls', () => {
    it('append: another server that loads meanwhile does not report lost bytes', async () => {
      const place = await engine.open()
      const space = place.space()
      const session = newSession()
      const late = storeOn(space)
      await late.create(session)
      await late.append(await loaded(late, session.id), body('abc'), { total: 9, durable: true })
      const seen = await loaded(late, session.id)
      let isLate = true
      const listed = withResolvers<void>()
      // The list is made before, the record is read after it.
      const other = storeOn({
        ...space,
        async get(key, options) {
          await listed.promise
          if (isLate) await late.append(seen, body('def'), { total: 9, durable: true })
          isLate = false
          return space.get(key, options)
        },
        async *list(prefix, options) {
          const found = []
          for await (const object of space.list(prefix, options)) found.push(object)
          listed.resolve()
          yield* found
        },
      })
      expect(await loaded(other, session.id)).toMatchObject({ state: 'receiving', received: 6 })
    })

    it('publish: does not replace a newer file', async () => {
      const place = await engine.open()
      const space = place.space()
      const store = storeOn(space)
      const first = await complete(store, 'first', { overwrite: true })
      const [held, go] = [withResolvers<void>(), withResolvers<void>()]
      const late = storeOn({
        ...space,
        async put(key, chunks, options) {
          if (key === first.name) {
            held.resolve()
            await go.promise
          }
          return space.put(key, chunks, options)
        },
      })
      const publishing = late.publish(await loaded(late, first.id)).catch(() => {})
      await held.promise
      // The client comes again, to another server; then the next client comes.
      await store.publish(await loaded(store, first.id))
      await store.publish(await complete(store, 'second', { overwrite: true }))
      go.resolve()
      await publishing
      expect((await place.see(first.name))?.bytes.toString()).toBe('second')
    })

    it('saveReply: does not replace the accepted reply', async () => {
      const place = await engine.open()
      const space = place.space()
      const store = storeOn(space)
      const { id } = await complete(store, 'abc')
      const [held, go] = [withResolvers<void>(), withResolvers<void>()]
      const late = storeOn({
        ...space,
        async put(key, chunks, options) {
          if (Buffer.concat(chunks).toString() === 'late') {
            held.resolve()
            await go.promise
          }
          return space.put(key, chunks, options)
        },
      })
      const keeping = late.saveReply(await loaded(late, id), body('late')).catch(() => {})
      await held.promise
      const session = await loaded(store, id)
      await store.saveReply(session, body('first'))
      await store.accept(session, { publish: false, reply: 'stored' })
      go.resolve()
      await keeping
      const reply = await store.loadReply(await loaded(store, id))
      const chunks: Buffer[] = []
      for await (const chunk of reply?.read(0, reply.size - 1) ?? []) chunks.push(chunk)
      expect(Buffer.concat(chunks).toString()).toBe('first')
      await store.remove(await loaded(store, id))
      expect(await place.keys()).toEqual([])
    })

    it('remove: rejects and keeps a session that has received more bytes', async () => {
      const place = await engine.open()
      const [store, late] = [place.store(), place.store()]
      const { id, ...session } = newSession()
      await store.create({ id, ...session })
      const seen = await loaded(late, id)
      await store.append(await loaded(store, id), body('abc'), { total: 9, durable: true })
      await expect(late.remove(seen)).rejects.toThrow()
      expect(await loaded(store, id)).toMatchObject({ state: 'receiving', received: 3 })
      const now = await loaded(store, id)
      await store.remove(now)
      await store.remove(now)
      await late.remove(seen)
      expect(await store.load(id)).toBeUndefined()
    })
  })
})
