import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Gigabytes: `npm run test:large`.
    exclude: ['test/large/**'],
    globalSetup: 'test/services/setup.ts',
    testTimeout: 30_000,
    hookTimeout: 60_000,
    coverage: {
      provider: 'v8',
      include: ['lib/**'],
      // Runs in processes of its own.
      exclude: ['lib/cli/**'],
      thresholds: { lines: 95, branches: 95 },
    },
  },
})
