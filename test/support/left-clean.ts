/** Setup of the project `fast`, whose files share processes: fails a file that leaves a change behind for the next one. */
import { afterAll, expect, vi } from 'vitest'

const environment = { ...process.env }
const directory = process.cwd()

afterAll(() => {
  expect(vi.isFakeTimers(), 'fake timers are left on').toBe(false)
  expect({ ...process.env }, 'process.env is changed').toEqual(environment)
  expect(process.cwd(), 'the working directory is changed').toBe(directory)
})
