import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type Display, openDisplay } from '../../lib/cli/display.ts'
import { formatRate, formatSize, formatTime, printable } from '../../lib/cli/format.ts'
import { printUploads } from '../../lib/cli/uploads.ts'
import type { BitsUploadEvents } from '../../lib/index.ts'

/** A terminal: the control sequences that the display uses, with rows that scroll. */
class Terminal {
  readonly stream: NodeJS.WriteStream
  /** All rows, including those that were scrolled out. */
  readonly rows: string[] = ['']
  isCursorShown = true
  readonly #columns: number
  #row = 0
  #column = 0
  #wraps = true

  constructor(rows: number, columns: number) {
    this.#columns = columns
    const stream = Object.assign(new PassThrough(), { isTTY: true, rows, columns })
    stream.setEncoding('utf8').on('data', (text: string) => this.#write(text))
    this.stream = stream as unknown as NodeJS.WriteStream
  }

  /** The rows without trailing spaces. */
  get screen(): string[] {
    return this.rows.map((row) => row.trimEnd())
  }

  #write(text: string): void {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control sequences are what it reads
    for (const [token] of text.matchAll(/\u001b\[(\?\d+[hl]|\d*[AJ])|[\s\S]/g)) this.#apply(token)
  }

  #apply(token: string): void {
    const up = /(\d+)A$/.exec(token)
    if (token === '\n') this.#newLine()
    else if (token === '\r') this.#column = 0
    else if (up) this.#row -= Number(up[1])
    else if (token.endsWith('[J')) {
      this.rows.length = this.#row + 1
      this.rows[this.#row] = this.#text.slice(0, this.#column)
    } else if (token.includes('[?7')) this.#wraps = token.endsWith('h')
    else if (token.includes('[?25')) this.isCursorShown = token.endsWith('h')
    else this.#put(token)
  }

  get #text(): string {
    return this.rows[this.#row] ?? ''
  }

  #put(character: string): void {
    if (this.#column === this.#columns) {
      if (this.#wraps) this.#newLine()
      else this.#column -= 1
    }
    const before = this.#text.padEnd(this.#column).slice(0, this.#column)
    this.rows[this.#row] = `${before}${character}${this.#text.slice(this.#column + 1)}`
    this.#column += 1
  }

  #newLine(): void {
    this.#row += 1
    this.#column = 0
    this.rows[this.#row] ??= ''
  }
}

const transfer = { name: 'a.bin', done: 512 * 1024, total: 1024 * 1024, note: '1MB/s' }
const fast = { toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] } as const

afterEach(() => void vi.useRealTimers())

describe('Display on a terminal', () => {
  function setup(rows = 24, columns = 80) {
    vi.useFakeTimers({ ...fast, toFake: [...fast.toFake] })
    const terminal = new Terminal(rows, columns)
    const display = openDisplay(terminal.stream)
    return { terminal, display }
  }

  it('shows a line for each transfer below the permanent lines, and removes it at the end', () => {
    const { terminal, display } = setup()
    display.show('1', transfer)
    display.show('2', { ...transfer, name: 'b.bin', done: 0, note: 'begins' })
    display.line('b.bin: begins')
    expect(terminal.screen).toEqual([
      'b.bin: begins',
      'a.bin                ████████░░░░░░░░  50% of 1MB, 1MB/s',
      'b.bin                ░░░░░░░░░░░░░░░░   0% of 1MB, begins',
    ])
    expect(terminal.isCursorShown).toBe(false)
    display.show('2', { ...transfer, name: 'b.bin', done: 1024 * 1024 })
    vi.advanceTimersByTime(100)
    expect(terminal.screen[2]).toBe('b.bin                ████████████████ 100% of 1MB, 1MB/s')
    display.hide('1')
    display.hide('none')
    expect(terminal.screen).toHaveLength(2)
    display.line('b.bin: complete')
    display.close()
    expect(terminal.screen).toEqual(['b.bin: begins', 'b.bin: complete', ''])
    expect(terminal.isCursorShown).toBe(true)
  })

  it('wraps permanent lines, never cuts them, whatever is shown', () => {
    const { terminal, display } = setup(24, 40)
    const text = 'The same command resumes what is unfinished. To list uploads: express-bits-upload jobs'
    display.line(text)
    display.show('1', { ...transfer, name: 'a name that is longer than the column of names' })
    display.show('2', transfer)
    display.line(text)
    display.show('1', { ...transfer, done: 1 })
    display.line(text)
    display.hide('1')
    display.line(text)
    display.close()
    expect(terminal.rows.join('').replaceAll(/(?<=jobs) *(?=The)/g, '')).toBe(text.repeat(4))
  })

  it('cuts progress lines at the width of the terminal', () => {
    const { terminal, display } = setup(24, 30)
    display.show('1', transfer)
    vi.advanceTimersByTime(100)
    expect(terminal.screen).toEqual(['a.bin                ████████'])
    display.close()
  })

  it('counts the uploads that do not fit, and shows a line of totals', () => {
    const { terminal, display } = setup(8)
    for (let i = 0; i < 17; i += 1) display.show(String(i), { ...transfer, name: `file-${i}` })
    vi.advanceTimersByTime(100)
    expect(terminal.screen.map((line) => line.slice(0, 6))).toEqual([
      ...['file-0', 'file-1', 'file-2', 'file-3'],
      'and 13',
    ])
    expect(terminal.screen.at(-1)).toBe('and 13 more; all 17 together: 50% of 17MB')
    for (let i = 0; i < 12; i += 1) display.hide(String(i))
    expect(terminal.screen.map((line) => line.slice(0, 7))).toEqual([
      ...['file-12', 'file-13', 'file-14', 'file-15', 'file-16'],
    ])
    display.close()
  })
})

describe('Display without a terminal', () => {
  function setup() {
    vi.useFakeTimers({ ...fast, toFake: [...fast.toFake] })
    const stream = new PassThrough()
    return {
      display: openDisplay(stream as unknown as NodeJS.WriteStream),
      output: () => String(stream.read() ?? ''),
    }
  }

  it('prints only the permanent lines of short transfers', () => {
    const { display, output } = setup()
    display.show('1', transfer)
    vi.advanceTimersByTime(39_000)
    display.hide('1')
    display.line('a.bin: complete')
    vi.advanceTimersByTime(600_000)
    display.close()
    expect(output()).toBe('a.bin: complete\n')
  })

  it('reports each long transfer at least once a minute', () => {
    for (const start of [0, 1000, 19_000]) {
      const { display, output } = setup()
      display.show('early', { ...transfer, name: 'early' })
      vi.advanceTimersByTime(start)
      display.show('1', transfer)
      for (let minute = 0; minute < 5; minute += 1) {
        vi.advanceTimersByTime(60_000)
        expect(output().match(/^a\.bin: 50% of 1MB, 1MB\/s$/gm)).not.toBe(null)
      }
      display.close()
      vi.useRealTimers()
    }
  })

  it('reports at most 20 transfers by name, and the total of all', () => {
    const { display, output } = setup()
    for (let i = 0; i < 33; i += 1) display.show(String(i), { ...transfer, name: `file-${i}` })
    vi.advanceTimersByTime(40_000)
    const lines = output().trim().split('\n')
    expect(lines).toHaveLength(21)
    expect(lines.at(-1)).toBe('and 13 more; all 33 together: 50% of 33MB')
    display.close()
  })
})

it('printUploads: shows an upload from its first packet, and hides it after 5 minutes without an event', () => {
  vi.useFakeTimers({ ...fast, toFake: [...fast.toFake] })
  const shown = new Map<string, string>()
  const display: Display = {
    line() {},
    show: (id, { note }) => void shown.set(id, note),
    hide: (id) => void shown.delete(id),
    close() {},
  }
  const events = new EventEmitter<BitsUploadEvents>()
  printUploads(events, display, '/srv')
  const upload = { id: '1', name: 'a.bin', path: '/upload/a.bin', received: 0 }
  events.emit('created', upload)
  expect([...shown]).toEqual([['1', 'no fragment complete yet']])
  vi.advanceTimersByTime(200_000)
  events.emit('received', { ...upload, received: 100, total: 200 })
  vi.advanceTimersByTime(299_000)
  expect(shown.size).toBe(1)
  vi.advanceTimersByTime(40_000)
  expect(shown.size).toBe(0)
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
