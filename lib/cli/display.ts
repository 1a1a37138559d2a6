import cliProgress, { type MultiBar, type SingleBar } from 'cli-progress'
import { formatSize, printable } from './format.ts'

/** Progress of one transfer. */
export interface ProgressLine {
  readonly name: string
  /** Bytes that were transferred. */
  readonly done: number
  /** Bytes of the file. */
  readonly total: number
  /** Rate or state. */
  readonly note: string
}

/**
 * Output of a command while it runs: permanent lines, and on a terminal a progress line for each active
 * transfer.
 */
export interface Display {
  /** Prints a permanent line. */
  line(text: string): void
  /** Shows or updates the progress line of a transfer. */
  show(id: string, progress: ProgressLine): void
  /** Removes the progress line of a transfer. */
  hide(id: string): void
  close(): void
}

/** A stream that is not a terminal gets only the permanent lines. */
export function openDisplay(stream: NodeJS.WriteStream): Display {
  return stream.isTTY ? new LiveDisplay(stream) : plainDisplay(stream)
}

const plainDisplay = (stream: NodeJS.WritableStream): Display => ({
  line: (text) => void stream.write(`${text}\n`),
  show() {},
  hide() {},
  close() {},
})

/** Columns of a name: a progress line then fits into 80 columns. */
const NameWidth = 20
/** Rows of the terminal that stay free for permanent lines and for the prompt. */
const FreeRows = 3

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
      // The command itself handles signals, and prints a summary first.
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
      // Lines that scroll out of the terminal would be drawn again and again.
      if (this.#shown.size >= Math.max(1, this.#stream.rows - FreeRows)) return
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
