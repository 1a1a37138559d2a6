import { readSize } from '../validate.ts'
import { UsageError, type Values } from './command.ts'

/**
 * Reads an option that is a whole number; undefined if the option is missing.
 * @throws {UsageError} for another value
 */
export function numberOf(
  values: Values,
  name: string,
  least: number,
  max = Number.MAX_SAFE_INTEGER,
): number | undefined {
  const text = values[name] as string | undefined
  if (text === undefined) return undefined
  const number = Number(text)
  if (/^\d+$/.test(text) && number >= least && number <= max) return number
  throw new UsageError(`--${name} is a whole number from ${least} to ${max}, not '${text}'`)
}

/**
 * Reads an option that is a size, in bytes; undefined if the option is missing.
 * @throws {UsageError} for another value
 */
export function sizeValue(values: Values, name: string): number | undefined {
  const text = values[name] as string | undefined
  if (text === undefined) return undefined
  const size = readSize(/^\d+$/.test(text) ? Number(text) : text)
  if (size !== undefined) return size
  throw new UsageError(`--${name} is a number of bytes, or a size such as 10gb, not '${text}'`)
}
