import cliProgress, { type MultiBar, type SingleBar } from 'cli-progress'
import { formatSize, printable } from './format.ts'

/** Where a transfer stands. */
export interface ProgressLine {
  readonly name: string
  /** Bytes that have arrived. */
  readonly done: number
  /** Bytes in all. */
  readonly total: number
  /** How fast, or what it waits for. */
  readonly note: string
}

/** What a command tells while it runs: lines that stay, and on a terminal a line for each transfer that moves. */
export interface Display {
  /** A line that stays. */
  line(text: string): void
  /** How far a transfer is. */
  show(id: string, standing: ProgressLine): void
  /** Nothing moves under this id any more. */
  hide(id: string): void
  close(): void
}

/** What is no terminal gets the lines that stay, each as it comes. */
export function openDisplay(stream: NodeJS.WriteStream): Display {
  return stream.isTTY ? new LiveDisplay(stream) : plainDisplay(stream)
}

const plainDisplay = (stream: NodeJS.WritableStream): Display => ({
  line: (text) => void stream.write(`${text}\n`),
  show() {},
  hide() {},
  close() {},
})

/** Columns that a name may take: with the rest, a line fits into a terminal of 80. */
const NameWidth = 20
/** Lines that are left for what stays, and for the prompt. */
const LinesKept = 3

class LiveDisplay implements Display {
  readonly #stream: NodeJS.WriteStream
  readonly #bars: MultiBar
  readonly #shown = new Map<string, SingleBar>()

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream
    this.#bars = new cliProgress.MultiBar({
      stream,
      format: '{name} {bar} {percentage}% of {size}, {note}',
      barCompleteChar: '█',
      barIncompleteChar: '░',
      barsize: 16,
      autopadding: true,
      clearOnComplete: true,
      hideCursor: true,
      // Whoever is told to stop wants to say how it went first.
      gracefulExit: false,
      // An empty file is complete.
      emptyOnZero: false,
    })
  }

  line(text: string): void {
    this.#bars.log(`${text}\n`)
    this.#bars.update()
  }

  show(id: string, { name, done, total, note }: ProgressLine): void {
    let bar = this.#shown.get(id)
    if (!bar) {
      // More lines than the terminal has would scroll away and be drawn again, and again.
      if (this.#shown.size >= Math.max(1, this.#stream.rows - LinesKept)) return
      bar = this.#bars.create(total, 0, { name: nameOf(name), size: '', note: '' })
      this.#shown.set(id, bar)
    }
    bar.update(done, { name: nameOf(name), size: formatSize(total), note: printable(note) })
  }

  hide(id: string): void {
    const bar = this.#shown.get(id)
    if (!bar) return
    this.#shown.delete(id)
    bar.stop()
    this.#bars.remove(bar)
  }

  close(): void {
    for (const id of [...this.#shown.keys()]) this.hide(id)
    this.#bars.stop()
  }
}

function nameOf(name: string): string {
  const text = printable(name)
  return (text.length > NameWidth ? `…${text.slice(1 - NameWidth)}` : text).padEnd(NameWidth)
}
