/**
 * Lets the requests and responses of packets share their hidden classes under Express.
 *
 * Problem: Express sets another prototype on each request and response. V8 before version 13 then creates a
 * separate hidden class for every object that gets a property afterwards (`next`, `baseUrl`, `locals`). No
 * inline cache knows such a class, so each property access takes up to 1 µs, and Express, Node and this
 * package make some hundred accesses per request. Each of these classes takes 2 KB.
 *
 * Measured: one fifth of the processor time of a fragment of 64 KiB, and one third of the memory of an upload
 * whose client is silent.
 *
 * Solution: a packet's request and response get those properties before Express sees them, with the values
 * that they have without. Then no property is new, and all objects share one class. An object to which the
 * application adds other properties is switched to dictionary mode: dictionaries share one class, and their
 * properties are found by hash.
 *
 * Interface: `installHiddenClassFix` once per process, `normalizeRequest` and `normalizeResponse` for each
 * packet.
 *
 * Expiry: needed by Node 20 (V8 11.3) and Node 22 (V8 12.4); since V8 13, in Node 24, nothing here has an
 * effect. Delete this file and the calls of these three functions when Node 22 is no longer supported.
 */

import { subscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { http } from '../../builtins.ts'
import { isBitsPost } from '../request.ts'

/** V8 of Node 24 and later shares these classes itself. */
const isNeeded = Number.parseInt(process.versions.v8, 10) < 13

/** Adding and deleting this property switches an object to dictionary mode. */
const TemporaryKey = Symbol('temporary')

/**
 * Every 16th object is checked with `Reflect.ownKeys` (3 µs), the others with `Object.keys` (0.03 µs), which
 * lists neither symbols nor non-enumerable properties. After an object with extra properties every object is
 * checked until one has none.
 */
const SampleEvery = 16

/** The fix for the objects of one class. */
class HiddenClassFix<Kind extends object> {
  readonly #prototype: Kind
  readonly #predefine: (object: Kind) => void
  /** Description of a symbol property: each copy of the Express router has its own symbol. */
  readonly #symbolName: string | undefined
  readonly #symbols: symbol[] = []
  /** Own properties of a prepared object, with symbols and non-enumerable ones; 0: not counted yet. */
  #ownKeyCount = 0
  /** The ones of these that `Object.keys` lists. */
  #enumerableCount = 0
  /** Objects passed to `normalize`. */
  #normalized = 0
  /** Whether the last object that was checked with `Reflect.ownKeys` had extra properties. */
  #hadExtraProperties = true

  /**
   * @param predefine sets the properties that an object created by Node gets later. It names each property in
   * the code: names in variables take 2 µs more per packet, because V8 then calls its runtime
   */
  constructor(
    { prototype }: { readonly prototype: Kind },
    predefine: (object: Kind) => void,
    symbolName?: string,
  ) {
    this.#prototype = prototype
    this.#predefine = predefine
    this.#symbolName = symbolName
  }

  /** Sets the properties on an object that Node has just created. */
  prepare(object: Kind): void {
    try {
      this.#predefine(object)
      for (const symbol of this.#symbols) Reflect.set(object, symbol, undefined)
    } catch {
      // The application's own class may reject a property; its objects are only slower.
    }
    if (this.#ownKeyCount > 0) return
    this.#ownKeyCount = Reflect.ownKeys(object).length
    this.#enumerableCount = Object.keys(object).length
  }

  /** Switches an object with extra properties to dictionary mode, so that it shares its hidden class. */
  normalize(object: Kind): void {
    if (Object.getPrototypeOf(object) === this.#prototype) return
    this.#normalized += 1
    const checksAllKeys = this.#hadExtraProperties || this.#normalized % SampleEvery === 0
    if (!checksAllKeys && Object.keys(object).length === this.#enumerableCount) return
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

/**
 * Properties that Express adds to requests and responses, and that Node sets over a value of the prototype.
 */
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

// The only visible effect: a property that was missing is undefined and enumerable.

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
  http.IncomingMessage,
  predefineRequestProperties,
  'router.tracing.matchedRoute',
)
const responses = new HiddenClassFix(http.ServerResponse, predefineResponseProperties)

/** Node publishes this for every request before any listener runs. */
function onRequestStart(message: unknown): void {
  const { request, response } = message as { request: IncomingMessage; response: ServerResponse }
  if (!isBitsPost(request)) return
  requests.prepare(request)
  responses.prepare(response)
}

/** Starts to prepare the requests and responses of packets; call it once per process. */
export function installHiddenClassFix(): void {
  if (isNeeded) subscribe('http.server.request.start', onRequestStart)
}

/**
 * Call it when a packet arrives. Dictionary mode takes 1 to 3 KB; for a request the class that it replaces is
 * about as large.
 */
export function normalizeRequest(request: IncomingMessage): void {
  if (isNeeded) requests.normalize(request)
}

/**
 * Call it just before the Ack, not earlier: thousands of responses may wait for the end of their fragments.
 */
export function normalizeResponse(response: ServerResponse): void {
  if (isNeeded) responses.normalize(response)
}
