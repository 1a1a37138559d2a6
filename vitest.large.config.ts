import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: { include: ['test/large/*.test.ts'], globalSetup: 'test/services/setup.ts' },
})
