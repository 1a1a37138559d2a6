/**
 * Makes Node's HTTP servers accept the method `BITS_POST`.
 *
 * Problem: Node's parser knows a fixed list of methods. At any other method it stops with an error, which
 * Node answers with 400 before any listener runs.
 *
 * Technique: the parser is allowed to fail, and is then restarted. When the parser of a connection has
 * stopped at `BITS_POST `, it is initialized again, gets a method that it knows in place of `BITS_POST`, and
 * then the rest of the same chunk.
 *
 *     BITS_POST /path HTTP/1.1        what the client sent: the parser stops at T, because it knows BIND
 *     BIND      /path HTTP/1.1        what the parser gets then: same length; it skips spaces before the URL
 *
 * The request gets its original method before Node or any listener sees it. `method-translator.ts` decides,
 * `parser-hooks.ts` attaches it to the parser, `node-parser.ts` lists which parts of Node's parser are used.
 *
 * Why it is safe: no byte of a connection is changed or held back. The translator acts only where the parser
 * itself has refused a method, and that method is known to be `BITS_POST`. While only a part of the method
 * has arrived, the parser gets none of it, so that no other method can result. Every other error is passed on
 * unchanged.
 *
 * Why it is fast: Node passes the bytes of a connection to its parser natively as long as there is no 'data'
 * listener. The first version looked at each chunk before the parser. That took every connection off the
 * native path, and added a Buffer, an event and two more listeners per chunk: 12 to 20 % of the processor
 * time of the smallest GET, 30 to 50 % of bodies, for traffic that is not BITS. With this technique a chunk
 * takes one function call that looks at a number, and a message two calls: 0.2 µs of the 20 µs of the
 * smallest request. A BITS_POST takes 6 µs more than in the first version, for the error and the restart, but
 * its body stays on the native path too, which saves far more. Only the chunk that contains the method is
 * copied.
 */

import { subscribe } from 'node:diagnostics_channel'
import type { Server as HttpServer } from 'node:http'
import type { Http2SecureServer } from 'node:http2'
import type { Server as HttpsServer } from 'node:https'
import type { Duplex } from 'node:stream'
import type { Server as TlsServer } from 'node:tls'
import { http, https, tls } from '../../builtins.ts'
import { installHiddenClassFix } from '../node-tuning/hidden-classes.ts'
import { isParser } from './node-parser.ts'
import { hookParser } from './parser-hooks.ts'

/** A server of Node that serves HTTP/1; a secure HTTP/2 server does so if it was created with `allowHTTP1: true`. */
export type Http1Server = HttpServer | HttpsServer | Http2SecureServer

const instrumented = new WeakSet<Http1Server>()
let isEverywhere = false
let hasWarned = false

function isHttp1Server(server: unknown): server is Http1Server {
  if (server instanceof http.Server) return true
  // Secure HTTP/2 servers may support HTTP/1 as well. Their class is not exported; only they have this
  // method.
  return isSecureServer(server) && (server instanceof https().Server || 'updateSettings' in server)
}

/** Only servers of `node:tls` have this method. Another server must not load `node:tls`. */
const isSecureServer = (server: unknown): server is TlsServer =>
  typeof (server as Partial<TlsServer> | undefined)?.setSecureContext === 'function' &&
  server instanceof tls().Server

/** Hooks the parser that an HTTP/1 server has just attached to a connection. */
function onConnection(socket: Duplex & { readonly parser?: unknown }): void {
  if (isParser(socket.parser)) hookParser(socket.parser)
  // HTTP/2 connections have neither a parser nor a 'data' listener.
  else if (socket.listenerCount('data') > 0) warnOnce()
}

function warnOnce(): void {
  if (hasWarned) return
  hasWarned = true
  process.emitWarning(
    'BITS_POST is answered with 400 on some connections: their HTTP parser is not a known parser of Node',
    { code: 'BITS_POST_REFUSED', detail: `Node ${process.version}` },
  )
}

/** Hooks the parser of every later connection of one server. */
function instrumentServer(server: Http1Server): void {
  if (instrumented.has(server)) return
  instrumented.add(server)
  // The server's own listener for this event, which attaches the parser, was added when the server was
  // created.
  server.on(isSecureServer(server) ? 'secureConnection' : 'connection', onConnection)
}

/** Node publishes this for every accepted connection, directly after the server's 'connection' event. */
function onServerSocket(message: unknown): void {
  const { socket } = message as { socket: Duplex & { server?: unknown } }
  if (!isHttp1Server(socket.server)) return
  if (isSecureServer(socket.server)) instrumentServer(socket.server)
  else onConnection(socket)
}

/**
 * Makes one server accept the method `BITS_POST` on all later connections. Only servers that get their
 * connections by `server.emit('connection', socket)` need it; for a server that already accepts `BITS_POST`
 * it changes nothing.
 *
 * @param server an `http.Server`, an `https.Server`, or a secure HTTP/2 server created with `allowHTTP1`
 * @throws {TypeError} for any other value
 */
export function acceptBitsPost(server: Http1Server): void {
  if (!isHttp1Server(server)) {
    throw new TypeError('acceptBitsPost: expected an http.Server, https.Server or http2.Http2SecureServer')
  }
  instrumentServer(server)
}

/**
 * Makes every HTTP server of this process accept the method `BITS_POST` on all later connections. Further
 * calls change nothing. It cannot be undone.
 */
export function acceptBitsPostEverywhere(): void {
  if (isEverywhere) return
  isEverywhere = true
  subscribe('net.server.socket', onServerSocket)
  installHiddenClassFix()
}
