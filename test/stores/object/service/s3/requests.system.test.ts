import { once } from 'node:events'
import { Agent } from 'node:http'
import type { S3ClientConfig } from '@aws-sdk/client-s3'
import { expect, it, onTestFinished, vi } from 'vitest'
import { decodeKey } from '../../../../../lib/stores/object/service/s3/list.ts'
import { noise } from '../../../../support/bytes.ts'
import { describeS3 } from '../../../../support/ceph.ts'
import { all, bytesOf, keysOf, put } from '../contract/fixture.ts'
import type { FakeResponse } from './fault-proxy.ts'
import { actionsFor, isHead, proxiedService } from './fixture.ts'

function pooled(): { agent: Agent; config: S3ClientConfig; busy: () => number } {
  const agent = new Agent({ keepAlive: true })
  onTestFinished(() => agent.destroy())
  const busy = (): number => Object.values(agent.sockets).flat().length
  return { agent, config: { requestHandler: { httpAgent: agent } }, busy }
}

describeS3('S3 read()', () => {
  it('sends no request when it is destroyed before it is read', async () => {
    const { service, requests } = await proxiedService()
    const stream = service.read('a', 0, 9)
    stream.destroy()
    await once(stream, 'close')
    expect(requests).toEqual([])
  })

  it('closes its connection when it is destroyed in the middle', async () => {
    const { agent, config, busy } = pooled()
    const { service, direct } = await proxiedService(() => 'pass', {}, config)
    await direct.put('a', [noise(8_000_000)])
    const stream = service.read('a', 0, 7_999_999)
    await once(stream, 'readable')
    expect(busy()).toBe(1)
    const [socket] = Object.values(agent.sockets).flat()
    stream.destroy()
    if (socket) await once(socket, 'close')
    expect(busy()).toBe(0)
    expect(stream.errored).toBeNull()
  })

  it('closes its connection when it is destroyed before the response', async () => {
    const { config, busy } = pooled()
    const { service, held, abandoned } = await proxiedService(
      actionsFor(({ method }) => method === 'GET', 'hold'),
      {},
      config,
    )
    const stream = service.read('a', 0, 9)
    stream.resume()
    await held
    stream.destroy()
    await once(stream, 'close')
    await abandoned
    await vi.waitFor(() => expect(busy()).toBe(0))
    expect(stream.errored).toBeNull()
  })

  it('returns its connection to the pool after the last byte', async () => {
    const { agent, config, busy } = pooled()
    const { service, direct } = await proxiedService(() => 'pass', {}, config)
    await put(direct, 'a', 'abc')
    let connections = 0
    const create = agent.createConnection.bind(agent)
    agent.createConnection = (...args) => {
      connections += 1
      return create(...args)
    }
    for (let i = 0; i < 5; i += 1) {
      await bytesOf(service.read('a', 0, 2))
      await vi.waitFor(() => expect(busy()).toBe(0))
    }
    expect(connections).toBe(1)
  })

  it('fails when the connection breaks in the body', async () => {
    const body = 'abc'
    const short: FakeResponse = { status: 206, headers: { 'content-length': '10' }, body, breaks: true }
    const { service } = await proxiedService(() => short)
    await expect(bytesOf(service.read('a', 0, 9))).rejects.toThrow()
  })

  it('passes on the error of the service (InvalidRange)', async () => {
    const { service } = await proxiedService()
    await put(service, 'a', 'abc')
    await expect(bytesOf(service.read('a', 3, 4))).rejects.toMatchObject({ name: 'InvalidRange' })
  })
})

