import { describe, it } from 'vitest'
import { type Supports, storeSuite, type TestedStore } from '../../../lib/testing/index.ts'
import { type Engine, engines, type PlaceOptions } from '../../support/places.ts'

/** Names of object services have no folders, and 4 GiB would have to be sent (`npm run test:large` does). */
const supports: Partial<Supports> = { folders: false, missingFolders: false, paths: false, bigOffsets: false }

async function tested(engine: Engine, options: PlaceOptions = {}): Promise<TestedStore> {
  const { prefix = '' } = options
  const place = await engine.open()
  const reopen = () => place.store(options)
  return {
    store: reopen(),
    reopen,
    published: async (name, first) => (await place.see(prefix + name, first))?.bytes,
    async loseBytes({ id }) {
      const uploaded = `${prefix}.bits-sessions/uploads/${id}/bytes/`
      await place.space().remove((await place.keys()).filter((key) => key.startsWith(uploaded)))
    },
  }
}

describe.each(engines)('the store on $name', (engine) => {
  engine.describe('', () => {
    storeSuite({ describe, it }, () => tested(engine), supports)
  })
})

const [azure, s3] = engines

// Many writes where there was one: whatever a fragment's memory has room for.
azure?.describe('the store on Azure Blob Storage with a prefix, and little memory', () => {
  const options = { prefix: 'in/', memory: '1mb', partSize: '5mb' }
  storeSuite({ describe, it }, () => tested(azure, options), supports)
})

s3?.describe('the store on S3 for one process, without conditions', () => {
  const alone = { ...supports, sharing: false, locker: false }
  storeSuite({ describe, it }, () => tested(s3, { conditionalWrites: false }), alone)
})
