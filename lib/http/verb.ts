/**
 * Makes Node's HTTP servers accept the method `BITS_POST`.
 *
 * Node's parser knows a fixed list of methods and answers 400 to all others before any listener runs. So the verb is
 * spelled over, in place, as one that the parser knows, and `request.method` gets its own name back before anybody
 * else sees the request:
 *
 *     BITS_POST /path HTTP/1.1        what the client sent
 *     BIND      /path HTTP/1.1        what Node's parser reads: same length, and it skips spaces before the URL
 *
 * This is done in the Buffer of the socket's 'data' event, by a listener in front of the HTTP server's own. (Asking
 * for 'data' makes Node hand the bytes to JavaScript; otherwise it parses them natively.) Each byte is decided when
 * it is seen: nothing is held back or copied, and in every other respect the socket stays Node's.
 *
 * A byte is changed only where a message begins; `conversation.ts` knows where that is.
 *
 * One gap: a BITS_POST that asks for an upgrade, and gets it, is announced as `BIND`. Node tells nobody in time.
 */

import { type ChannelListener, subscribe } from 'node:diagnostics_channel'
import { Server as HttpServer, type IncomingMessage } from 'node:http'
import type { Http2SecureServer } from 'node:http2'
import { Server as HttpsServer } from 'node:https'
import type { Duplex } from 'node:stream'
import { Server as TlsServer } from 'node:tls'
import { Conversation } from './conversation.ts'

type Http1Server = HttpServer | HttpsServer | Http2SecureServer

const conversations = new WeakMap<Duplex, Conversation>()
const watched = new WeakSet<Http1Server>()
const subscribed = new Set<string>()

function isHttp1Server(server: unknown): server is Http1Server {
  if (server instanceof HttpServer || server instanceof HttpsServer) return true
  // The class of secure HTTP/2 servers, which may speak HTTP/1 as well, is not exported; this method is theirs alone.
  return server instanceof TlsServer && 'updateSettings' in server
}

/** Follows a connection to which an HTTP/1 server has just attached its parser. */
function follow(socket: Duplex): void {
  // On a new connection the HTTP server is the first to listen. For HTTP/2 it does not listen for 'data' at all.
  const parse = socket.listeners('data')[0]
  if (!parse || conversations.has(socket)) return

  const conversation = new Conversation()
  const before = (chunk: Buffer) => conversation.before(chunk)
  const after = () => conversation.after()
  // After an upgrade or CONNECT the bytes are no longer HTTP: the HTTP server leaves the socket, and so do we.
  const leave = (event: string | symbol, listener: unknown) => {
    if (event !== 'data' || listener !== parse) return
    socket.off('data', before).off('data', after).off('removeListener', leave)
    conversations.delete(socket)
  }
  conversations.set(socket, conversation)
  socket.prependListener('data', before).on('data', after).on('removeListener', leave)
}

/** Follows every later connection of one server. */
function watch(server: Http1Server): void {
  if (watched.has(server)) return
  watched.add(server)
  // The server's own listener for this event, which attaches the parser, was added when the server was made.
  server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', follow)
}

/** Published before any listener of the server sees the request. */
function onRequestStart(message: unknown): void {
  const { request, socket } = message as { request: IncomingMessage; socket: Duplex }
  conversations.get(socket)?.announced(request)
}

/** Published for every accepted connection, right after the server's 'connection' event. */
function onServerSocket(message: unknown): void {
  const { socket } = message as { socket: Duplex & { server?: unknown } }
  if (!isHttp1Server(socket.server)) return
  if (socket.server instanceof TlsServer) watch(socket.server)
  else follow(socket)
}

function subscribeOnce(channel: string, listener: ChannelListener): void {
  if (subscribed.has(channel)) return
  subscribed.add(channel)
  subscribe(channel, listener)
}

/**
 * Makes one server accept the method `BITS_POST` on all connections that it gets from now on. Needed only for servers
 * that get them by `server.emit('connection', socket)`; for a server that is already covered it changes nothing.
 *
 * A home-made socket must not push a Buffer that it wants to use again: the verb is changed in that very Buffer.
 *
 * @param server an `http.Server`, an `https.Server`, or a secure HTTP/2 server made with `allowHTTP1`
 * @throws TypeError if it is none of these
 */
export function acceptBitsPost(server: Http1Server): void {
  if (!isHttp1Server(server)) {
    throw new TypeError('acceptBitsPost: expected an http.Server, https.Server or http2.Http2SecureServer')
  }
  subscribeOnce('http.server.request.start', onRequestStart)
  watch(server)
}

/**
 * Makes every HTTP server of this process accept the method `BITS_POST` on all connections that it accepts from now
 * on. Calling it again changes nothing; there is no way back.
 */
export function acceptBitsPostEverywhere(): void {
  subscribeOnce('http.server.request.start', onRequestStart)
  subscribeOnce('net.server.socket', onServerSocket)
}
