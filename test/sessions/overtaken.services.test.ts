import { describe, expect, it } from 'vitest'
import { TestClient } from '../support/client.ts'
import { engines } from '../support/places.ts'
import { uploadServer } from '../support/server.ts'
import { body, loaded } from '../support/store.ts'

describe.each(engines)('Object store on $name', (engine) => {
  engine.describe('Fragment while another server changes the session', () => {
    it('publishes the file although all bytes were stored, and accepted, before each of its calls of append', async () => {
      const place = await engine.open()
      const [store, other] = [place.store(), place.store()]
      const { url } = await uploadServer({ store })
      const client = new TestClient(new URL('a.bin', url))
      await client.create()
      const append = store.append.bind(store)
      const steps = [
        async () => other.append(await current(), body('hello'), { total: 5, durable: true }),
        async () => other.accept(await current(), { publish: true }),
      ].values()
      const current = () => loaded(other, client.sessionId)
      // The other server changes the session before each append() of this one.
      store.append = async (...args) => {
        await steps.next().value?.()
        return append(...args)
      }
      const { status } = await client.fragment(0, Buffer.from('hello'), 5)
      expect(status).toBe(200)
      expect((await place.see('a.bin'))?.bytes.toString()).toBe('hello')
    })
  })
})
