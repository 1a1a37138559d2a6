import { ContainerClient, StorageSharedKeyCredential } from '@azure/storage-blob'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { createAzureService } from '../../../../lib/stores/object/service/azure/index.ts'
import { azuriteService, temporaryContainer } from '../../../support/azurite.ts'
import { accountOf, azureFixture, azuriteCapabilities } from './azure/fixture.ts'
import { all, keysOf, put, textOf } from './contract/fixture.ts'
import { serviceSuite } from './contract.ts'

describe('Azure object service in Azurite', () => {
  // Azurite needs ten seconds to write a thousand objects: azure.system.test.ts runs the long test.
  serviceSuite(async () => azureFixture(await temporaryContainer()), azuriteCapabilities, { skipLong: true })
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
    const wrongKey = new StorageSharedKeyCredential(accountOf(container).accountName, 'c3RyYW5nZXI=')
    const refused = createAzureService(new ContainerClient(url, wrongKey)).prepare()
    await expect(refused).rejects.toThrow(`${url}) cannot be used: Server failed to authenticate the request`)
    const unsigned = createAzureService(new ContainerClient(`${url}?sv=2024-11-04&sig=secret`)).prepare()
    await expect(unsigned).rejects.toThrow(`${url}) cannot be used`)
    await expect(unsigned).rejects.not.toThrow('secret')
  })
})

describe('Azure object service without its container', () => {
  it('rejects calls with status 404 instead of reporting a missing object', async () => {
    const service = createAzureService(new ContainerClient(await azuriteService(), 'gone'))
    const notFound = { statusCode: 404 }
    await expect(service.get('a')).rejects.toMatchObject(notFound)
    await expect(service.head('a')).rejects.toMatchObject(notFound)
    await expect(service.put('a', [], { condition: { version: '"0x1"' } })).rejects.toMatchObject(notFound)
    await expect(all(service.list(''))).rejects.toMatchObject(notFound)
    await expect(all(service.read('a', 0, 0))).rejects.toMatchObject(notFound)
    const part = { upload: 'unknownunknown1234', number: 1 }
    await expect(service.putPart('a', part, [Buffer.from('a')])).rejects.toMatchObject(notFound)
    await expect(service.copyPart('a', part, { key: 'b', size: 1 })).rejects.toMatchObject(notFound)
    await expect(service.completeUpload('a', part.upload, [part.upload])).rejects.toMatchObject(notFound)
  })
})

describe('Azure remove()', () => {
  it('removes 40 objects with one signal, and emits no warning', async () => {
    const warn = vi.spyOn(process, 'emitWarning')
    onTestFinished(() => warn.mockRestore())
    const service = createAzureService(await temporaryContainer())
    const keys = Array.from({ length: 40 }, (_, i) => `${i}`)
    for (const key of keys) await put(service, key)
    await service.remove(keys, { signal: new AbortController().signal })
    expect(await keysOf(service)).toEqual([])
    expect(warn).not.toHaveBeenCalled()
  })
})

describe('Foreign blobs in the Azure container', () => {
  it('can be append blobs and page blobs', async () => {
    const container = await temporaryContainer()
    const service = createAzureService(container)
    const log = container.getAppendBlobClient('log')
    await log.create()
    await log.appendBlock('abc', 3)
    await container.getPageBlobClient('disk').create(512)
    expect(await keysOf(service)).toEqual(['disk', 'log'])
    expect(await textOf(service, 'log')).toBe('abc')
    expect(await service.head('disk')).toMatchObject({ size: 512 })
    for (const key of ['disk', 'log']) {
      await expect(service.put(key, [], { condition: 'absent' })).rejects.toThrow('was not met')
    }
    await service.remove(['disk', 'log'])
    expect(await keysOf(service)).toEqual([])
  })

  it('can have snapshots, which are not listed and are removed with the blob', async () => {
    const container = await temporaryContainer()
    const service = createAzureService(container)
    for (const key of ['a', 'b']) await put(service, key, 'old')
    for (const key of ['a', 'b']) await container.getBlobClient(key).createSnapshot()
    expect(await keysOf(service)).toEqual(['a', 'b'])
    await service.remove(['a', 'b'])
    expect(await keysOf(service)).toEqual([])
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
