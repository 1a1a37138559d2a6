import { describe, expect, it } from 'vitest'
import type { ObjectService } from '../../../lib/stores/object/service/service.ts'
import { allEngines } from '../../support/places.ts'
import { complete, loaded } from '../../support/store.ts'
import { MiB, storeOn } from './fixture.ts'
import { maxSources, uploadManyParts } from './many-parts.ts'

const withFewSources = (service: ObjectService): ObjectService => ({
  ...service,
  maxSources,
  async compose(sources, key, options) {
    if (sources.length > maxSources) throw new Error(`${sources.length} sources are more than ${maxSources}`)
    return service.compose(sources, key, options)
  },
})

describe.each(allEngines)('Object store on $name', (engine) => {
  engine.describe('upload with more parts than one compose call accepts', () => {
    it('is published with all bytes although every second compose call failed', {
      timeout: 120_000,
    }, async () => {
      const place = await engine.open()
      const service = withFewSources(place.service())
      await uploadManyParts(service, Math.max(service.minSourceBytes, MiB), {
        keys: () => place.keys(),
        bytesOf: async (key) => (await place.see(key))?.bytes,
      })
      expect(await place.unfinished()).toEqual([])
    })
  })
  engine.describe('upload with more parts than one list page', () => {
    it('is loaded completely, and has the state lost when its last part is missing', {
      timeout: 60_000,
    }, async () => {
      const place = await engine.open()
      const store = storeOn(place.service(), 1024)
      const session = await complete(store, 'x'.repeat(1100 * 1024), { maxSize: 2 ** 40 })
      expect(session).toMatchObject({ state: 'receiving', received: 1100 * 1024 })
      const parts = (await place.keys()).filter((key) => key.includes('/part-'))
      expect(parts).toHaveLength(1100)
      await place.service().remove(parts.slice(-1))
      expect(await loaded(store, session.id)).toMatchObject({ state: 'lost', received: 0 })
      await store.remove(await loaded(store, session.id))
      expect(await place.keys()).toEqual([])
    })
  })
})
