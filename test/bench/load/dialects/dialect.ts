import type { Answer } from '../answer.ts'

/** A request: its head, with the empty line, and its body. */
export interface Exchange {
  readonly head: string
  readonly body?: { readonly length: number; read(first: number, length: number): Buffer[] }
}

/** A file to be sent, in fragments. */
export interface File {
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** Bytes of each fragment but perhaps the last. */
  readonly fragment: number
  /** What stands there, in pieces. */
  read(first: number, length: number): Buffer[]
}

/** How a server wants a file: requests, each made when the one before was answered. Throws at an answer that is wrong. */
export type Dialect = (file: File) => Generator<Exchange, void, Answer>

/** The fragments of a file: the first byte of each, and its body. */
export function* fragmentsOf(
  file: File,
): Generator<{ first: number; last: number; body: NonNullable<Exchange['body']> }> {
  for (let first = 0; first < file.size; first += file.fragment) {
    const length = Math.min(file.fragment, file.size - first)
    const body = { length, read: (at: number, count: number) => file.read(first + at, count) }
    yield { first, last: first + length - 1, body }
  }
}

export function head(line: string, fields: Readonly<Record<string, string | number>>): string {
  let text = `${line} HTTP/1.1\r\nHost: 127.0.0.1\r\n`
  for (const name in fields) text += `${name}: ${fields[name]}\r\n`
  return `${text}\r\n`
}

/** @throws if a server did not do what it was to do: it shall not win by that */
export function expectAnswer(answer: Answer, status: number, name?: string, value?: string | number): void {
  if (answer.status !== status) throw new Error(`The answer was ${answer.status}, not ${status}`)
  if (name !== undefined && answer.field(name) !== String(value)) {
    throw new Error(`${name} was ${answer.field(name)}, not ${value}`)
  }
}