describeS3('S3 signal that is aborted during a request', () => {
  it.each([
    'put',
    'get',
    'head',
    'remove',
    'createUpload',
    'putPart',
    'copyPart',
    'listParts',
    'completeUpload',
    'abortUpload',
    'listUploads',
  ] as const)('rejects %s()', async (call) => {
    let isPrepared = false
    const action = () => (isPrepared ? 'hold' : 'pass')
    const { service, held, abandoned } = await proxiedService(action, { conditionalWrites: true })
    await service.prepare()
    isPrepared = true
    const controller = new AbortController()
    const { signal } = controller
    const part = { upload: 'id', number: 1 }
    const calls = {
      put: () => service.put('a', [Buffer.from('abc')], { signal }),
      get: () => service.get('a', { signal }),
      head: () => service.head('a', { signal }),
      remove: () => service.remove(['a'], { signal }),
      createUpload: () => service.createUpload('a', { signal }),
      putPart: () => service.putPart('a', part, [Buffer.from('abc')], { signal }),
      copyPart: () => service.copyPart('a', part, { key: 'b', size: 1 }, { signal }),
      listParts: () => service.listParts('a', 'id', { signal }),
      completeUpload: () => service.completeUpload('a', 'id', ['tag'], { signal }),
      abortUpload: () => service.abortUpload('a', 'id', { signal }),
      listUploads: () => all(service.listUploads('', { signal })),
    }
    const called = calls[call]()
    await held
    controller.abort()
    await expect(called).rejects.toMatchObject({ name: 'AbortError' })
    await abandoned
  })
})

describeS3('S3 remove()', () => {
  const isBatch = ({ method }: { readonly method: string }): boolean => method === 'POST'

  it.each([
    { status: 400, code: 'InvalidRequest' },
    { status: 501, code: 'NotImplemented' },
  ])('removes objects one by one when the service returns $code for many', async (response) => {
    const { service, direct } = await proxiedService((request) => (isBatch(request) ? response : 'pass'))
    const keys = Array.from({ length: 20 }, (_, i) => `a/${i}`)
    for (const key of keys) await put(direct, key)
    await put(direct, 'b')
    await service.remove(keys)
    expect(await keysOf(direct)).toEqual(['b'])
  })

  it('names the object that was not removed', async () => {
    const body =
      '<DeleteResult><Error><Key>x/b</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>'
    const { service } = await proxiedService((request) => (isBatch(request) ? { status: 200, body } : 'pass'))
    await expect(service.remove(['a', 'b'])).rejects.toThrow('AccessDenied: x/b')
  })

  it('passes on other errors (AccessDenied)', async () => {
    const response: FakeResponse = { status: 403, code: 'AccessDenied' }
    let isRefused = false
    const { service } = await proxiedService(() => (isRefused ? response : 'pass'))
    await service.prepare()
    isRefused = true
    await expect(service.remove(['a', 'b'])).rejects.toMatchObject({ name: 'AccessDenied' })
    await expect(service.remove(['a'])).rejects.toMatchObject({ name: 'AccessDenied' })
  })
})

describeS3('S3 metadata', () => {
  it('is rejected above 2048 bytes before any request that writes', async () => {
    const { service, requests } = await proxiedService()
    const long = { contentType: 'text/plain', metadata: { name: 'ö'.repeat(400) } }
    await expect(service.put('a', [], { attributes: long })).rejects.toThrow('2048')
    await expect(service.createUpload('a', { attributes: long })).rejects.toThrow('2048')
    expect(requests.filter((request) => !isHead(request))).toEqual([])
    const fits = { contentType: 'text/plain', metadata: { name: 'x'.repeat(2_000) } }
    await service.put('a', [], { attributes: fits, condition: 'absent' })
    expect((await service.head('a'))?.metadata).toEqual(fits.metadata)
  })

  it('of other applications is returned unchanged', async () => {
    const { service } = await proxiedService((request) =>
      isHead(request) ? { status: 200, headers: { 'x-amz-meta-rate': '100%', etag: '"x"' } } : 'pass',
    )
    expect((await service.head('a'))?.metadata).toEqual({ rate: '100%' })
  })
})

describeS3('S3 keys in a list', () => {
  it('are decoded only when the response has the encoding type url', () => {
    expect(decodeKey('a+b%2Bc%20d', 'url')).toBe('a b+c d')
    expect(decodeKey('a+b%2Bc%20d', undefined)).toBe('a+b%2Bc%20d')
  })
})
