import type { Response } from '../response.ts'

/** A request: its head with the empty line, and its body. */
export interface Exchange {
  readonly head: string
  readonly body?: { readonly length: number; read(first: number, length: number): Buffer[] }
}

/** A file to be sent in fragments. */
export interface File {
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** Bytes of each fragment except perhaps the last. */
  readonly fragment: number
  /** @returns a range of the contents, in pieces */
  read(first: number, length: number): Buffer[]
}

/**
 * The requests with which a server expects a file, each created after the response to the one before. Throws
 * for an unexpected response.
 */
export type Protocol = (file: File) => Generator<Exchange, void, Response>

/** The fragments of a file: first byte, last byte, and body. */
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

/** @throws if the response is not the expected one: a server must not look fast because it failed */
export function expectResponse(
  response: Response,
  status: number,
  name?: string,
  value?: string | number,
): void {
  if (response.status !== status) throw new Error(`The status was ${response.status}, not ${status}`)
  if (name !== undefined && response.field(name) !== String(value)) {
    throw new Error(`${name} was ${response.field(name)}, not ${value}`)
  }
}
