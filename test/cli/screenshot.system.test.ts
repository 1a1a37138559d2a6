import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { temporaryDirectory } from '../support/directory.ts'
import { freePort } from '../support/port.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/**
 * The lines of a picture in alphabetical order, without figures, bars, directories and host names. Lines that a
 * long host name wraps are left out.
 */
const linesOf = (svg: string): string[] =>
  svg
    // The first line of the client, whose order varies, follows the last line of the server without a line break.
    .replaceAll(/<\/(?:text|svg|g)>/g, '\n')
    .replaceAll(/<style>.*<\/style>|<[^>]*>/gs, '')
    .replaceAll(/\/\S*?\/incoming/g, 'DIRECTORY')
    .replaceAll(/http:\/\/[\w.-]+:/g, 'http://HOST:')
    .replaceAll(/[\d.]+\s?[KMG]?B?|[█░]/g, '')
    .split('\n')
    .filter((line) => !/Start-BitsTransfer|win\.ini/.test(line))
    .sort()

it('examples/screenshot.svg shows the present output of serve and send', async () => {
  const directory = await temporaryDirectory()
  const picture = join(directory, 'screenshot.svg')
  const script = join(root, 'test/cli/screenshot.ts')
  const args = ['--import', 'tsx', script, directory, picture, String(await freePort())]
  await promisify(execFile)(process.execPath, args, { cwd: root })
  const committed = await readFile(join(root, 'examples/screenshot.svg'), 'utf8')
  expect(linesOf(await readFile(picture, 'utf8'))).toEqual(linesOf(committed))
})
