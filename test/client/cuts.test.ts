import { cutEvery } from './cuts.ts'

// Odd: cuts are by close and by reset in turn.
cutEvery(13)
