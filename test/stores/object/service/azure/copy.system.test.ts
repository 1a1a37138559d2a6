import { ContainerClient, ContainerSASPermissions } from '@azure/storage-blob'
import { describe, expect, it } from 'vitest'
import { createAzureService } from '../../../../../lib/stores/object/service/azure/index.ts'
import type {
  ComposeSource,
  ObjectService,
  PutOptions,
} from '../../../../../lib/stores/object/service/service.ts'
import { temporaryContainer } from '../../../../support/azurite.ts'
import { noise } from '../../../../support/bytes.ts'
import { assertBytes, put } from '../contract/fixture.ts'
import { type CopyServer, type CopyServerOptions, startCopyServer } from './copy-server.ts'

interface CopyFixture {
  readonly service: ObjectService
  /** The same objects, without the copy server. */
  readonly direct: ObjectService
  readonly container: ContainerClient
  readonly server: CopyServer
}

/** A service over a server that copies blocks. */
async function copyFixture(options: CopyServerOptions = {}): Promise<CopyFixture> {
  const container = await temporaryContainer()
  const server = await startCopyServer(container, options)
  return {
    service: createAzureService(server.container),
    direct: createAzureService(container),
    container,
    server,
  }
}

const bytes = noise(100_000)

/** Writes sources that together have `bytes`. */
async function sourcesIn(service: ObjectService, count = 20): Promise<ComposeSource[]> {
  const size = bytes.length / count
  const sources = Array.from({ length: count }, (_, i) => ({ key: `s/${i}`, size }))
  await Promise.all(sources.map(({ key }, i) => service.put(key, [bytes.subarray(i * size, (i + 1) * size)])))
  return sources
}

/** Copies sources to the parts of an upload, and completes it. */
async function copy(
  service: ObjectService,
  sources: readonly ComposeSource[],
  key: string,
  options?: PutOptions,
): Promise<void> {
  const { id } = await service.createUpload(key)
  const tags = await Promise.all(
    sources.map((source, i) => service.copyPart(key, { upload: id, number: i + 1 }, source)),
  )
  await service.completeUpload(key, id, tags, options)
}

describe('Azure copyPart() with server-side copy', () => {
  it('passes no bytes through this process', async () => {
    const { service, direct, server } = await copyFixture()
    const sources = await sourcesIn(direct)
    await copy(service, sources, 'copied')
    assertBytes((await direct.get('copied'))?.bytes, bytes)
    expect(server.copies).toHaveLength(20)
    expect(server.requests).not.toContain('PUT block')
    expect(server.copies.map(({ range }) => range)).toEqual(sources.map(() => 'bytes=0-4999'))
  })

  it('signs sources read-only, from 15 minutes ago (clock skew) to 60 minutes ahead', async () => {
    const { service, direct, server } = await copyFixture()
    await put(direct, 'ö%', 'abc')
    const now = Date.now()
    await copy(service, [{ key: 'ö%', size: 3 }], 'copied')
    const [{ source } = { source: new URL('none:') }] = server.copies
    expect(decodeURIComponent(source.pathname)).toMatch(/\/ö%$/)
    const field = (name: string) => source.searchParams.get(name) ?? ''
    expect([field('sp'), field('sr')]).toEqual(['r', 'b'])
    const minutes = (name: string) => Math.round((Date.parse(field(name)) - now) / 60_000)
    expect([minutes('st'), minutes('se')]).toEqual([-15, 60])
  })

  it('reads sources with the signature of the container URL when it has one', async () => {
    const { container, copies, requests } = await startCopyServer(await temporaryContainer())
    const signed = await container.generateSasUrl({
      permissions: ContainerSASPermissions.parse('racwdl'),
      expiresOn: new Date(Date.now() + 60_000),
    })
    const service = createAzureService(new ContainerClient(signed))
    await service.prepare()
    await copy(service, await sourcesIn(service), 'copied', { condition: 'absent' })
    assertBytes((await createAzureService(container).get('copied'))?.bytes, bytes)
    expect(copies.map(({ source }) => source.search)).toEqual(copies.map(() => new URL(signed).search))
    expect(requests).not.toContain('PUT block')
  })
})

describe('Azure copyPart() with sources that the server cannot read', () => {
  it('passes the bytes through this process, and tries no copy for the next call', async () => {
    const { service, direct, server } = await copyFixture({ readable: false })
    const sources = await sourcesIn(direct)
    await copy(service, sources.slice(0, 1), 'one')
    expect(server.copies).toHaveLength(1)
    await copy(service, sources, 'copied')
    expect(server.copies).toHaveLength(1)
    assertBytes((await direct.get('copied'))?.bytes, bytes)
  })
})

describe('Azure copyPart() with a source that is shorter than its given size', () => {
  it('rejects and creates no object', async () => {
    const service = createAzureService(await temporaryContainer())
    await put(service, 's', 'abc')
    await expect(copy(service, [{ key: 's', size: 4 }], 'copied')).rejects.toThrow('only 3 of 4 bytes')
    expect(await service.head('copied')).toBeUndefined()
  })
})
