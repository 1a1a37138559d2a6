import bytes from 'bytes'
import { closestMatch } from 'leven'

// Checks of options that server, client, stores and command line share. Each check returns the checked value,
// or throws a TypeError that names the function (`where`), the option and the values that it takes.

/**
 * A number of bytes, or a string such as `'500kb'`, `'10gb'` or `'1.5tb'`: a number with a unit from `b` to `pb`, in any case.
 * Units are powers of 1024. From 1 byte to 2^53 - 1.
 */
export type Size = number | string

export const DayMs = 24 * 60 * 60 * 1000

/** The longest delay that Node's timers support, in milliseconds. */
const MaxTimerMs = 2 ** 31 - 1

/** `uploadFile: option 'job' takes a path, not ''` */
export function optionError(where: string, name: string, expected: string, value: unknown): TypeError {
  return new TypeError(`${where}: option '${name}' takes ${expected}, not ${quoteText(value)}`)
}

/**
 * Checks that an object has only known keys: a misspelt limit that is silently ignored is no limit.
 * @param kind what the keys are, in the singular, such as 'option'
 * @throws {TypeError} that names the key and the known key that is most similar to it
 */
export function assertKnownKeys(where: string, kind: string, object: object, known: readonly string[]): void {
  for (const key of Object.keys(object)) {
    if (known.includes(key)) continue
    const lowerCase = known.map((name) => name.toLowerCase())
    const nearest = closestMatch(key.toLowerCase(), lowerCase, { maxDistance: 4 })
    const suggestion = nearest === undefined ? undefined : known[lowerCase.indexOf(nearest)]
    const hint = suggestion ? `did you mean '${suggestion}'?` : `the ${kind}s are ${known.join(', ')}`
    throw new TypeError(`${where}: there is no ${kind} '${key}'; ${hint}`)
  }
}

/** Checks a size from `min` to `max` bytes, and returns its bytes. */
export function checkSize(
  where: string,
  name: string,
  value: unknown,
  min = 1,
  max = Number.MAX_SAFE_INTEGER,
): number {
  const size = readSize(value)
  if (size !== undefined && size >= min && size <= max) return size
  const maxText = max === Number.MAX_SAFE_INTEGER ? '2^53 - 1' : max
  throw optionError(
    where,
    name,
    `a number of bytes from ${min} to ${maxText}, or a string such as '8mb'`,
    value,
  )
}

/** Checks a duration in milliseconds, which may be `Infinity`. */
export function checkDuration(where: string, name: string, value: unknown, min: number): number {
  if (typeof value === 'number' && value >= min) return value
  throw optionError(where, name, `a number of milliseconds, at least ${min}`, value)
}

/** Checks a duration in milliseconds that a timer of Node is started with. */
export function checkTimer(where: string, name: string, value: unknown, min: number): number {
  if (typeof value === 'number' && value >= min && value <= MaxTimerMs) return value
  throw optionError(where, name, `a number of milliseconds from ${min} to ${MaxTimerMs} (24.8 days)`, value)
}

/**
 * Checks a whole number from 0 to `max`.
 * @param unit what is counted, in the plural
 */
export function checkCount(
  where: string,
  name: string,
  value: unknown,
  unit: string,
  max = Number.POSITIVE_INFINITY,
): number {
  if ((isCount(value) || value === Number.POSITIVE_INFINITY) && value <= max) return value
  const range = max === Number.POSITIVE_INFINITY ? ', or Infinity' : ` from 0 to ${max}`
  throw optionError(where, name, `a whole number of ${unit}${range}`, value)
}

/** Checks that a value is one of two or more. */
export function checkOneOf<const T extends string | number>(
  where: string,
  name: string,
  value: unknown,
  choices: readonly T[],
): T {
  const choice = choices.find((known) => known === value)
  if (choice !== undefined) return choice
  const texts = choices.map(quoteText)
  throw optionError(where, name, `${texts.slice(0, -1).join(', ')} or ${texts.at(-1)}`, value)
}

export function checkBoolean(where: string, name: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value
  throw optionError(where, name, 'true or false', value)
}

/** Checks a function that may be absent. */
export function checkFunction<T>(where: string, name: string, value: T): T {
  if (value === undefined || typeof value === 'function') return value
  throw optionError(where, name, 'a function', value)
}

/** The bytes of a size; undefined if it is not a size from 1 to 2^53 - 1 bytes. */
export function readSize(value: unknown): number | undefined {
  // The library would read '10 apples' as 10.
  const isSizeText = typeof value === 'string' && /^\d+(\.\d+)? *([kmgtp]?b)$/i.test(value)
  const size = isSizeText ? bytes.parse(value) : value
  const isValid = typeof size === 'number' && size >= 1 && size <= Number.MAX_SAFE_INTEGER
  return isValid ? Math.floor(size) : undefined
}

/** Whether a value is a whole number from 0 to 2^53 - 1. */
export const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0

/** Whether a value is an object with named members, and not a list, a date or the like. */
export const isPlainObject = (value: unknown): value is Record<string, unknown> => {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

export const quoteText = (value: unknown): string =>
  typeof value === 'string' ? `'${value}'` : String(value)
