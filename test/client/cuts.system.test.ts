import { cutEvery } from './cuts.ts'

cutEvery(1)
