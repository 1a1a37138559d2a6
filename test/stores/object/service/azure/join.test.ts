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
import { assertBytes, keysOf, put, textOf } from '../contract/tested.ts'
import { type Service, type ServiceOptions, serviceOver } from './service.ts'

interface Setting {
  readonly space: ObjectService
  /** The same one, beside the service. */
  readonly other: ObjectService
  readonly container: ContainerClient
  readonly service: Service
}

/** A space in a service that copies blocks. */
async function setting(options: ServiceOptions = {}): Promise<Setting> {
  const container = await temporaryContainer()
  const service = await serviceOver(container, options)
  return {
    space: createAzureService(service.container),
    other: createAzureService(container),
    container,
    service,
  }
}

const bytes = noise(100_000)

/** Sources that make `bytes`. */
async function sourcesIn(space: ObjectService, count = 20): Promise<ComposeSource[]> {
  const size = bytes.length / count
  const sources = Array.from({ length: count }, (_, i) => ({ key: `s/${i}`, size }))
  await Promise.all(sources.map(({ key }, i) => space.put(key, [bytes.subarray(i * size, (i + 1) * size)])))
  return sources
}

const count = (requests: readonly string[], request: string): number =>
  requests.filter((one) => one === request).length

describe('Azure join() with server-side copy', () => {
  it('passes no bytes through this process', async () => {
    const { space, other, service } = await setting()
    const sources = await sourcesIn(other)
    await space.compose(sources, 'joined')
    assertBytes((await other.get('joined'))?.bytes, bytes)
    expect(service.copies).toHaveLength(20)
    expect(service.requests).not.toContain('PUT block')
    expect(service.copies.map(({ range }) => range)).toEqual(sources.map(() => 'bytes=0-4999'))
  })

  it('signs sources read-only, from 15 minutes ago (clock skew) to 60 minutes ahead', async () => {
    const { space, other, service } = await setting()
    await put(other, 'ö%', 'abc')
    const now = Date.now()
    await space.compose([{ key: 'ö%', size: 3 }], 'joined')
    const [{ source } = { source: new URL('none:') }] = service.copies
    expect(decodeURIComponent(source.pathname)).toMatch(/\/ö%$/)
    const field = (name: string) => source.searchParams.get(name) ?? ''
    expect([field('sp'), field('sr')]).toEqual(['r', 'b'])
    const minutes = (name: string) => Math.round((Date.parse(field(name)) - now) / 60_000)
    expect([minutes('st'), minutes('se')]).toEqual([-15, 60])
  })

  it('reads sources with the signature of the container URL when it has one', async () => {
    const { container, copies, requests } = await serviceOver(await temporaryContainer())
    const signed = await container.generateSasUrl({
      permissions: ContainerSASPermissions.parse('racwdl'),
      expiresOn: new Date(Date.now() + 60_000),
    })
    const space = createAzureService(new ContainerClient(signed))
    await space.prepare()
    await space.compose(await sourcesIn(space), 'joined', { condition: 'absent' })
    assertBytes((await createAzureService(container).get('joined'))?.bytes, bytes)
    expect(copies.map(({ source }) => source.search)).toEqual(copies.map(() => new URL(signed).search))
    expect(requests).not.toContain('PUT block')
  })

  it('copies at most 8 blocks at once', async () => {
    const eight = withResolvers<void>()
    let atOnce = 0
    let most = 0
    const { space, other, service } = await setting({
      async before(request) {
        if (request !== 'PUT copy') return
        atOnce += 1
        most = Math.max(most, atOnce)
        if (atOnce === 8) eight.resolve()
        await eight.promise
        // One more would be on its way by now.
        await other.head('s/0')
        atOnce -= 1
      },
    })
    await space.compose(await sourcesIn(other), 'joined')
    expect([most, service.copies.length]).toEqual([8, 20])
  })
})

describe('Azure join() with sources that the service cannot read', () => {
  it('passes the bytes through this process, and tries no copy for the next join', async () => {
    const { space, other, service } = await setting({ readable: false })
    const sources = await sourcesIn(other)
    await space.compose(sources, 'joined')
    assertBytes((await other.get('joined'))?.bytes, bytes)
    const asked = service.copies.length
    expect(asked).toBeLessThanOrEqual(8)
    await space.compose(sources, 'again')
    expect(service.copies).toHaveLength(asked)
    assertBytes((await other.get('again'))?.bytes, bytes)
  })
})

