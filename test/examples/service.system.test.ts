/** Runs the commands of examples/service, and checks the unit with systemd. */
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { generate } from 'selfsigned'
import { describe, expect, it } from 'vitest'
import { noise } from '../support/bytes.ts'
import { describeCaddy, startCaddy } from '../support/caddy.ts'
import { TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { freePort } from '../support/port.ts'
import { environment, Program } from '../support/program.ts'
import { describeSystemd, systemdAnalyze } from '../support/systemd.ts'
import { dockerArguments, serviceFile, unitValues } from './service-files.ts'
import { TlsClient, uploadFile } from './upload.ts'

const file = noise(30_000)
const unit = serviceFile('express-bits-upload.service')
const httpsUnit = serviceFile('https.conf')
const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** Splits a command line without quotes. Replaces whole words, and `$NAME` by words. */
const words = (line: string, replacements: Readonly<Record<string, readonly string[]>>): string[] =>
  line.split(' ').flatMap((word) => replacements[word] ?? [word])

interface UnitRun {
  readonly directory: string
  readonly options?: readonly string[]
  /** Directory with the files of LoadCredential. */
  readonly credentials?: string
}

/** Runs the command line of a unit with a directory of the test, any free port, and the UMask of the unit. */
function startUnit(text: string, { directory, options = [], credentials = '' }: UnitRun): Program {
  const [line = ''] = unitValues(text, 'ExecStart').filter((value) => value !== '')
  const [umask = ''] = unitValues(unit, 'UMask')
  const command = words(line, {
    '/usr/bin/node': [process.execPath],
    '/opt/express-bits-upload/node_modules/.bin/express-bits-upload': [main],
    '/var/lib/express-bits-upload': [directory],
    '8080': ['0'],
    '443': ['0'],
    $OPTIONS: options,
    // biome-ignore-start lint/suspicious/noTemplateCurlyInString: variables of systemd
    '${CREDENTIALS_DIRECTORY}/cert.pem': [join(credentials, 'cert.pem')],
    '${CREDENTIALS_DIRECTORY}/key.pem': [join(credentials, 'key.pem')],
    // biome-ignore-end lint/suspicious/noTemplateCurlyInString: variables of systemd
  })
  expect(command.slice(0, 3)).toEqual([process.execPath, main, 'serve'])
  expect(command.at(-1)).toBe(directory)
  return new Program(['sh', '-c', `umask ${umask}; exec "$@"`, 'sh', ...command], { cwd: directory })
}

describe('the command line of express-bits-upload.service', () => {
  it('receives a file for this machine only, and exits with 0 on SIGTERM', async () => {
    const directory = await temporaryDirectory()
    const program = startUnit(unit, { directory })
    await program.says(/Send files to http:\/\/127\.0\.0\.1:/)
    await uploadFile(new TestClient(new URL('a.bin', await program.url())), file)
    expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
    expect(await program.end('SIGTERM')).toBe(0)
  })

  it('lets the group read finished files, but not unfinished uploads', async () => {
    const directory = await temporaryDirectory()
    const program = startUnit(unit, { directory, options: ['--create-folders'] })
    await uploadFile(new TestClient(new URL('x/a.bin', await program.url())), file)
    const modeOf = async (path: string) => (await stat(join(directory, path))).mode & 0o777
    expect(await modeOf('x/a.bin')).toBe(0o640)
    expect(await modeOf('x')).toBe(0o750)
    expect(await modeOf('.bits-sessions')).toBe(0o700)
  })

  it('exits with the code that prevents a restart if its options are wrong', async () => {
    const [code] = unitValues(unit, 'RestartPreventExitStatus')
    const program = startUnit(unit, { directory: await temporaryDirectory(), options: ['--no-such-option'] })
    expect(await program.ended()).toBe(Number(code))
  })

  it('exits with another code if its directory cannot be used', async () => {
    const directory = await temporaryDirectory()
    await writeFile(join(directory, '.bits-sessions'), '')
    const program = startUnit(unit, { directory })
    expect(await program.ended()).toBe(1)
  })
})

describe('the command line of https.conf', () => {
  it('receives a file over HTTPS, from other machines too', async () => {
    const credentials = await temporaryDirectory()
    const { cert, private: key } = await generate([{ name: 'commonName', value: 'localhost' }])
    await writeFile(join(credentials, 'cert.pem'), cert)
    await writeFile(join(credentials, 'key.pem'), key)
    expect(unitValues(httpsUnit, 'LoadCredential').map((value) => value.split(':')[0])).toEqual([
      'cert.pem',
      'key.pem',
    ])
    const directory = await temporaryDirectory()
    const program = startUnit(httpsUnit, { directory, credentials })
    expect(await program.says(/Send files to (\S+)/)).not.toContain('127.0.0.1')
    await uploadFile(new TlsClient(new URL('a.bin', await program.url())), file)
    expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
    expect(await program.end('SIGTERM')).toBe(0)
  })
})

describeSystemd('systemd-analyze', () => {
  /** Writes the unit, with a drop-in file if there is one. Its program exists on every machine. */
  async function install(text: string, dropIn?: string): Promise<string> {
    const path = join(await temporaryDirectory(), 'express-bits-upload.service')
    const installed = (content: string) => content.replaceAll('=/usr/bin/node ', '=/bin/sh ')
    await writeFile(path, installed(text))
    if (dropIn !== undefined) {
      await mkdir(`${path}.d`)
      await writeFile(join(`${path}.d`, 'drop-in.conf'), installed(dropIn))
    }
    return path
  }

  const verify = (path: string) => systemdAnalyze('verify', '--man=no', path)

  /** The exposure of a unit: 0, none, to 10. */
  function exposure(path: string): number {
    const { output } = systemdAnalyze('security', '--offline=true', '--no-pager', path)
    return Number(/Overall exposure level for \S+: ([\d.]+) /.exec(output)?.[1])
  }

  it('finds no mistake in the unit and in the drop-in file', async () => {
    for (const dropIn of [undefined, httpsUnit]) {
      expect(verify(await install(unit, dropIn))).toEqual({ status: 0, output: '' })
    }
    expect(verify(await install(unit.replace('NoNewPrivileges', 'NoPrivileges'))).output).toContain(
      "'NoPrivileges'",
    )
  })

  it('measures the exposure that README.md states', async () => {
    const stated = /exposure .*? is (\d\.\d), .*? with https\.conf (\d\.\d)/s.exec(serviceFile('README.md'))
    const measured = [exposure(await install(unit)), exposure(await install(unit, httpsUnit))]
    // Other versions of systemd weigh the options differently.
    for (const [i, value] of measured.entries()) {
      expect(value).toBeLessThanOrEqual(2)
      expect(Math.abs(value - Number(stated?.[i + 1]))).toBeLessThan(0.25)
    }
    expect(exposure(await install(unit.replace('PrivateDevices=yes', '')))).toBeGreaterThan(measured[0] ?? 10)
  })
})

describe('the commands of the Dockerfile', () => {
  it('receive a file, and report whether the server answers', async () => {
    const directory = await temporaryDirectory()
    const [, ...args] = words([...dockerArguments('ENTRYPOINT'), ...dockerArguments('CMD')].join(' '), {
      '/incoming': [directory],
    })
    const env = { ...environment(), PORT: String(await freePort()) }
    const program = new Program([process.execPath, main], { cwd: directory, args, env })
    await uploadFile(new TestClient(new URL('a.bin', await program.url())), file)

    const [, ...check] = dockerArguments('HEALTHCHECK .* CMD')
    const health = () => new Program([process.execPath], { cwd: directory, args: check, env }).ended()
    const before = program.output
    expect(await health()).toBe(0)
    // The check is not a packet: nothing is printed.
    expect(program.output).toBe(before)
    expect(await program.end('SIGTERM')).toBe(0)
    expect(await health()).toBe(1)
  })
})

describeCaddy('the Caddyfile', () => {
  it('passes uploads on from the user only', async () => {
    const directory = await temporaryDirectory()
    const program = startUnit(unit, { directory })
    const { host } = await program.url()
    const variables = new Map([
      ['USER_NAME', 'backup'],
      // s3cret
      ['PASSWORD_HASH', '$2b$04$vmiHL.VYVjXzNlE3lUTvjOpT1X8DLl9zDr7e3Lfs4YcWyMl4iQsGe'],
    ])
    const { url } = await startCaddy((port) =>
      serviceFile('Caddyfile')
        .replace(/\{\$(\w+)\}/g, (_, name) => variables.get(name) ?? `http://127.0.0.1:${port}`)
        .replace('upload:8080', host),
    )
    const target = new URL('upload/a.bin', url)
    const client = (password: string) =>
      new TestClient(target, {
        Authorization: `Basic ${Buffer.from(`backup:${password}`).toString('base64')}`,
      })
    for (const stranger of [new TestClient(target), client('wrong')]) {
      const { status, headers } = await stranger.create()
      expect([status, headers['www-authenticate']]).toEqual([401, 'Basic realm="restricted"'])
    }
    await uploadFile(client('s3cret'), file)
    expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
  })
})
