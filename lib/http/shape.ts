/**
 * Hidden classes of requests and responses.
 *
 * Express gives each request and response another prototype, and V8 before Node 24 then makes a hidden class of its own
 * for every object that gets a property after that: 'next', 'baseUrl', 'locals'. No inline cache knows that class, so
 * each look at such a request costs up to a microsecond, and Express, Node and we look at it some hundred times: a fifth of
 * what a fragment of 64 KiB costs. The classes themselves are 2 KB.
 *
 * So a packet's request and response get those properties before, with the values that they have without: then no
 * property is new, and all of them share one class. If an application adds others, the object is made a dictionary, whose
 * class is shared and whose properties are found by their hash.
 */

import { subscribe } from 'node:diagnostics_channel'
import { IncomingMessage, ServerResponse } from 'node:http'
import { isBitsPost } from './request.ts'

/** V8 of Node 24 and later shares those classes, too. */
const isMended = !(Number.parseInt(process.versions.v8, 10) < 13)

/** A property that nothing else has. */
const Passing = Symbol('passing')

/**
 * Each so-manieth object is looked at closely, and all behind one that had more properties than it was given: all keys take three
 * microseconds, the names alone, which symbols and hidden properties are not among, a hundredth of that.
 */
const Closely = 16

/** What becomes of the objects of one kind. */
class Shape<Kind extends object> {
  readonly #prototype: Kind
  readonly #give: (object: Kind) => void
  /** By its description: a symbol that each copy of Express' router has for itself, and that is known once it was seen. */
  readonly #sought: string | undefined
  readonly #found: symbol[] = []
  /** Own properties of an object that was prepared: with symbols, and those that `Object.keys` lists; 0: not counted yet. */
  #count = 0
  #listed = 0
  /** Objects that were to share their class, and whether the last of them that was looked at closely had more properties. */
  #shared = 0
  #hadMore = true

  /**
   * @param give gives an object that Node has just made what it is to get later. Each property by a name in the code: names
   * in variables cost two microseconds a packet more, for V8 then asks its runtime
   */
  constructor(kind: { readonly prototype: Kind }, give: (object: Kind) => void, sought?: string) {
    this.#prototype = kind.prototype
    this.#give = give
    this.#sought = sought
  }

  prepare(object: Kind): void {
    try {
      this.#give(object)
      for (const symbol of this.#found) Reflect.set(object, symbol, undefined)
    } catch {
      // A class of the application's own may not let itself be given anything; it is slower then.
    }
    if (this.#count > 0) return
    this.#count = Reflect.ownKeys(object).length
    this.#listed = Object.keys(object).length
  }

  /** Gives it a hidden class that it shares with others, if it has one of its own. */
  share(object: Kind): void {
    if (Object.getPrototypeOf(object) === this.#prototype) return
    this.#shared += 1
    const isClose = this.#hadMore || this.#shared % Closely === 0
    if (!isClose && Object.keys(object).length === this.#listed) return
    const keys = Reflect.ownKeys(object)
    this.#hadMore = keys.length !== this.#count
    if (!this.#hadMore) return
    this.#learn(keys)
    Reflect.set(object, Passing, undefined)
    Reflect.deleteProperty(object, Passing)
  }

  #learn(keys: readonly (string | symbol)[]): void {
    if (this.#sought === undefined) return
    for (const key of keys) {
      if (typeof key !== 'symbol' || key.description !== this.#sought || this.#found.includes(key)) continue
      this.#found.push(key)
      this.#count = 0
    }
  }
}

/** What Express gives to requests and responses, and what Node sets over a value that the prototype has. */
interface Prepared {
  res?: undefined
  next?: undefined
  baseUrl?: undefined
  originalUrl?: undefined
  _parsedUrl?: undefined
  params?: undefined
  locals?: undefined
  _eventsCount?: unknown
}

// Where nothing is: a property that is undefined, and enumerable, is all that can be seen of that.

function giveToRequest(request: IncomingMessage & Prepared): void {
  if (!('res' in request)) request.res = undefined
  if (!('next' in request)) request.next = undefined
  if (!('baseUrl' in request)) request.baseUrl = undefined
  if (!('originalUrl' in request)) request.originalUrl = undefined
  if (!('_parsedUrl' in request)) request._parsedUrl = undefined
  if (!('params' in request)) request.params = undefined
  const { _eventsCount } = request
  request._eventsCount = _eventsCount
}

function giveToResponse(response: ServerResponse & Prepared): void {
  if (!('locals' in response)) response.locals = undefined
  const { statusCode, statusMessage } = response
  response.statusCode = statusCode
  response.statusMessage = statusMessage
}

const requests = new Shape(IncomingMessage, giveToRequest, 'router.tracing.matchedRoute')
const responses = new Shape(ServerResponse, giveToResponse)

/** Published for every request, before anybody else sees it. */
function onRequestStart(message: unknown): void {
  const { request, response } = message as { request: IncomingMessage; response: ServerResponse }
  if (!isBitsPost(request)) return
  requests.prepare(request)
  responses.prepare(response)
}

/** Has the requests of packets share their hidden classes from now on, and their responses; once for a process. */
export function keepShapes(): void {
  if (!isMended) subscribe('http.server.request.start', onRequestStart)
}

/**
 * A dictionary takes one to three kilobytes. The class that it replaces is about as large for a request; a response's
 * is better left alone until it is needed: thousands may wait for their fragment's end.
 */
export function shareRequestShape(request: IncomingMessage): void {
  if (!isMended) requests.share(request)
}

export function shareResponseShape(response: ServerResponse): void {
  if (!isMended) responses.share(response)
}
