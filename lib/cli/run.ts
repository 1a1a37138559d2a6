import { readFileSync } from 'node:fs'
import { type Command, Failed, Ok, readArguments, Usage, UsageError } from './command.ts'
import { doctor } from './doctor.ts'
import { jobs } from './jobs.ts'
import { sendCommand } from './send.ts'
import { serveCommand } from './serve.ts'

const commands: Readonly<Record<string, Command>> = { serve: serveCommand, send: sendCommand, jobs, doctor }

const mainHelp = `Files by the BITS Upload Protocol, which every Windows machine speaks.

Usage: express-bits-upload COMMAND [OPTION…]

${Object.entries(commands)
  .map(([name, { summary }]) => `  ${name.padEnd(8)} ${summary}`)
  .join('\n')}

  express-bits-upload COMMAND --help   tells all about one
  express-bits-upload --version        this package's version

Exit codes: 0 done, 1 failed, 2 wrong use, 3 unfinished, to be gone on with.
`

/**
 * Runs a command line.
 * @param args what follows the program's name
 * @returns the exit code
 */
export async function run(args: readonly string[]): Promise<number> {
  const [word, ...rest] = args
  if (word === undefined || word === '--help' || word === '-h' || word === 'help') {
    process.stdout.write(mainHelp)
    return word === undefined ? Usage : Ok
  }
  if (word === '--version') {
    console.log(version())
    return Ok
  }
  const command = Object.hasOwn(commands, word) ? commands[word] : undefined
  if (!command)
    return complain(`there is no command '${word}'; the commands are ${Object.keys(commands).join(', ')}`)
  try {
    const { values, positionals } = readArguments(word, command, rest)
    if (values.help) {
      process.stdout.write(command.help)
      return Ok
    }
    return await command.run(values, positionals)
  } catch (error) {
    if (error instanceof UsageError) {
      return complain(`${word}: ${error.message}\nSee: express-bits-upload ${word} --help`)
    }
    console.error(`express-bits-upload ${word}: ${(error as Error).message}`)
    return Failed
  }
}

function complain(text: string): number {
  console.error(`express-bits-upload: ${text}`)
  return Usage
}

function version(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  return String(version)
}
