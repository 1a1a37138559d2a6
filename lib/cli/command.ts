import { type ParseArgsConfig, parseArgs } from 'node:util'
import { assertKnownKeys } from '../validate.ts'

/** Exit codes, for scripts. */
export const Ok = 0
/** It failed, and would fail again. */
export const Failed = 1
/** The command line itself is wrong. */
export const Usage = 2
/** It did not come to its end, and the same command, or `jobs`, goes on from there. */
export const Incomplete = 3

export type Values = Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>

/** A word behind `express-bits-upload`, and all that belongs to it. */
export interface Command {
  /** One line. */
  readonly summary: string
  /** What `--help` prints. */
  readonly help: string
  readonly options: NonNullable<ParseArgsConfig['options']>
  /** @returns an exit code */
  run(values: Values, positionals: readonly string[]): Promise<number>
}

/** The command line is wrong: told in one line, with what to write instead. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** @throws {UsageError} for an option that is unknown, or lacks its value */
export function readArguments(
  name: string,
  { options }: Command,
  args: readonly string[],
): { readonly values: Values; readonly positionals: readonly string[] } {
  const all: Command['options'] = { ...options, help: { type: 'boolean', short: 'h' } }
  try {
    const { values, positionals, tokens } = parseArgs({
      args: [...args],
      options: all,
      allowPositionals: true,
      strict: false,
      tokens: true,
    })
    for (const token of tokens) {
      if (token.kind !== 'option') continue
      assertKnownKeys(name, 'option', { [token.name]: true }, Object.keys(all))
      const { type } = all[token.name] ?? {}
      if (type === 'string' && token.value === undefined)
        throw new UsageError(`${token.rawName} needs a value`)
      if (type === 'boolean' && token.value !== undefined)
        throw new UsageError(`${token.rawName} takes no value`)
    }
    return { values, positionals }
  } catch (error) {
    throw error instanceof UsageError
      ? error
      : new UsageError((error as Error).message.replace(`${name}: `, ''))
  }
}
