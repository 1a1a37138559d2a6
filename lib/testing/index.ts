export type { Capabilities, Runner, StoreFixture } from './fixture.ts'
export { storeSuite } from './suite.ts'
