import { describe, expect, it } from 'vitest'
import { memoryLocker } from '../../../lib/locks/memory.ts'
import type { ObjectSpace } from '../../../lib/objects/space.ts'
import { ObjectStore } from '../../../lib/stores/objects/object-store.ts'
import type { Store } from '../../../lib/stores/store.ts'
import { noise } from '../../support/bytes.ts'
import { engines } from '../../support/places.ts'
import { body, listed, loaded, newSession } from '../../support/store.ts'

const MiB = 2 ** 20
const maxSources = 10

/** A server on a space whose joins take few sources, as if its parts were of a file of terabytes. */
const storeOn = (space: ObjectSpace, part: number): Store =>
  new ObjectStore({
    space: {
      ...space,
      maxSources,
      async join(sources, key, options) {
        if (sources.length > maxSources) throw new Error(`${sources.length} are too many`)
        return space.join(sources, key, options)
      },
    },
    locker: undefined,
    names: memoryLocker(),
    part,
    memory: 64 * MiB,
    longest: 1024,
  })

describe.each(engines)('a file of more parts than a join takes, on $name', (engine) => {
  engine.describe('', () => {
    it('is published whole, whatever failed on its way', { timeout: 120_000 }, async () => {
      const place = await engine.open()
      const space = place.space()
      const part = Math.max(space.minSource, MiB)
      const file = noise(20 * part + 12_345)
      const session = newSession({ maxSize: 2 ** 40 })
      // Every other one fails.
      let joins = 0
      const failing = storeOn(
        {
          ...space,
          async join(sources, key, options) {
            joins += 1
            if (joins % 2 === 0) throw new Error('the line is cut')
            return space.join(sources, key, options)
          },
        },
        part,
      )
      await failing.create(session)
      const size = Math.ceil(2.7 * part)
      let failures = 0
      for (let received = 0; received < file.length; ) {
        const fragment = body(file.subarray(received, received + size))
        const options = { total: file.length, durable: true }
        await failing.append(await loaded(failing, session.id), fragment, options).catch(() => {
          failures += 1
        })
        const after = await loaded(failing, session.id)
        expect(after.state).toBe('receiving')
        expect(after.received).toBe(Math.min(received + size, file.length))
        received = after.received
      }
      expect(failures).toBeGreaterThan(0)
      const store = storeOn(space, part)
      await store.append(await loaded(store, session.id), body(), { total: file.length, durable: true })
      const kinds = (await place.keys()).map((key) => key.replace(/^.*\/|-.*$/g, ''))
      expect(kinds.filter((kind) => kind === 'group').length).toBe(6)
      expect(kinds.filter((kind) => kind === 'part').length).toBe(2)
      const complete = await loaded(store, session.id)
      const chunks: Buffer[] = []
      for await (const chunk of store.read(complete)) chunks.push(chunk)
      expect(Buffer.concat(chunks).equals(file)).toBe(true)
      await store.publish(complete)
      expect((await place.see('a.bin'))?.bytes.equals(file)).toBe(true)
      await store.remove(await loaded(store, session.id))
      expect(await listed(store)).toEqual([])
      expect(await place.keys()).toEqual(['a.bin'])
      expect(await place.unfinished()).toEqual([])
    })
  })
})
