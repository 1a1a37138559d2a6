/**
 * Setup of the project `fast`, whose files share processes: undoes the changes that a file leaves behind, so that they do
 * not reach the next file, and then fails the file that left them.
 */
import { afterAll, expect, vi } from 'vitest'

const environment = { ...process.env }
const directory = process.cwd()

afterAll(() => {
  const left = { isFakeTimers: vi.isFakeTimers(), environment: { ...process.env }, directory: process.cwd() }

  vi.useRealTimers()
  for (const name of Object.keys(process.env)) if (!(name in environment)) delete process.env[name]
  Object.assign(process.env, environment)
  if (left.directory !== directory) process.chdir(directory)
  vi.restoreAllMocks()

  expect(left.isFakeTimers, 'fake timers are left on').toBe(false)
  expect(left.environment, 'process.env is changed').toEqual(environment)
  expect(left.directory, 'the working directory is changed').toBe(directory)
})
