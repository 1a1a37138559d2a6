/**
 * What {@link VerbReader} needs of the parser that Node's HTTP server gives to each connection: the same in Node 20, 22,
 * 24 and 26, and documented in none of them. So it is looked at before it is relied upon.
 */

import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'

/** A server as far as its parsers are made by it. */
export interface ParsingServer {
  readonly maxHeaderSize?: number
  readonly insecureHTTPParser?: boolean
  readonly httpValidation?: 'strict' | 'relaxed' | 'insecure'
}

/** A connection as Node's HTTP server leaves it when it has attached a parser. */
export interface ParsedSocket extends Duplex {
  readonly server: ParsingServer
  readonly parser?: Parser | null
}

/** How many bytes were read, or the error that stopped it, with that number. After an error it reads nothing more. */
export type Result = number | ParseError

export interface ParseError extends Error {
  readonly code: string
  bytesParsed: number
}

interface ParserClass {
  readonly prototype: Parser
  readonly REQUEST: number
  readonly kOnMessageBegin: number
  readonly kOnBody: number
  readonly kOnExecute: number
  readonly kLenientNone: number
  readonly kLenientAll: number
  readonly kLenientHeaderValueRelaxed?: number
}

/** Node keeps parsers that are free for the next connection, of a client as well. */
export interface Parser {
  readonly constructor: ParserClass
  /** The connection; null while the parser is free. */
  readonly socket: ParsedSocket | null
  /** Called with each request whose head is read, whoever is to get it. Node takes it off a parser that becomes free. */
  onIncoming: (request: IncomingMessage, keepAlive: boolean) => number
  /**
   * By the numbers in {@link ParserClass}: called when the first byte of a message is read, with each piece of a body,
   * and with what became of each chunk that the parser got from the system itself. Node takes the first and the last
   * off a parser that becomes free.
   */
  [callback: number]: ((argument: never) => unknown) | null | undefined
  initialize(
    type: number,
    resource: object,
    maxHeaderSize: number,
    leniency: number,
    connections: object | undefined,
  ): void
  /** Takes it out of the server's list of connections, by which the server finds those that take too long. */
  remove(): void
  /** Reads a chunk that comes by way of JavaScript. */
  execute(chunk: Uint8Array): Result
  /** Is told that no more will come. */
  finish(): ParseError | undefined
  /** A copy of the chunk that is being read; empty, if `execute` was called meanwhile. */
  getCurrentBuffer(): Uint8Array
}

const methods = ['initialize', 'remove', 'execute', 'finish', 'getCurrentBuffer', 'onIncoming'] as const
const numbers = [
  'REQUEST',
  'kOnMessageBegin',
  'kOnBody',
  'kOnExecute',
  'kLenientNone',
  'kLenientAll',
] as const

/** Whether this is a parser as we know it, at work for a server. */
export function isParser(value: unknown): value is Parser {
  const parser = value as Parser | null | undefined
  return (
    parser !== null &&
    typeof parser === 'object' &&
    methods.every((name) => typeof parser[name] === 'function') &&
    numbers.every((name) => typeof parser.constructor?.[name] === 'number') &&
    typeof parser[parser.constructor.kOnBody] === 'function' &&
    typeof parser[parser.constructor.kOnExecute] === 'function'
  )
}

/**
 * Makes a parser that has stopped at an error ready for a new message, by the settings that the server gave it. The
 * server's time limits begin anew with it.
 */
export function restart(parser: Parser): void {
  const socket = parser.socket as ParsedSocket
  const { server } = socket
  // Before its time of beginning changes, by which that list is sorted.
  parser.remove()
  parser.initialize(
    parser.constructor.REQUEST,
    { type: 'HTTPINCOMINGMESSAGE', socket },
    server.maxHeaderSize || 0,
    leniency(server, parser.constructor),
    connectionsOf(server),
  )
}

/** What Node makes of several options of the server and of the process. */
function leniency(server: ParsingServer, parsers: ParserClass): number {
  const { httpValidation, insecureHTTPParser = isProcessLenient() } = server
  if (httpValidation === 'strict') return parsers.kLenientNone
  if (httpValidation === 'relaxed') return parsers.kLenientHeaderValueRelaxed ?? parsers.kLenientNone
  return httpValidation === 'insecure' || insecureHTTPParser ? parsers.kLenientAll : parsers.kLenientNone
}

/** Known once it was asked for, for packets ask it often. */
let processLeniency: boolean | undefined

function isProcessLenient(): boolean {
  if (processLeniency === undefined) {
    const words = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)]
    processLeniency = words.some((word) => /^--insecure[-_]http[-_]parser$/.test(word))
  }
  return processLeniency
}

/** The name of Node's own list of a server's connections, once one was found. */
let listName: symbol | undefined

/** That list. A server that never listened has none. */
function connectionsOf(server: ParsingServer): object | undefined {
  listName ??= Object.getOwnPropertySymbols(server).find(
    ({ description }) => description === 'http.server.connections',
  )
  return listName && (server as Record<symbol, object | undefined>)[listName]
}
