/** A property that nothing else has. */
const Passing = Symbol('passing')

/** V8 of Node 24 and later shares those classes, too. */
const isMended = !(Number.parseInt(process.versions.v8, 10) < 13)

/**
 * Gives an object a hidden class that it shares with others, if it has one of its own.
 *
 * Express gives each request and response another prototype, and V8 before Node 24 then makes a hidden class of its own
 * for every object that gets a property after that: 'next', 'baseUrl', 'locals'. No inline cache knows that class, so
 * each look at such a request costs up to a microsecond, and a packet looks at its request and response, in our code and
 * Node's, some 60 times: a seventh of what a fragment of 64 KiB costs. When a property of such an object is deleted it becomes
 * a dictionary, whose class is shared and whose properties are found by their hash.
 *
 * A dictionary takes one to three kilobytes. The class that it replaces is about as large for a request; a response's
 * is better left alone until it is needed: thousands may wait for their fragment's end.
 *
 * @param type what the object was made by: one that has its prototype still has a class that is shared
 */
export function shareShape(object: object, type: { readonly prototype: object }): void {
  if (isMended || Object.getPrototypeOf(object) === type.prototype) return
  Reflect.set(object, Passing, undefined)
  Reflect.deleteProperty(object, Passing)
}
