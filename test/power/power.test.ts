/** Crashes and losses of power, the short form: every 7th call of the file system, with one seed. */
import { durabilityTests, stopAtCalls } from './scenarios.ts'

stopAtCalls({ every: 7, seeds: 1 })
durabilityTests()
