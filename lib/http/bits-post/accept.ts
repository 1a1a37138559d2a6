/**
 * Makes Node's HTTP servers accept the method `BITS_POST`.
 *
 * Node's parser knows a fixed list of methods. At any other it stops with an error, which Node answers by 400 before any
 * listener runs. So it is let fail, and then mended: when the parser of a connection has stopped at `BITS_POST `, it is
 * started anew, is given a method that it knows in place of the verb, and the rest of the very chunk behind that.
 *
 *     BITS_POST /path HTTP/1.1        what the client sent: the parser stops at T, for it knows BIND
 *     BIND      /path HTTP/1.1        what it is given then: same length, and it skips spaces before the URL
 *
 * The request gets its own name back before Node, or anybody, sees it. `verb-reader.ts` decides, `follow.ts` puts it
 * beside the parser, `parser.ts` says which parts of Node's parser are used.
 *
 * Why it is safe: no byte of a connection is changed or held back. Only where the parser itself has refused a method,
 * and that method is known to be `BITS_POST`, does anything happen at all; of a verb that has come in part nothing is
 * given to the parser, so that no other method can come of it. Every other error is passed on as it is.
 *
 * Why it is done so: Node hands a connection's bytes to its parser natively, as long as nobody listens for 'data'. To
 * look at each chunk before the parser, as we did at first, takes all connections off that path, for a Buffer, an event
 * and two more listeners a chunk: 12 to 20 % of the processor time of the smallest GET, 30 to 50 % of bodies, for traffic
 * that has nothing to do with BITS. This way a chunk costs the call of one function that looks at a number, and a message
 * two calls: 0.2 microseconds of the 20 that the smallest request takes. A BITS_POST costs 6 microseconds more than by the
 * other way, for the error and the fresh start; but its body stays on the native path, too, which saves far more. Only the
 * chunk with the verb in it is copied.
 */

import { subscribe } from 'node:diagnostics_channel'
import { Server as HttpServer } from 'node:http'
import type { Http2SecureServer } from 'node:http2'
import { Server as HttpsServer } from 'node:https'
import type { Duplex } from 'node:stream'
import { Server as TlsServer } from 'node:tls'
import { installHiddenClassFix } from '../node-tuning/hidden-classes.ts'
import { isParser } from './node-parser.ts'
import { hookParser } from './parser-hooks.ts'

type Http1Server = HttpServer | HttpsServer | Http2SecureServer

const instrumented = new WeakSet<Http1Server>()
let isEverywhere = false
let hasWarned = false

function isHttp1Server(server: unknown): server is Http1Server {
  if (server instanceof HttpServer || server instanceof HttpsServer) return true
  // The class of secure HTTP/2 servers, which may speak HTTP/1 as well, is not exported; this method is theirs alone.
  return server instanceof TlsServer && 'updateSettings' in server
}

/** Follows a connection to which an HTTP/1 server has just attached its parser. */
function onConnection(socket: Duplex & { readonly parser?: unknown }): void {
  if (isParser(socket.parser)) hookParser(socket.parser)
  // Those of HTTP/2 have no parser, and no listener for their bytes.
  else if (socket.listenerCount('data') > 0) warnOnce()
}

function warnOnce(): void {
  if (hasWarned) return
  hasWarned = true
  process.emitWarning(
    `BITS_POST is answered 400 on some connections: their HTTP parser is not one of those known of Node`,
    { code: 'BITS_POST_REFUSED', detail: `Node ${process.version}` },
  )
}

/** Follows every later connection of one server. */
function instrumentServer(server: Http1Server): void {
  if (instrumented.has(server)) return
  instrumented.add(server)
  // The server's own listener for this event, which attaches the parser, was added when the server was made.
  server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', onConnection)
}

/** Published for every accepted connection, right after the server's 'connection' event. */
function onServerSocket(message: unknown): void {
  const { socket } = message as { socket: Duplex & { server?: unknown } }
  if (!isHttp1Server(socket.server)) return
  if (socket.server instanceof TlsServer) instrumentServer(socket.server)
  else onConnection(socket)
}

/**
 * Makes one server accept the method `BITS_POST` on all connections that it gets from now on. Needed only for servers
 * that get them by `server.emit('connection', socket)`; for a server that is already covered it changes nothing.
 *
 * @param server an `http.Server`, an `https.Server`, or a secure HTTP/2 server made with `allowHTTP1`
 * @throws TypeError if it is none of these
 */
export function acceptBitsPost(server: Http1Server): void {
  if (!isHttp1Server(server)) {
    throw new TypeError('acceptBitsPost: expected an http.Server, https.Server or http2.Http2SecureServer')
  }
  instrumentServer(server)
}

/**
 * Makes every HTTP server of this process accept the method `BITS_POST` on all connections that it accepts from now
 * on. Calling it again changes nothing; there is no way back.
 */
export function acceptBitsPostEverywhere(): void {
  if (isEverywhere) return
  isEverywhere = true
  subscribe('net.server.socket', onServerSocket)
  installHiddenClassFix()
}
