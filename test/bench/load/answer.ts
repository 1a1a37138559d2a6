/** The head of an answer. */
export interface Answer {
  readonly status: number
  /** A header field; undefined if it is not there. */
  field(name: string): string | undefined
}

/** Takes answers out of what a server sends; only what has a Content-Length, or no body, is understood. */
export class Answers {
  #text = ''
  /** Bytes of a body that are still to come. */
  #skip = 0

  /** The answers that are whole with these bytes. */
  push(chunk: Buffer): Answer[] {
    const answers: Answer[] = []
    this.#text += chunk.toString('latin1')
    for (;;) {
      const skipped = Math.min(this.#skip, this.#text.length)
      this.#text = this.#text.slice(skipped)
      this.#skip -= skipped
      const end = this.#skip === 0 ? this.#text.indexOf('\r\n\r\n') : -1
      if (end === -1) return answers
      const head = this.#text.slice(0, end + 2)
      this.#text = this.#text.slice(end + 4)
      const answer = readHead(head)
      this.#skip = Number(answer.field('content-length') ?? 0)
      answers.push(answer)
    }
  }
}

function readHead(head: string): Answer {
  const lower = head.toLowerCase()
  return {
    status: Number(head.slice(9, 12)),
    field(name) {
      const at = lower.indexOf(`\n${name.toLowerCase()}:`)
      if (at === -1) return undefined
      const begin = at + name.length + 2
      return head.slice(begin, head.indexOf('\r', begin)).trim()
    },
  }
}
