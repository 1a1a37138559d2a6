/**
 * The parts of Node's HTTP parser that `MethodTranslator` uses. They are the same in Node 20, 22, 24 and 26,
 * but not documented. So {@link isParser} checks each parser before it is used.
 */

import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'

/** The options of a server from which Node creates its parsers. */
export interface ParsingServer {
  readonly maxHeaderSize?: number
  readonly insecureHTTPParser?: boolean
  readonly httpValidation?: 'strict' | 'relaxed' | 'insecure'
}

/** A connection to which Node's HTTP server has attached a parser. */
export interface ParsedSocket extends Duplex {
  readonly server: ParsingServer
  readonly parser?: Parser | null
}

/** The number of bytes read, or the error, with that number, after which the parser reads no more. */
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

/** Node keeps unused parsers in a pool for later connections, including those of clients. */
export interface Parser {
  readonly constructor: ParserClass
  /** The connection; null while the parser is in the pool. */
  readonly socket: ParsedSocket | null
  /** Called with each request whose head was read. Node removes it when the parser returns to the pool. */
  onIncoming: (request: IncomingMessage, keepAlive: boolean) => number
  /**
   * Callbacks by the numbers in {@link ParserClass}. `kOnMessageBegin` is called when the first byte of a
   * message was read, `kOnBody` with each piece of a body, `kOnExecute` with the result for each chunk that
   * was read natively. Node removes the first and the last when the parser returns to the pool.
   */
  [callback: number]: ((argument: never) => unknown) | null | undefined
  initialize(
    type: number,
    resource: object,
    maxHeaderSize: number,
    leniency: number,
    connections: object | undefined,
  ): void
  /** Removes the parser from the server's list of connections, in which it finds exceeded time limits. */
  remove(): void
  /** Reads a chunk that is passed from JavaScript. */
  execute(chunk: Uint8Array): Result
  /** Reports the end of the connection to the parser. */
  finish(): ParseError | undefined
  /** A copy of the chunk that is being read natively; empty if `execute` was called meanwhile. */
  getCurrentBuffer(): Uint8Array
}

const methodNames = ['initialize', 'remove', 'execute', 'finish', 'getCurrentBuffer', 'onIncoming'] as const
const numberNames = [
  'REQUEST',
  'kOnMessageBegin',
  'kOnBody',
  'kOnExecute',
  'kLenientNone',
  'kLenientAll',
] as const

/** Whether this is a parser of the known form that reads a server's connection. */
export function isParser(value: unknown): value is Parser {
  const parser = value as Parser | null | undefined
  return (
    parser !== null &&
    typeof parser === 'object' &&
    methodNames.every((name) => typeof parser[name] === 'function') &&
    numberNames.every((name) => typeof parser.constructor?.[name] === 'number') &&
    typeof parser[parser.constructor.kOnBody] === 'function' &&
    typeof parser[parser.constructor.kOnExecute] === 'function'
  )
}

/**
 * Initializes a parser that has stopped at an error for a new message, with the settings of its server. The
 * time limits of the server start again.
 */
export function restart(parser: Parser): void {
  const socket = parser.socket as ParsedSocket
  const { server } = socket
  // First, because the list is sorted by the start time, which `initialize` changes.
  parser.remove()
  parser.initialize(
    parser.constructor.REQUEST,
    { type: 'HTTPINCOMINGMESSAGE', socket },
    server.maxHeaderSize || 0,
    leniency(server, parser.constructor),
    connectionsOf(server),
  )
}

/** The leniency that Node derives from several options of the server and the process. */
function leniency(server: ParsingServer, constants: ParserClass): number {
  const { httpValidation, insecureHTTPParser = isProcessLenient() } = server
  if (httpValidation === 'strict') return constants.kLenientNone
  if (httpValidation === 'relaxed') return constants.kLenientHeaderValueRelaxed ?? constants.kLenientNone
  return httpValidation === 'insecure' || insecureHTTPParser ? constants.kLenientAll : constants.kLenientNone
}

/** Computed at the first use and cached, because every packet needs it. */
let processLeniency: boolean | undefined

function isProcessLenient(): boolean {
  if (processLeniency === undefined) {
    const args = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)]
    processLeniency = args.some((arg) => /^--insecure[-_]http[-_]parser$/.test(arg))
  }
  return processLeniency
}

/** The key of Node's list of connections in a server, after it was found once. */
let connectionsKey: symbol | undefined

/** Node's list of the server's connections. A server that never listened has none. */
function connectionsOf(server: ParsingServer): object | undefined {
  connectionsKey ??= Object.getOwnPropertySymbols(server).find(
    ({ description }) => description === 'http.server.connections',
  )
  return connectionsKey && (server as Record<symbol, object | undefined>)[connectionsKey]
}
