import { PassThrough } from 'node:stream'
import { expect, it } from 'vitest'
import { openDisplay } from '../../lib/cli/display.ts'
import { formatRate, formatSize, formatTime, printable } from '../../lib/cli/format.ts'

/** A terminal with this number of rows, and the text that was written to it. */
function terminal(rows: number): { readonly stream: NodeJS.WriteStream; output(): string } {
  const written: string[] = []
  const stream = Object.assign(new PassThrough(), { isTTY: true, rows, columns: 100 })
  stream.on('data', (chunk) => written.push(String(chunk)))
  return { stream: stream as unknown as NodeJS.WriteStream, output: () => written.join('') }
}

const transfer = { name: 'a.bin', done: 512 * 1024, total: 1024 * 1024, note: '1MB/s' }

it('Terminal display: shows a line for each transfer, and permanent lines', () => {
  const { stream, output } = terminal(24)
  const display = openDisplay(stream)
  display.show('1', transfer)
  display.show('2', { ...transfer, name: 'b.bin', done: 0, note: 'begins' })
  display.line('b.bin: begins')
  expect(output()).toMatch(/b\.bin: begins/)
  expect(output()).toMatch(/a\.bin +█{8}░{8} +50% of 1MB, 1MB\/s/)
  expect(output()).toMatch(/b\.bin +░{16} +0% of 1MB, begins/)
  display.hide('1')
  display.hide('none')
  display.close()
})

it('Terminal display: shows only as many transfers as fit in its rows', () => {
  const { stream, output } = terminal(5)
  const display = openDisplay(stream)
  for (let i = 0; i < 10; i += 1) display.show(String(i), { ...transfer, name: `file-${i}` })
  display.line('now')
  expect(output()).toContain('file-1')
  expect(output()).not.toContain('file-2')
  display.close()
})

it('Display without a terminal: prints only the permanent lines', () => {
  const stream = new PassThrough()
  const display = openDisplay(stream as unknown as NodeJS.WriteStream)
  display.show('1', transfer)
  display.line('a.bin: complete')
  display.hide('1')
  display.close()
  expect(String(stream.read())).toBe('a.bin: complete\n')
})

it('formatSize, formatRate and formatTime: return short texts with readable units', () => {
  expect([0, 1023, 1536, 5 * 2 ** 30].map(formatSize)).toEqual(['0B', '1023B', '1.5KB', '5GB'])
  expect(formatRate(3 * 2 ** 20, 2000)).toBe('1.5MB/s')
  expect([300, 42_000, 200_000, 7_500_000, 273_600_000, 86_400_000].map(formatTime)).toEqual([
    '0.3 s',
    '42 s',
    '3 min 20 s',
    '2 h 5 min',
    '3 d 4 h',
    '1 d',
  ])
})

it('printable: replaces control and bidirectional characters by ?', () => {
  expect(printable('a\u001b[2Jb\r\u202egpj.exe')).toBe('a?[2Jb??gpj.exe')
})
