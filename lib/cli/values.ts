import { readSize } from '../protocol/size.ts'
import { UsageError, type Values } from './command.ts'

/**
 * A whole number that an option has; undefined where it was left out.
 * @throws {UsageError} for anything else
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
 * The bytes of a size that an option has; undefined where it was left out.
 * @throws {UsageError} for anything else
 */
export function sizeValue(values: Values, name: string): number | undefined {
  const text = values[name] as string | undefined
  if (text === undefined) return undefined
  const size = readSize(/^\d+$/.test(text) ? Number(text) : text)
  if (size !== undefined) return size
  throw new UsageError(`--${name} is a number of bytes, or a size such as 10gb, not '${text}'`)
}
