/** The head of a response. */
export interface Response {
  readonly status: number
  /** The value of a header field; undefined if the response has no such field. */
  field(name: string): string | undefined
}

/**
 * Parses the responses of one connection. Supports only responses with a Content-Length or without a body.
 */
export class ResponseParser {
  #text = ''
  /** Bytes of the current body that have not arrived. */
  #bodyBytes = 0

  /** @returns the responses whose heads are complete with these bytes */
  push(chunk: Buffer): Response[] {
    const responses: Response[] = []
    this.#text += chunk.toString('latin1')
    for (;;) {
      const skipped = Math.min(this.#bodyBytes, this.#text.length)
      this.#text = this.#text.slice(skipped)
      this.#bodyBytes -= skipped
      const end = this.#bodyBytes === 0 ? this.#text.indexOf('\r\n\r\n') : -1
      if (end === -1) return responses
      const head = this.#text.slice(0, end + 2)
      this.#text = this.#text.slice(end + 4)
      const response = parseHead(head)
      this.#bodyBytes = Number(response.field('content-length') ?? 0)
      responses.push(response)
    }
  }
}

function parseHead(head: string): Response {
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
