/** The contract of stores for the object store on each service, with options other than the default. */
import { describe, it } from 'vitest'
import { type Capabilities, storeSuite } from '../../../lib/testing/index.ts'
import { allEngines, type PlaceOptions } from '../../support/places.ts'
import { capabilities, objectStoreFixture } from './fixture.ts'

interface Variant {
  readonly title: string
  readonly options: PlaceOptions
  readonly supports: Partial<Capabilities>
}

const variants: Readonly<Record<'azurite' | 'ceph', Variant>> = {
  azurite: {
    title: 'with a prefix and little memory',
    // With little memory a fragment needs many writes instead of one.
    options: { prefix: 'in/', memory: '1mb', partSize: '5mb' },
    supports: capabilities,
  },
  ceph: {
    title: 'without conditional writes, for one process',
    options: { conditionalWrites: false },
    supports: { ...capabilities, sharing: false },
  },
}

describe.each(allEngines)('Object store on $name', (engine) => {
  const { title, options, supports } = variants[engine.program]
  engine.describe(title, () => {
    storeSuite({ describe, it }, () => objectStoreFixture(engine, options), supports)
  })
})
