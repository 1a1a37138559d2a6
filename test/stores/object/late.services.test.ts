import { describe, expect, it } from 'vitest'
import type { PutOptions } from '../../../lib/stores/object/service/service.ts'
import { engines } from '../../support/places.ts'
import { withResolvers } from '../../support/promise.ts'
import { body, complete, loaded, newSession } from '../../support/store.ts'
import { shortTimes, storeOn } from './fixture.ts'

/** A server whose call timed out, or that was stopped, continues with the call. */
describe.each(engines)('Object store on $name', (engine) => {
  engine.describe('late calls', () => {
    it('publish: another server that loads meanwhile does not report lost bytes', async () => {
      const place = await engine.open()
      const service = place.service()
      const late = storeOn(service)
      const { id } = await complete(late, 'abc')
      const before = await loaded(late, id)
      // The record is read before the late publication, and the objects are listed after it.
      const other = storeOn({
        ...service,
        async *list(prefix, options) {
          await late.publish(before)
          yield* service.list(prefix, options)
        },
      })
      expect(await loaded(other, id)).toMatchObject({ state: 'published', received: 3 })
    })

    it('publish: does not replace a newer file', async () => {
      const place = await engine.open()
      const service = place.service()
      const store = storeOn(service, undefined, undefined, shortTimes)
      const first = await complete(store, 'first', { overwrite: true })
      const [reached, resume] = [withResolvers<void>(), withResolvers<void>()]
      const stopped = {
        ...service,
        async put(key: string, chunks: readonly Uint8Array[], options?: PutOptions) {
          if (key === first.name) {
            reached.resolve()
            await resume.promise
          }
          return service.put(key, chunks, options)
        },
      }
      // Its timers have stopped, too: the lease is not renewed.
      const late = storeOn(stopped, undefined, undefined, { ...shortTimes, renew: 1e6 })
      const publishing = late.publish(await loaded(late, first.id)).catch(() => {})
      await reached.promise
      // The client repeats its packet to another server; then another client uploads a file of the same name.
      await store.publish(await loaded(store, first.id))
      await store.publish(await complete(store, 'second', { overwrite: true }))
      resume.resolve()
      await publishing
      expect((await place.see(first.name))?.bytes.toString()).toBe('second')
    })

    it('saveReply: does not replace the accepted reply', async () => {
      const place = await engine.open()
      const service = place.service()
      const store = storeOn(service)
      const { id } = await complete(store, 'abc')
      const [reached, resume] = [withResolvers<void>(), withResolvers<void>()]
      const late = storeOn({
        ...service,
        async put(key, chunks, options) {
          if (Buffer.concat(chunks).toString() === 'late') {
            reached.resolve()
            await resume.promise
          }
          return service.put(key, chunks, options)
        },
      })
      const saving = late.saveReply(await loaded(late, id), body('late')).catch(() => {})
      await reached.promise
      const session = await loaded(store, id)
      await store.saveReply(session, body('first'))
      await store.accept(session, { publish: false, reply: 'stored' })
      resume.resolve()
      await saving
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
      const before = await loaded(late, id)
      await store.append(await loaded(store, id), body('abc'), { total: 9, durable: true })
      await expect(late.remove(before)).rejects.toThrow()
      expect(await loaded(store, id)).toMatchObject({ state: 'receiving', received: 3 })
      const current = await loaded(store, id)
      await store.remove(current)
      await store.remove(current)
      await late.remove(before)
      expect(await store.load(id)).toBeUndefined()
    })
  })
})
