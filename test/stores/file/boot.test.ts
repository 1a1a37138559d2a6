import { expect, it } from 'vitest'
import { currentBoot, sameBoot } from '../../../lib/stores/file/file-system.ts'

it('sameBoot: accepts equal ids and start times at most 5 seconds apart', () => {
  expect(sameBoot(currentBoot(), currentBoot())).toBe(true)
  expect(sameBoot('a', 'b')).toBe(false)
  expect(sameBoot('1700000000', '1700000004')).toBe(true)
  expect(sameBoot('1700000000', '1700000006')).toBe(false)
})
