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
import { withResolvers } from '../../../../support/promise.ts'
import { assertBytes, keysOf, put, textOf } from '../contract/fixture.ts'
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

const count = (requests: readonly string[], request: string): number =>
  requests.filter((one) => one === request).length

describe('Azure compose() with server-side copy', () => {
  it('passes no bytes through this process', async () => {
    const { service, direct, server } = await copyFixture()
    const sources = await sourcesIn(direct)
    await service.compose(sources, 'composed')
    assertBytes((await direct.get('composed'))?.bytes, bytes)
    expect(server.copies).toHaveLength(20)
    expect(server.requests).not.toContain('PUT block')
    expect(server.copies.map(({ range }) => range)).toEqual(sources.map(() => 'bytes=0-4999'))
  })

  it('signs sources read-only, from 15 minutes ago (clock skew) to 60 minutes ahead', async () => {
    const { service, direct, server } = await copyFixture()
    await put(direct, 'ö%', 'abc')
    const now = Date.now()
    await service.compose([{ key: 'ö%', size: 3 }], 'composed')
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
    await service.compose(await sourcesIn(service), 'composed', { condition: 'absent' })
    assertBytes((await createAzureService(container).get('composed'))?.bytes, bytes)
    expect(copies.map(({ source }) => source.search)).toEqual(copies.map(() => new URL(signed).search))
    expect(requests).not.toContain('PUT block')
  })

  it('copies at most 8 blocks at once', async () => {
    const eight = withResolvers<void>()
    let atOnce = 0
    let most = 0
    const { service, direct, server } = await copyFixture({
      async before(request) {
        if (request !== 'PUT copy') return
        atOnce += 1
        most = Math.max(most, atOnce)
        if (atOnce === 8) eight.resolve()
        await eight.promise
        // A ninth copy would have been requested by now.
        await direct.head('s/0')
        atOnce -= 1
      },
    })
    await service.compose(await sourcesIn(direct), 'composed')
    expect([most, server.copies.length]).toEqual([8, 20])
  })
})

describe('Azure compose() with sources that the server cannot read', () => {
  it('passes the bytes through this process, and tries no copy for the next call', async () => {
    const { service, direct, server } = await copyFixture({ readable: false })
    const sources = await sourcesIn(direct)
    await service.compose(sources, 'composed')
    assertBytes((await direct.get('composed'))?.bytes, bytes)
    const copies = server.copies.length
    expect(copies).toBeLessThanOrEqual(8)
    await service.compose(sources, 'again')
    expect(server.copies).toHaveLength(copies)
    assertBytes((await direct.get('again'))?.bytes, bytes)
  })
})

describe('Azure compose() with a source that is shorter than its given size', () => {
  it('rejects and creates no object', async () => {
    const service = createAzureService(await temporaryContainer())
    await put(service, 's', 'abc')
    await expect(service.compose([{ key: 's', size: 4 }], 'composed')).rejects.toThrow('only 3 of 4 bytes')
    expect(await service.head('composed')).toBeUndefined()
  })
})

describe('Azure compose() with a concurrent write', () => {
  /** Calls `meanwhile` before each commit of a list of blocks. */
  const withConcurrentWrite = async (
    meanwhile: (container: ContainerClient, commits: number) => Promise<unknown>,
  ) => {
    let container: ContainerClient | undefined
    let commits = 0
    const fixture = await copyFixture({
      async before(request) {
        if (request !== 'PUT blocklist' || !container) return
        commits += 1
        await meanwhile(container, commits)
      },
    })
    container = fixture.container
    return { ...fixture, commits: () => commits }
  }

  /** Writes the blob, which discards its staged blocks. */
  const discardBlocks = (container: ContainerClient) =>
    container.getBlockBlobClient('composed').commitBlockList([])

  it('starts again when the write discards its staged blocks', async () => {
    const { service, direct, server } = await withConcurrentWrite(async (container, commits) => {
      if (commits < 3) await discardBlocks(container)
    })
    await service.compose(await sourcesIn(direct), 'composed')
    assertBytes((await direct.get('composed'))?.bytes, bytes)
    expect(count(server.requests, 'PUT blocklist')).toBe(3)
    expect(server.copies).toHaveLength(60)
  })

  it('does not start again for another error (LeaseIdMissing)', async () => {
    const { service, direct, server } = await withConcurrentWrite((container) =>
      container.getBlobClient('composed').getBlobLeaseClient().acquireLease(60),
    )
    await put(direct, 'composed', 'old')
    const composing = service.compose(await sourcesIn(direct), 'composed')
    await expect(composing).rejects.toMatchObject({ code: 'LeaseIdMissing' })
    expect(server.copies).toHaveLength(20)
    expect(await textOf(direct, 'composed')).toBe('old')
  })

  it('rejects with InvalidBlockList after 5 attempts', async () => {
    const { service, direct, commits } = await withConcurrentWrite(discardBlocks)
    const composing = service.compose(await sourcesIn(direct), 'composed')
    await expect(composing).rejects.toMatchObject({ code: 'InvalidBlockList' })
    expect(commits()).toBe(5)
  })

  it.each(['absent', 'version'])('rejects with ConditionFailed, no retry (condition: %s)', async (kind) => {
    const { service, direct, server } = await withConcurrentWrite(discardBlocks)
    const condition = kind === 'absent' ? 'absent' : { version: await put(direct, 'composed', 'old') }
    const composing = service.compose(await sourcesIn(direct), 'composed', { condition })
    await expect(composing).rejects.toMatchObject({ name: 'ConditionFailed' })
    expect(count(server.requests, 'PUT blocklist')).toBe(1)
    expect(await textOf(direct, 'composed')).toBe('')
  })

  it('copies nothing when its condition already fails before the copy', async () => {
    const { service, direct, server } = await copyFixture()
    const version = await put(direct, 'composed', 'old')
    await put(direct, 'composed', 'new')
    const sources = await sourcesIn(direct)
    const conditions: NonNullable<PutOptions['condition']>[] = ['absent', { version }]
    for (const condition of conditions) {
      const composing = service.compose(sources, 'composed', { condition })
      await expect(composing).rejects.toMatchObject({ name: 'ConditionFailed' })
    }
    expect(server.copies).toEqual([])
  })
})

describe('Azure compose() that is aborted before its commit', () => {
  it('creates no object, and leaves no additional blocks when it is aborted again', async () => {
    let controller: AbortController | undefined
    const { service, direct, container } = await copyFixture({
      async before(request) {
        if (request !== 'PUT blocklist' || !controller) return
        controller.abort()
        throw new Error('aborted')
      },
    })
    const sources = await sourcesIn(direct)
    const stagedBlocks = async () =>
      (await container.getBlockBlobClient('composed').getBlockList('uncommitted')).uncommittedBlocks?.length
    for (let attempt = 0; attempt < 2; attempt += 1) {
      controller = new AbortController()
      const composing = service.compose(sources, 'composed', { signal: controller.signal })
      await expect(composing).rejects.toMatchObject({ name: 'AbortError' })
      await service.abortUploads('')
      expect(await stagedBlocks()).toBe(20)
      expect(await keysOf(direct)).toHaveLength(20)
      expect(await direct.head('composed')).toBeUndefined()
    }
    controller = undefined
    await service.compose(sources.slice(1), 'composed', { condition: 'absent' })
    assertBytes((await direct.get('composed'))?.bytes, bytes.subarray(5000))
  })
})
