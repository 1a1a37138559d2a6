/**
 * Tests of the contract that every store must meet, for authors of stores.
 *
 * @module express-bits-upload/testing
 */

export type { Capabilities, Runner, StoreFixture, TestFunction } from './fixture.ts'
export { storeSuite } from './suite.ts'
