/**
 * Setup file of the project `fast`, whose test files share processes. After each test file it restores
 * timers, environment and working directory, so that changes do not affect the next file. Then it fails the
 * file that made them.
 */
import { afterAll, expect, vi } from 'vitest'

const environment = { ...process.env }
const directory = process.cwd()

afterAll(() => {
  const state = { isFakeTimers: vi.isFakeTimers(), environment: { ...process.env }, directory: process.cwd() }

  vi.useRealTimers()
  for (const name of Object.keys(process.env)) if (!(name in environment)) delete process.env[name]
  Object.assign(process.env, environment)
  if (state.directory !== directory) process.chdir(directory)
  vi.restoreAllMocks()

  expect(state.isFakeTimers, 'fake timers are still on').toBe(false)
  expect(state.environment, 'process.env is changed').toEqual(environment)
  expect(state.directory, 'the working directory is changed').toBe(directory)
})
