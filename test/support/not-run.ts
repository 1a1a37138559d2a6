import { globSync } from 'tinyglobby'
import type { Reporter, TestModule, Vitest } from 'vitest/node'

/** After a run of all fast tests, prints the suites that were not run and the command that runs them. */
export class NotRunReporter implements Reporter {
  #vitest: Vitest | undefined

  onInit(vitest: Vitest): void {
    this.#vitest = vitest
  }

  async onTestRunEnd(modules: readonly TestModule[]): Promise<void> {
    const all = (await this.#vitest?.globTestSpecifications()) ?? []
    const hasSystem = all.some(({ project }) => project.name === 'system')
    if (hasSystem || modules.length < all.length) return
    console.log(`
Not run: ${suites('system.test.ts')}
Run over Azurite, not over Ceph: ${suites('services.test.ts')}
To run these: npm run test:system
`)
  }
}

/** The suites whose file names have this ending: `crash/crash` for `test/crash/crash.system.test.ts`. */
const suites = (end: string): string =>
  globSync(`test/**/*.${end}`)
    .map((file) => file.slice('test/'.length, -end.length - 1))
    .sort()
    .join(', ')
