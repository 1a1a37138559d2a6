import { closestMatch } from 'leven'

/** The longest delay that Node's timers know, in milliseconds. */
export const MaxTimerMs = 2 ** 31 - 1

/**
 * Checks that an object has no other keys than those known: a misspelt option that is silently ignored is a limit that
 * is not there.
 * @throws {TypeError} that names the key, and the nearest known one
 */
export function assertKnownKeys(where: string, kind: string, given: object, known: readonly string[]): void {
  for (const key of Object.keys(given)) {
    if (known.includes(key)) continue
    const lower = known.map((name) => name.toLowerCase())
    const nearest = closestMatch(key.toLowerCase(), lower, { maxDistance: 4 })
    const meant = nearest === undefined ? undefined : known[lower.indexOf(nearest)]
    const hint = meant ? `did you mean '${meant}'?` : `the ${kind}s are ${known.join(', ')}`
    throw new TypeError(`${where}: there is no ${kind} '${key}'; ${hint}`)
  }
}

/** Whether a value is an object with named members, and not a list, a date or the like. */
export const isPlainObject = (value: unknown): value is Record<string, unknown> => {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
