export { storeSuite } from './suite.ts'
export type { Runner, Supports, TestedStore } from './tested.ts'
