/** The contract of stores for the object store on each service, with default options. */
import { describe, it } from 'vitest'
import { storeSuite } from '../../../lib/testing/index.ts'
import { allEngines } from '../../support/places.ts'
import { capabilities, objectStoreFixture } from './fixture.ts'

describe.each(allEngines)('Object store on $name', (engine) => {
  engine.describe('with default options', () => {
    storeSuite({ describe, it }, () => objectStoreFixture(engine), capabilities)
  })
})
