import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { NotRunReporter } from './test/support/not-run.ts'

/** System tests, which start servers and services, kill processes, or take long. */
const system = 'test/**/*.system.test.ts'
/** Tests that run once over each object service: over Azurite in `fast`, over Ceph in `system`. */
const services = 'test/**/*.services.test.ts'
/** Fast tests that each need a process of their own, with an unchanged `node:http`. */
const isolated = 'test/**/*.isolated.test.ts'

/**
 * The file to which a run writes its results and coverage instead of checking the thresholds. CI sets it for
 * several runs and then checks them together: `vitest run --merge-reports=DIRECTORY --coverage`.
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
          // With isolation each file loads all modules again, which takes longer than most files run.
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
          // Some tests write a thousand objects to a service that may have run for hours.
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
      include: ['lib/**/*.ts'],
      // The command line runs in child processes, whose coverage is not measured.
      exclude: ['lib/cli/**'],
      ...(partialReport ? { reporter: [] } : { thresholds: { lines: 95, branches: 95 } }),
    },
  },
})
