/**
 * Fuzz test over real sockets, the long form.
 *
 *     FUZZ_CASES=100000 npx vitest run --project system test/hostile        more cases
 *     FUZZ_SEED=…       npx vitest run --project system test/hostile        repeats a failure with the seed that it printed
 */
import { fuzz } from './fuzz.ts'

const cases = Number(process.env.FUZZ_CASES ?? 3000)

fuzz({
  cases,
  // The default number of cases has the same seed each time, any other number a new seed each time.
  seed: Number(process.env.FUZZ_SEED ?? (process.env.FUZZ_CASES ? Date.now() % 2 ** 31 : 1)),
  batch: 200,
  runs: 20,
  statuses: cases >= 3000 ? [200, 400, 404, 416, 500] : [],
})