describe('Azure join() with a source that is shorter than its given size', () => {
  it('rejects and creates no object', async () => {
    const space = createAzureService(await temporaryContainer())
    await put(space, 's', 'abc')
    await expect(space.compose([{ key: 's', size: 4 }], 'joined')).rejects.toThrow('only 3 of 4 bytes')
    expect(await space.head('joined')).toBeUndefined()
  })
})

describe('Azure join() with a concurrent write', () => {
  /** Something happens whenever a list of blocks is about to be committed. */
  const overtaken = async (meanwhile: (container: ContainerClient, commits: number) => Promise<unknown>) => {
    let container: ContainerClient | undefined
    let commits = 0
    const found = await setting({
      async before(request) {
        if (request !== 'PUT blocklist' || !container) return
        commits += 1
        await meanwhile(container, commits)
      },
    })
    container = found.container
    return { ...found, commits: () => commits }
  }

  /** Writes the blob, which discards what others staged for it. */
  const overtake = (container: ContainerClient) => container.getBlockBlobClient('joined').commitBlockList([])

  it('starts again when the write discards its staged blocks', async () => {
    const { space, other, service } = await overtaken(async (container, commits) => {
      if (commits < 3) await overtake(container)
    })
    await space.compose(await sourcesIn(other), 'joined')
    assertBytes((await other.get('joined'))?.bytes, bytes)
    expect(count(service.requests, 'PUT blocklist')).toBe(3)
    expect(service.copies).toHaveLength(60)
  })

  it('does not start again for another error (LeaseIdMissing)', async () => {
    const { space, other, service } = await overtaken((container) =>
      container.getBlobClient('joined').getBlobLeaseClient().acquireLease(60),
    )
    await put(other, 'joined', 'old')
    const joining = space.compose(await sourcesIn(other), 'joined')
    await expect(joining).rejects.toMatchObject({ code: 'LeaseIdMissing' })
    expect(service.copies).toHaveLength(20)
    expect(await textOf(other, 'joined')).toBe('old')
  })

  it('rejects with InvalidBlockList after 5 attempts', async () => {
    const { space, other, commits } = await overtaken(overtake)
    const joining = space.compose(await sourcesIn(other), 'joined')
    await expect(joining).rejects.toMatchObject({ code: 'InvalidBlockList' })
    expect(commits()).toBe(5)
  })

  it.each(['absent', 'version'])('rejects with ConditionFailed, no retry (condition: %s)', async (kind) => {
    const { space, other, service } = await overtaken(overtake)
    const condition = kind === 'absent' ? 'absent' : { version: await put(other, 'joined', 'old') }
    const joining = space.compose(await sourcesIn(other), 'joined', { condition })
    await expect(joining).rejects.toMatchObject({ name: 'ConditionFailed' })
    expect(count(service.requests, 'PUT blocklist')).toBe(1)
    expect(await textOf(other, 'joined')).toBe('')
  })

  it('copies nothing when its condition already fails before the copy', async () => {
    const { space, other, service } = await setting()
    const version = await put(other, 'joined', 'old')
    await put(other, 'joined', 'new')
    const sources = await sourcesIn(other)
    const conditions: NonNullable<PutOptions['condition']>[] = ['absent', { version }]
    for (const condition of conditions) {
      const joining = space.compose(sources, 'joined', { condition })
      await expect(joining).rejects.toMatchObject({ name: 'ConditionFailed' })
    }
    expect(service.copies).toEqual([])
  })
})

describe('Azure join() that is aborted before its commit', () => {
  it('creates no object, and leaves no additional blocks when it is aborted again', async () => {
    let dying: AbortController | undefined
    const { space, other, container } = await setting({
      async before(request) {
        if (request !== 'PUT blocklist' || !dying) return
        dying.abort()
        throw new Error('dead')
      },
    })
    const sources = await sourcesIn(other)
    const left = async () =>
      (await container.getBlockBlobClient('joined').getBlockList('uncommitted')).uncommittedBlocks?.length
    for (let death = 0; death < 2; death += 1) {
      dying = new AbortController()
      const joining = space.compose(sources, 'joined', { signal: dying.signal })
      await expect(joining).rejects.toMatchObject({ name: 'AbortError' })
      await space.abortUploads('')
      expect(await left()).toBe(20)
      expect(await keysOf(other)).toHaveLength(20)
      expect(await other.head('joined')).toBeUndefined()
    }
    dying = undefined
    await space.compose(sources.slice(1), 'joined', { condition: 'absent' })
    assertBytes((await other.get('joined'))?.bytes, bytes.subarray(5000))
  })
})
