/** Prints which suites `npm test` did not run, and the command that runs them. */
import { globSync } from 'tinyglobby'

/**
 * The suites whose file names end so: `crash/crash` for `test/crash/crash.system.test.ts`.
 * @param {string} end
 */
const suites = (end) =>
  globSync(`test/**/*.${end}`)
    .map((file) => file.slice('test/'.length, -end.length - 1))
    .sort()
    .join(', ')

console.log(`
Not run: ${suites('system.test.ts')}
Run over Azurite, not over Ceph: ${suites('services.test.ts')}
To run these, too: npm run test:system`)
