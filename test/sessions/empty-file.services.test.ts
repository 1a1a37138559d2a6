import { describe, expect, it } from 'vitest'
import { begin, TestClient } from '../support/client.ts'
import { engines } from '../support/places.ts'
import { withResolvers } from '../support/promise.ts'
import { uploadServer } from '../support/server.ts'
import { next } from '../wire/setting.ts'

describe.each(engines)('Object store on $name', (engine) => {
  engine.describe('Close-Session of a session without bytes', () => {
    it('publishes an empty file without a fragment', async () => {
      const place = await engine.open()
      const { url } = await uploadServer({ store: place.store() })
      const client = new TestClient(new URL('a.bin', url))
      await client.create()
      expect((await client.close()).status).toBe(200)
      expect((await place.see('a.bin'))?.bytes).toHaveLength(0)
    })

    it('publishes nothing after a fragment that ended before its first byte', async () => {
      const place = await engine.open()
      const store = place.store()
      const began = withResolvers<void>()
      const append = store.append.bind(store)
      store.append = (...args) => {
        began.resolve()
        return append(...args)
      }
      const { url, upload } = await uploadServer({ store })
      const client = new TestClient(new URL('a.bin', url))
      await client.create()
      const interrupted = next(upload, 'interrupted')
      const outgoing = begin(client.url, 'Fragment', { headers: client.range(0, 5, 5) })
      outgoing.on('error', () => {}).flushHeaders()
      await began.promise
      outgoing.destroy()
      await interrupted
      expect((await client.close()).status).toBe(200)
      expect(await place.see('a.bin')).toBeUndefined()
    })
  })
})
