/** Crashes and losses of power, the long form: at each call of the file system, with six seeds. */
import { durabilityTests, stopAtCalls } from './scenarios.ts'

stopAtCalls({ every: 1, seeds: 6 })
durabilityTests()
