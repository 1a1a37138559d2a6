import { formatSize, printable } from './format.ts'

/** Progress of one transfer. */
export interface ProgressLine {
  readonly name: string
  /** Bytes that were transferred. */
  readonly done: number
  /** Bytes of the file; undefined while they are unknown. */
  readonly total: number | undefined
  /** Rate or state. */
  readonly note: string
}

/**
 * Output of a command while it runs: permanent lines, and the progress of each active transfer: on a terminal a
 * line that changes, elsewhere a permanent line at least once a minute.
 */
export interface Display {
  /** Prints a permanent line. */
  line(text: string): void
  /** Shows or updates the progress of a transfer. */
  show(id: string, progress: ProgressLine): void
  /** Ends the progress of a transfer. */
  hide(id: string): void
  close(): void
}

export function openDisplay(stream: NodeJS.WriteStream): Display {
  return stream.isTTY && process.env.TERM !== 'dumb' ? new LiveDisplay(stream) : new PlainDisplay(stream)
}

/** `45% of 1.2GB`. */
const shareOf = (done: number, total: number): string => `${percentOf(done, total)}% of ${formatSize(total)}`

const percentOf = (done: number, total: number): number =>
  total > 0 ? Math.min(100, Math.floor((done / total) * 100)) : 0

/** The line for the transfers without a line of their own, and the total of all. */
function totalLine(all: readonly ProgressLine[], hidden: number): string {
  const sum = { done: 0, total: 0 }
  for (const { done, total = 0 } of all) {
    sum.done += done
    sum.total += total
  }
  return `and ${hidden} more; all ${all.length} together: ${shareOf(sum.done, sum.total)}`
}

/** Milliseconds between two checks for transfers to report. */
const CheckIntervalMs = 20_000
/** Age of a report after which the next check reports again: at least once a minute. */
const MinReportAgeMs = 40_000
/** Transfers with a line of their own in one report; a server may have thousands. */
const MaxReportLines = 20

/** For pipes and files. */
class PlainDisplay implements Display {
  readonly #stream: NodeJS.WritableStream
  readonly #active = new Map<string, { progress: ProgressLine; reportedAt: number }>()
  #timer: NodeJS.Timeout | undefined

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream
  }

  line(text: string): void {
    this.#stream.write(`${text}\n`)
  }

  show(id: string, progress: ProgressLine): void {
    const active = this.#active.get(id)
    if (active) active.progress = progress
    else this.#active.set(id, { progress, reportedAt: Date.now() })
    this.#timer ??= setInterval(() => this.#report(), CheckIntervalMs).unref()
  }

  hide(id: string): void {
    this.#active.delete(id)
    if (this.#active.size === 0) this.close()
  }

  close(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #report(): void {
    const now = Date.now()
    const due = [...this.#active.values()].filter(({ reportedAt }) => now - reportedAt >= MinReportAgeMs)
    for (const active of due) active.reportedAt = now
    for (const { progress } of due.slice(0, MaxReportLines)) {
      const { name, done, total, note } = progress
      const share = total === undefined ? '' : `${shareOf(done, total)}, `
      this.line(`${printable(name)}: ${share}${printable(note)}`)
    }
    const hidden = due.length - MaxReportLines
    const all = [...this.#active.values()].map(({ progress }) => progress)
    if (hidden > 0) this.line(totalLine(all, hidden))
  }
}

/** Columns of a name: a progress line then fits into 80 columns. */
const NameWidth = 20
const BarWidth = 16
/** Rows of the terminal that stay free for permanent lines and for the prompt. */
const FreeRows = 3
/** Milliseconds between two drawings. */
const DrawIntervalMs = 100

// Control sequences of terminals (ECMA-48, and DEC private modes).
const ClearBelow = '\u001b[J'
const [WrapOff, WrapOn] = ['\u001b[?7l', '\u001b[?7h']
const [CursorOff, CursorOn] = ['\u001b[?25l', '\u001b[?25h']

/**
 * For terminals. The progress lines are a block below the permanent lines; each drawing replaces the block. Only
 * while it is drawn is line wrapping off, so that it has as many rows as lines: permanent lines are wrapped, never
 * cut, and a wrapped command can be copied.
 */
class LiveDisplay implements Display {
  readonly #stream: NodeJS.WriteStream
  readonly #active = new Map<string, ProgressLine>()
  /** The lines of the block on the terminal. The cursor is at the end of the last one. */
  #drawn: readonly string[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream
  }

  line(text: string): void {
    this.#draw(`${text}\n`)
  }

  show(id: string, progress: ProgressLine): void {
    this.#active.set(id, progress)
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#draw()
    }, DrawIntervalMs).unref()
  }

  hide(id: string): void {
    if (this.#active.delete(id)) this.#draw()
  }

  close(): void {
    this.#active.clear()
    this.#draw()
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Draws the block, below a permanent text if there is one. */
  #draw(text = ''): void {
    const lines = this.#lines()
    if (text === '' && lines.join('\n') === this.#drawn.join('\n')) return
    const up = this.#drawn.length - 1
    const start = this.#drawn.length === 0 ? '' : `\r${up > 0 ? `\u001b[${up}A` : ''}${ClearBelow}`
    const block = lines.length === 0 ? '' : `${CursorOff}${WrapOff}${lines.join('\n')}${WrapOn}`
    const end = lines.length === 0 && this.#drawn.length > 0 ? CursorOn : ''
    this.#drawn = lines
    this.#stream.write(`${start}${text}${block}${end}`)
  }

  #lines(): string[] {
    const all = [...this.#active.values()]
    const { rows = 24, columns = 80 } = this.#stream
    // Rows that scroll out of the terminal could not be replaced.
    const limit = Math.max(1, rows - FreeRows)
    const shown = all.length <= limit ? all : all.slice(0, limit - 1)
    const lines = shown.map(barLine)
    if (shown.length < all.length) lines.push(totalLine(all, all.length - shown.length))
    // One column stays free: terminals differ in where the cursor is after the last one.
    return lines.map((line) => line.slice(0, Math.max(1, columns - 1)))
  }
}

function barLine({ name, done, total, note }: ProgressLine): string {
  const percent = percentOf(done, total ?? 0)
  const complete = Math.round((percent / 100) * BarWidth)
  const bar = '█'.repeat(complete).padEnd(BarWidth, '░')
  const share = total === undefined ? '' : ` ${String(percent).padStart(3)}% of ${formatSize(total)},`
  return `${nameColumn(name)} ${bar}${share} ${printable(note)}`
}

function nameColumn(name: string): string {
  const text = printable(name)
  return (text.length > NameWidth ? `…${text.slice(1 - NameWidth)}` : text).padEnd(NameWidth)
}
