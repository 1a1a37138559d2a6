import { cutEvery } from './cuts.ts'

// An odd step: closes and resets alternate.
cutEvery(13)
