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
import { isBitsPost } from '../request.ts'

/** V8 of Node 24 and later shares those classes, too. */
const isFixedInV8 = !(Number.parseInt(process.versions.v8, 10) < 13)

/** A property that nothing else has. */
const TemporaryKey = Symbol('passing')

/**
 * Each so-manieth object is looked at closely, and all behind one that had more properties than it was given: all keys take three
 * microseconds, the names alone, which symbols and hidden properties are not among, a hundredth of that.
 */
const SampleEvery = 16

/** What becomes of the objects of one kind. */
class HiddenClassFix<Kind extends object> {
  readonly #prototype: Kind
  readonly #predefine: (object: Kind) => void
  /** By its description: a symbol that each copy of Express' router has for itself, and that is known once it was seen. */
  readonly #symbolName: string | undefined
  readonly #symbols: symbol[] = []
  /** Own properties of an object that was prepared: with symbols, and those that `Object.keys` lists; 0: not counted yet. */
  #ownKeyCount = 0
  #enumerableCount = 0
  /** Objects that were to share their class, and whether the last of them that was looked at closely had more properties. */
  #normalized = 0
  #hadExtraProperties = true

  /**
   * @param give gives an object that Node has just made what it is to get later. Each property by a name in the code: names
   * in variables cost two microseconds a packet more, for V8 then asks its runtime
   */
  constructor(kind: { readonly prototype: Kind }, give: (object: Kind) => void, sought?: string) {
    this.#prototype = kind.prototype
    this.#predefine = give
    this.#symbolName = sought
  }

  prepare(object: Kind): void {
    try {
      this.#predefine(object)
      for (const symbol of this.#symbols) Reflect.set(object, symbol, undefined)
    } catch {
      // A class of the application's own may not let itself be given anything; it is slower then.
    }
    if (this.#ownKeyCount > 0) return
    this.#ownKeyCount = Reflect.ownKeys(object).length
    this.#enumerableCount = Object.keys(object).length
  }

  /** Gives it a hidden class that it shares with others, if it has one of its own. */
  normalize(object: Kind): void {
    if (Object.getPrototypeOf(object) === this.#prototype) return
    this.#normalized += 1
    const isClose = this.#hadExtraProperties || this.#normalized % SampleEvery === 0
    if (!isClose && Object.keys(object).length === this.#enumerableCount) return
    const keys = Reflect.ownKeys(object)
    this.#hadExtraProperties = keys.length !== this.#ownKeyCount
    if (!this.#hadExtraProperties) return
    this.#addSymbols(keys)
    Reflect.set(object, TemporaryKey, undefined)
    Reflect.deleteProperty(object, TemporaryKey)
  }

  #addSymbols(keys: readonly (string | symbol)[]): void {
    if (this.#symbolName === undefined) return
    for (const key of keys) {
      if (typeof key !== 'symbol' || key.description !== this.#symbolName || this.#symbols.includes(key))
        continue
      this.#symbols.push(key)
      this.#ownKeyCount = 0
    }
  }
}

/** What Express gives to requests and responses, and what Node sets over a value that the prototype has. */
interface PredefinedProperties {
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

function predefineRequestProperties(request: IncomingMessage & PredefinedProperties): void {
  if (!('res' in request)) request.res = undefined
  if (!('next' in request)) request.next = undefined
  if (!('baseUrl' in request)) request.baseUrl = undefined
  if (!('originalUrl' in request)) request.originalUrl = undefined
  if (!('_parsedUrl' in request)) request._parsedUrl = undefined
  if (!('params' in request)) request.params = undefined
  const { _eventsCount } = request
  request._eventsCount = _eventsCount
}

function predefineResponseProperties(response: ServerResponse & PredefinedProperties): void {
  if (!('locals' in response)) response.locals = undefined
  const { statusCode, statusMessage } = response
  response.statusCode = statusCode
  response.statusMessage = statusMessage
}

const requests = new HiddenClassFix(
  IncomingMessage,
  predefineRequestProperties,
  'router.tracing.matchedRoute',
)
const responses = new HiddenClassFix(ServerResponse, predefineResponseProperties)

/** Published for every request, before anybody else sees it. */
function onRequestStart(message: unknown): void {
  const { request, response } = message as { request: IncomingMessage; response: ServerResponse }
  if (!isBitsPost(request)) return
  requests.prepare(request)
  responses.prepare(response)
}

/** Has the requests of packets share their hidden classes from now on, and their responses; once for a process. */
export function installHiddenClassFix(): void {
  if (!isFixedInV8) subscribe('http.server.request.start', onRequestStart)
}

/**
 * A dictionary takes one to three kilobytes. The class that it replaces is about as large for a request; a response's
 * is better left alone until it is needed: thousands may wait for their fragment's end.
 */
export function normalizeRequest(request: IncomingMessage): void {
  if (!isFixedInV8) requests.normalize(request)
}

export function normalizeResponse(response: ServerResponse): void {
  if (!isFixedInV8) responses.normalize(response)
}
