import { readFileSync } from 'node:fs'
import { type Command, ExitCode, readArguments, UsageError } from './command.ts'
import { doctorCommand } from './commands/doctor.ts'
import { jobsCommand } from './commands/jobs.ts'
import { sendCommand } from './commands/send.ts'
import { serveCommand } from './commands/serve.ts'

const commands: Readonly<Record<string, Command>> = {
  serve: serveCommand,
  send: sendCommand,
  jobs: jobsCommand,
  doctor: doctorCommand,
}

const mainHelp = `Sends and receives files with the BITS Upload Protocol, which every Windows machine supports.

Usage: express-bits-upload COMMAND [OPTION…]

${Object.entries(commands)
  .map(([name, { summary }]) => `  ${name.padEnd(8)} ${summary}`)
  .join('\n')}

  express-bits-upload COMMAND --help   options of a command
  express-bits-upload --version (-v)   version of this package

Exit codes: 0 success, 1 permanent failure, 2 usage error, 3 incomplete (can be resumed).
`

/**
 * Runs a command line.
 * @param args the arguments after the name of the program
 * @returns the exit code
 */
export async function run(args: readonly string[]): Promise<number> {
  const [word, ...rest] = args
  if (word === undefined || word === '--help' || word === '-h' || word === 'help') {
    process.stdout.write(mainHelp)
    return word === undefined ? ExitCode.Usage : ExitCode.Ok
  }
  if (word === '--version' || word === '-v') {
    console.log(version())
    return ExitCode.Ok
  }
  const command = Object.hasOwn(commands, word) ? commands[word] : undefined
  if (!command)
    return printUsageError(
      `there is no command '${word}'; the commands are ${Object.keys(commands).join(', ')}`,
    )
  try {
    const { values, positionals } = readArguments(word, command, rest)
    if (values.help) {
      process.stdout.write(command.help)
      return ExitCode.Ok
    }
    return await command.run(values, positionals)
  } catch (error) {
    if (error instanceof UsageError) {
      return printUsageError(`${word}: ${error.message}\nSee: express-bits-upload ${word} --help`)
    }
    console.error(`express-bits-upload ${word}: ${(error as Error).message}`)
    return ExitCode.Failed
  }
}

function printUsageError(text: string): number {
  console.error(`express-bits-upload: ${text}`)
  return ExitCode.Usage
}

function version(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  return String(version)
}
