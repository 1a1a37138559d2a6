import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { NotRunReporter } from './test/support/not-run.ts'

/** System tests: they start servers and services, kill processes, or take long. */
const system = 'test/**/*.system.test.ts'
/** Tests that run once over each object service: over Azurite in `fast`, over Ceph in `system`. */
const services = 'test/**/*.services.test.ts'
/** Fast tests that each need a process of their own, in which `node:http` is as Node made it. */
const isolated = 'test/**/*.isolated.test.ts'

/**
 * Where a run writes its results and coverage instead of checking the thresholds. CI sets it for several runs and then
 * checks them together: `vitest run --merge-reports=DIRECTORY --coverage`.
 */
const partialReport = process.env.TEST_REPORT

export default defineConfig({
  test: {
    reporters: partialReport
      ? ['default', ['blob', { outputFile: partialReport }], new NotRunReporter()]
      : ['default', new NotRunReporter()],
    maxWorkers: availableParallelism(),
    projects: [
      {
        extends: true,
        test: {
          name: 'fast',
          include: ['test/**/*.test.ts'],
          exclude: [system, isolated],
          // To load everything again for each file takes longer than most files.
          isolate: false,
          setupFiles: 'test/support/left-clean.ts',
          env: { OBJECT_SERVICE: 'azurite' },
        },
      },
      {
        extends: true,
        test: { name: 'fast-isolated', include: [isolated] },
      },
      {
        extends: true,
        test: {
          name: 'system',
          include: [system, services],
          // Some write a thousand objects to a service that runs for hours.
          testTimeout: 120_000,
          env: { OBJECT_SERVICE: 'ceph' },
        },
      },
    ],
    globalSetup: 'test/services/setup.ts',
    testTimeout: 30_000,
    hookTimeout: 60_000,
    coverage: {
      enabled: partialReport !== undefined,
      provider: 'v8',
      include: ['lib/**'],
      // The command line runs in processes of its own.
      exclude: ['lib/cli/**'],
      ...(partialReport ? { reporter: [] } : { thresholds: { lines: 95, branches: 95 } }),
    },
  },
})
