import { describe, expect, it } from 'vitest'
import { memoryLocker } from '../../../lib/locks/memory.ts'
import type { ObjectSpace } from '../../../lib/objects/space.ts'
import { ObjectStore } from '../../../lib/stores/objects/object-store.ts'
import type { Store } from '../../../lib/stores/store.ts'
import { noise } from '../../support/bytes.ts'
import { allEngines } from '../../support/places.ts'
import { body, complete, listed, loaded, newSession } from '../../support/store.ts'

const MiB = 2 ** 20
const maxSources = 10

const storeOn = (space: ObjectSpace, part: number): Store =>
  new ObjectStore({
    space,
    locker: undefined,
    names: memoryLocker(),
    part,
    memory: 64 * MiB,
    longest: 1024,
  })

/** A space whose joins take few sources: a small file has as many parts for it as one of terabytes has for a service. */
const withFewSources = (space: ObjectSpace): ObjectSpace => ({
  ...space,
  maxSources,
  async join(sources, key, options) {
    if (sources.length > maxSources) throw new Error(`${sources.length} are too many`)
    return space.join(sources, key, options)
  },
})

describe.each(allEngines)('Object store on $name', (engine) => {
  engine.describe('upload with more parts than one join takes', () => {
    it('is published with all bytes after every second join failed', { timeout: 120_000 }, async () => {
      const place = await engine.open()
      const space = withFewSources(place.space())
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
  engine.describe('upload with more parts than one list page', () => {
    it('is loaded completely, and has the state gone when its last part is missing', {
      timeout: 60_000,
    }, async () => {
      const place = await engine.open()
      const store = storeOn(place.space(), 1024)
      const session = await complete(store, 'x'.repeat(1100 * 1024), { maxSize: 2 ** 40 })
      expect(session).toMatchObject({ state: 'receiving', received: 1100 * 1024 })
      const parts = (await place.keys()).filter((key) => key.includes('/part-'))
      expect(parts).toHaveLength(1100)
      await place.space().remove(parts.slice(-1))
      expect(await loaded(store, session.id)).toMatchObject({ state: 'gone', received: 0 })
      await store.remove(await loaded(store, session.id))
      expect(await place.keys()).toEqual([])
    })
  })
})
