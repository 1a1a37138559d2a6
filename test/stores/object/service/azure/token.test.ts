import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { globalAgent } from 'node:https'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { ContainerClient, StorageSharedKeyCredential } from '@azure/storage-blob'
import { generate } from 'selfsigned'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createAzureService } from '../../../../../lib/stores/object/service/azure/index.ts'
import { Daemons } from '../../../../services/daemons.ts'
import { noise } from '../../../../support/bytes.ts'
import { assertBytes } from '../contract/fixture.ts'
import { startCopyServer } from './copy-server.ts'

/** A token that Azurite accepts: it checks the claims and not the signature. */
function token(lifetime: number): string {
  const now = Math.floor(Date.now() / 1000)
  const claims = {
    aud: 'https://storage.azure.com',
    iss: 'https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/',
    iat: now - 60,
    nbf: now - 60,
    exp: now + lifetime,
  }
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ alg: 'RS256', typ: 'JWT' })}.${part(claims)}.${Buffer.from('none').toString('base64url')}`
}

const program = createRequire(import.meta.url).resolve('azurite/dist/src/blob/main.js')

/**
 * Starts an Azurite that accepts tokens, which it does over https only, as does the SDK. Its start takes over
 * a second.
 */
async function startAzurite() {
  const { private: key, cert } = await generate([{ name: 'commonName', value: '127.0.0.1' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }],
  })
  const daemons = new Daemons()
  await Promise.all([
    writeFile(join(daemons.directory, 'key.pem'), key),
    writeFile(join(daemons.directory, 'cert.pem'), cert),
  ])
  const options = [
    ...['--inMemoryPersistence', '--blobPort', '0', '--skipApiVersionCheck', '--disableTelemetry'],
    ...['--silent', '--oauth', 'basic', '--key', 'key.pem', '--cert', 'cert.pem'],
  ]
  const child = fork(program, options, {
    cwd: daemons.directory,
    env: { ...process.env, AZURITE_ACCOUNTS: 'tests:a2V5' },
    // Ends with its parent, even if the parent is killed.
    execArgv: ['--import', `data:text/javascript,process.on('disconnect', () => process.exit())`],
    silent: true,
  })
  const [, url] = await daemons.add(child, /successfully listens on (https:\S+)/)
  return { url, tls: { key, cert }, end: () => daemons.end() }
}

let azurite: Awaited<ReturnType<typeof startAzurite>>

beforeAll(async () => {
  azurite = await startAzurite()
  // Clients without keep-alive use this agent.
  globalAgent.options.ca = azurite.tls.cert
})

afterAll(async () => {
  delete globalAgent.options.ca
  await azurite.end()
})

/** A copy server over an empty container of that Azurite. */
const newCopyServer = () => {
  const account = new StorageSharedKeyCredential('tests', 'a2V5')
  const container = new ContainerClient(`${azurite.url}/tests/test-${randomUUID()}`, account)
  return startCopyServer(container, { tls: azurite.tls })
}

it.each([
  ['reused while it is valid', 3600, 1],
  ['requested again before it expires', 240, 20],
])(
  'Azure copyPart(): reads sources with a token of the credential, which is %s',
  async (_, lifetime, times) => {
    const server = await newCopyServer()
    const requestedScopes: unknown[] = []
    let lastToken = ''
    const credential = {
      async getToken(scopes: string | string[]) {
        lastToken = token(lifetime)
        requestedScopes.push(scopes)
        return { token: lastToken, expiresOnTimestamp: Date.now() + lifetime * 1000 }
      },
    }
    const container = new ContainerClient(server.container.url, credential, {
      keepAliveOptions: { enable: false },
    })
    await container.create()
    const service = createAzureService(container)
    const bytes = noise(20_000)
    const sources = Array.from({ length: 20 }, (_, i) => ({ key: `s/${i}`, size: 1000 }))
    await Promise.all(
      sources.map(({ key }, i) => service.put(key, [bytes.subarray(i * 1000, (i + 1) * 1000)])),
    )
    const before = requestedScopes.length
    const { id } = await service.createUpload('copied')
    const tags = await Promise.all(
      sources.map((source, i) => service.copyPart('copied', { upload: id, number: i + 1 }, source)),
    )
    await service.completeUpload('copied', id, tags)
    assertBytes((await service.get('copied'))?.bytes, bytes)
    expect(server.requests).not.toContain('PUT block')
    expect(server.copies.map(({ authorization }) => authorization?.slice(0, 7))).toEqual(
      sources.map(() => 'Bearer '),
    )
    expect(server.copies.at(-1)?.source.search).toBe('')
    const ofSources = requestedScopes
      .slice(before)
      .filter((scope) => scope === 'https://storage.azure.com/.default')
    expect(ofSources.length).toBe(times)
  },
)
