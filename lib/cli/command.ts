import { type ParseArgsConfig, parseArgs } from 'node:util'
import { assertKnownKeys } from '../validate.ts'

/** Exit codes of all commands. */
export const ExitCode = {
  Ok: 0,
  /** Permanent failure: the same command would fail again. */
  Failed: 1,
  /** The command line is wrong. */
  Usage: 2,
  /** The command ended early; the same command, or `jobs resume`, continues it. */
  Incomplete: 3,
} as const

export type Values = Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>

/**
 * A subcommand such as `express-bits-upload send`: what `--help` needs. All commands are loaded at the start of the program,
 * so they import their code only when they run.
 */
export interface Command {
  /** One line of the list of commands. */
  readonly summary: string
  /** What `--help` prints. */
  readonly help: string
  readonly options: NonNullable<ParseArgsConfig['options']>
  /**
   * Imports the code of the command and runs it.
   * @returns an exit code
   */
  run(values: Values, positionals: readonly string[]): Promise<number>
}

/** The command line is wrong. The message is one line that says what to write instead. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** @throws {UsageError} for an unknown option, a missing value, or a value of an option that takes none */
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

/** Resolves at the first SIGINT or SIGTERM. A second signal, of either kind, ends the process at once. */
export function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    const signals = ['SIGINT', 'SIGTERM'] as const
    const stop = (): void => {
      for (const signal of signals) process.off(signal, stop)
      resolve()
    }
    for (const signal of signals) process.on(signal, stop)
  })
}
