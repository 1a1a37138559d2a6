import { ContainerClient, StorageSharedKeyCredential } from '@azure/storage-blob'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { createAzureService } from '../../../../lib/stores/object/service/azure/index.ts'
import { azuriteService, temporaryContainer } from '../../../support/azurite.ts'
import { tested } from './azure/tested.ts'
import { accountOf } from './azure/way.ts'
import { all, keysOf, put, textOf } from './contract/tested.ts'
import { spaceSuite } from './contract.ts'

describe('Azure object service in Azurite', () => {
  // Azurite takes ten seconds to write a thousand objects: azure.system.test.ts runs the long case.
  spaceSuite(async () => tested(await temporaryContainer()), {}, { skipLong: true })
})

describe('Azure prepare()', () => {
  it('rejects when the container is missing, and does not create it', async () => {
    const container = new ContainerClient(await azuriteService(), 'incoming')
    await expect(createAzureService(container).prepare()).rejects.toThrow(
      `There is no container "incoming" (${container.url})`,
    )
    expect(await container.exists()).toBe(false)
  })

  it('names the container and the reason when access is denied, without the SAS signature', async () => {
    const container = await temporaryContainer()
    const { url } = container
    const stranger = new StorageSharedKeyCredential(accountOf(container).accountName, 'c3RyYW5nZXI=')
    const refused = createAzureService(new ContainerClient(url, stranger)).prepare()
    await expect(refused).rejects.toThrow(`${url}) cannot be used: Server failed to authenticate the request`)
    const unsigned = createAzureService(new ContainerClient(`${url}?sv=2024-11-04&sig=secret`)).prepare()
    await expect(unsigned).rejects.toThrow(`${url}) cannot be used`)
    await expect(unsigned).rejects.not.toThrow('secret')
  })
})

describe('Azure object service without its container', () => {
  it('rejects calls with status 404 instead of reporting a missing object', async () => {
    const space = createAzureService(new ContainerClient(await azuriteService(), 'gone'))
    const gone = { statusCode: 404 }
    await expect(space.get('a')).rejects.toMatchObject(gone)
    await expect(space.head('a')).rejects.toMatchObject(gone)
    await expect(space.put('a', [], { condition: { version: '"0x1"' } })).rejects.toMatchObject(gone)
    await expect(space.removeIfVersion('a', '"0x1"')).rejects.toMatchObject(gone)
    await expect(all(space.list(''))).rejects.toMatchObject(gone)
    await expect(all(space.read('a', 0, 0))).rejects.toMatchObject(gone)
    await expect(space.compose([{ key: 'a', size: 1 }], 'b')).rejects.toMatchObject(gone)
  })
})

describe('Azure remove()', () => {
  it('removes 40 objects with one signal, and emits no warning', async () => {
    const warn = vi.spyOn(process, 'emitWarning')
    onTestFinished(() => warn.mockRestore())
    const space = createAzureService(await temporaryContainer())
    const keys = Array.from({ length: 40 }, (_, i) => `${i}`)
    for (const key of keys) await put(space, key)
    await space.remove(keys, { signal: new AbortController().signal })
    expect(await keysOf(space)).toEqual([])
    expect(warn).not.toHaveBeenCalled()
  })
})

describe('Foreign blobs in the Azure container', () => {
  it('can be append blobs and page blobs', async () => {
    const container = await temporaryContainer()
    const space = createAzureService(container)
    const log = container.getAppendBlobClient('log')
    await log.create()
    await log.appendBlock('abc', 3)
    await container.getPageBlobClient('disk').create(512)
    expect(await keysOf(space)).toEqual(['disk', 'log'])
    expect(await textOf(space, 'log')).toBe('abc')
    expect(await space.head('disk')).toMatchObject({ size: 512 })
    for (const key of ['disk', 'log']) {
      await expect(space.put(key, [], { condition: 'absent' })).rejects.toThrow('not what was expected')
      const joining = space.compose([{ key: 'log', size: 3 }], key, { condition: 'absent' })
      await expect(joining).rejects.toThrow('not what was expected')
    }
    await space.remove(['disk', 'log'])
    expect(await keysOf(space)).toEqual([])
  })

  it('can have snapshots, which are not listed and are removed with the blob', async () => {
    const container = await temporaryContainer()
    const space = createAzureService(container)
    const version = await put(space, 'a', 'old')
    await put(space, 'b', 'old')
    for (const key of ['a', 'b']) await container.getBlobClient(key).createSnapshot()
    expect(await keysOf(space)).toEqual(['a', 'b'])
    await space.removeIfVersion('a', version)
    await space.remove(['b'])
    expect(await keysOf(space)).toEqual([])
  })

  it('can have metadata with invalid percent-encoding, which is returned as it is', async () => {
    const container = await temporaryContainer()
    const metadata = { progress: '100%', plain: 'a%20b' }
    await container.getBlockBlobClient('a').upload('', 0, { metadata })
    expect(await createAzureService(container).head('a')).toMatchObject({
      metadata: { progress: '100%', plain: 'a b' },
    })
  })
})
