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
import { BitsPost } from '../protocol/headers.ts'

/** V8 of Node 24 and later shares those classes, too. */
const isMended = !(Number.parseInt(process.versions.v8, 10) < 13)

/** A property that nothing else has. */
const Passing = Symbol('passing')

/** What becomes of the objects of one kind. */
class Shape {
  readonly #prototype: object
  /** What Express adds where nothing is: a property that is undefined, and enumerable, is all that can be seen of that. */
  readonly #added: (string | symbol)[]
  /** What is set over a value that the prototype has. */
  readonly #inherited: readonly string[]
  /** By its description: a symbol that Express' router has for itself, and that is known once it was seen. */
  readonly #sought: string | undefined
  /** Own properties of an object that was prepared; 0: they were not counted yet. */
  #count = 0

  constructor(
    { prototype }: { readonly prototype: object },
    { added, inherited, sought }: { added: string[]; inherited: string[]; sought?: string },
  ) {
    this.#prototype = prototype
    this.#added = added
    this.#inherited = inherited
    this.#sought = sought
  }

  /** Gives an object that Node has just made what it is to get later. */
  prepare(object: object): void {
    for (const name of this.#added) if (!(name in object)) Reflect.set(object, name, undefined)
    for (const name of this.#inherited) Reflect.set(object, name, Reflect.get(object, name))
    if (this.#count === 0) this.#count = Reflect.ownKeys(object).length
  }

  /** Gives it a hidden class that it shares with others, if it has one of its own. */
  share(object: object): void {
    if (Object.getPrototypeOf(object) === this.#prototype) return
    const keys = Reflect.ownKeys(object)
    if (keys.length === this.#count) return
    this.#learn(keys)
    Reflect.set(object, Passing, undefined)
    Reflect.deleteProperty(object, Passing)
  }

  #learn(keys: readonly (string | symbol)[]): void {
    if (this.#sought === undefined) return
    const found = keys.find((key) => typeof key === 'symbol' && key.description === this.#sought)
    if (found === undefined || this.#added.includes(found)) return
    this.#added.push(found)
    this.#count = 0
  }
}

const requests = new Shape(IncomingMessage, {
  added: ['res', 'next', 'baseUrl', 'originalUrl', '_parsedUrl', 'params'],
  inherited: ['_eventsCount'],
  sought: 'router.tracing.matchedRoute',
})
const responses = new Shape(ServerResponse, {
  added: ['locals'],
  inherited: ['statusCode', 'statusMessage'],
})

/** Published for every request, before anybody else sees it. */
function onRequestStart(message: unknown): void {
  const { request, response } = message as { request: IncomingMessage; response: ServerResponse }
  if (request.method !== BitsPost) return
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
