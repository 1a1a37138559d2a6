/** Fuzz test over real sockets, the short form: the same cases each time. */
import { fuzz } from './fuzz.ts'

fuzz({ cases: 300, seed: 1, batch: 100, runs: 1, statuses: [200, 400, 416, 500] })
