import { once } from 'node:events'
import { Agent } from 'node:http'
import {
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3'
import { expect, it, onTestFinished, vi } from 'vitest'
import { createS3Service } from '../../../../../lib/stores/object/service/s3/index.ts'
import { decodeKey } from '../../../../../lib/stores/object/service/s3/list.ts'
import { ConditionFailed } from '../../../../../lib/stores/object/service/service.ts'
import { noise } from '../../../../support/bytes.ts'
import { describeS3, s3Service } from '../../../../support/ceph.ts'
import { bytesOf, keysOf, put } from '../contract/tested.ts'
import type { Instead } from './meddler.ts'
import { behind, fates, looks, prefix, type Scene, twoSources } from './setting.ts'

function pooled(): { agent: Agent; config: S3ClientConfig; busy: () => number } {
  const agent = new Agent({ keepAlive: true })
  onTestFinished(() => agent.destroy())
  const busy = (): number => Object.values(agent.sockets).flat().length
  return { agent, config: { requestHandler: { httpAgent: agent } }, busy }
}

describeS3('S3 read()', () => {
  it('sends no request when it is destroyed before it is read', async () => {
    const { space, seen } = await behind()
    const stream = space.read('a', 0, 9)
    stream.destroy()
    await once(stream, 'close')
    expect(seen).toEqual([])
  })

  it('closes its connection when it is destroyed in the middle', async () => {
    const { agent, config, busy } = pooled()
    const { space, direct } = await behind(() => 'pass', {}, config)
    await direct.put('a', [noise(8_000_000)])
    const stream = space.read('a', 0, 7_999_999)
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
    const { space, held, left } = await behind(
      fates(({ method }) => method === 'GET', 'hold'),
      {},
      config,
    )
    const stream = space.read('a', 0, 9)
    stream.resume()
    await held
    stream.destroy()
    await once(stream, 'close')
    await left
    await vi.waitFor(() => expect(busy()).toBe(0))
    expect(stream.errored).toBeNull()
  })

  it('returns its connection to the pool after the last byte', async () => {
    const { agent, config, busy } = pooled()
    const { space, direct } = await behind(() => 'pass', {}, config)
    await put(direct, 'a', 'abc')
    let connections = 0
    const create = agent.createConnection.bind(agent)
    agent.createConnection = (...given) => {
      connections += 1
      return create(...given)
    }
    for (let i = 0; i < 5; i += 1) {
      await bytesOf(space.read('a', 0, 2))
      await vi.waitFor(() => expect(busy()).toBe(0))
    }
    expect(connections).toBe(1)
  })

  it('fails when the connection breaks in the body', async () => {
    const body = 'abc'
    const short: Instead = { status: 206, headers: { 'content-length': '10' }, body, breaks: true }
    const { space } = await behind(() => short)
    await expect(bytesOf(space.read('a', 0, 9))).rejects.toThrow()
  })

  it('passes on the error of the service (InvalidRange)', async () => {
    const { space } = await behind()
    await put(space, 'a', 'abc')
    await expect(bytesOf(space.read('a', 3, 4))).rejects.toMatchObject({ name: 'InvalidRange' })
  })
})

describeS3('S3 signal that is aborted during a request', () => {
  it.each(['put', 'get', 'head', 'remove', 'removeIf', 'abandon'] as const)('rejects %s()', async (call) => {
    let isPrepared = false
    const fate = () => (isPrepared ? 'hold' : 'pass')
    const { space, held, left } = await behind(fate, { conditionalWrites: true })
    await space.prepare()
    isPrepared = true
    const controller = new AbortController()
    const { signal } = controller
    const calls = {
      put: () => space.put('a', [Buffer.from('abc')], { signal }),
      get: () => space.get('a', { signal }),
      head: () => space.head('a', { signal }),
      remove: () => space.remove(['a'], { signal }),
      removeIf: () => space.removeIfVersion('a', '"version"', { signal }),
      abandon: () => space.abortUploads('', { signal }),
    }
    const called = calls[call]()
    await held
    controller.abort()
    await expect(called).rejects.toMatchObject({ name: 'AbortError' })
    await left
  })
})

const uploads = async ({ client, bucket }: Pick<Scene, 'client' | 'bucket'>): Promise<string[]> => {
  const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))
  return Uploads.map(({ Key = '' }) => Key)
}

describeS3('S3 multipart uploads', () => {
  it('are aborted when a join fails', async () => {
    const scene = await behind()
    const { space, direct, seen } = scene
    const sources = await twoSources(direct)
    const missing = { key: 'nowhere', size: space.minSource }
    await expect(space.compose([missing, ...sources], 'a')).rejects.toMatchObject({ name: 'ObjectMissing' })
    expect(seen.some(({ method }) => method === 'DELETE')).toBe(true)
    expect(await uploads(scene)).toEqual([])
  })

  it('are aborted when the signal of the join is aborted', async () => {
    const scene = await behind(({ url }) => (url.searchParams.get('partNumber') === '2' ? 'hold' : 'pass'))
    const { space, direct, held } = scene
    const sources = await twoSources(direct)
    const controller = new AbortController()
    const joined = space.compose(sources, 'a', { signal: controller.signal })
    await held
    expect(await uploads(scene)).toEqual([`${prefix}a`])
    controller.abort()
    await expect(joined).rejects.toMatchObject({ name: 'AbortError' })
    expect(await uploads(scene)).toEqual([])
  })

  it('are aborted by abandon() below its prefix only, over several pages', { timeout: 120_000 }, async () => {
    const scene = await behind()
    const { direct, client, bucket } = scene
    const begin = (key: string) =>
      client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: `${prefix}${key}` }))
    const left = Array.from({ length: 1_050 }, (_, i) => `a/ö+%2F ${i}`).values()
    const some = async (): Promise<void> => {
      for (const key of left) await begin(key)
    }
    await Promise.all(Array.from({ length: 16 }, some))
    // Of one key there may be several.
    await begin('a/b')
    await begin('a/b')
    await begin('b')
    await direct.abortUploads('a/')
    expect(await uploads(scene)).toEqual([`${prefix}b`])
    await direct.abortUploads('')
    expect(await uploads(scene)).toEqual([])
  })

  it('replace no object that appears during the copy (condition: absent)', async () => {
    const { client, bucket, direct } = await behind()
    const sources = await twoSources(direct)
    let copies = 0
    const meddled = new S3Client(await s3Service())
    onTestFinished(() => meddled.destroy())
    meddled.middlewareStack.add(
      (next, { commandName }) =>
        async (args) => {
          if (commandName === 'UploadPartCopyCommand' && copies++ === 0) await put(direct, 'a', 'another')
          return next(args)
        },
      { step: 'initialize' },
    )
    const joining = createS3Service(meddled, { bucket, prefix }).compose(sources, 'a', {
      condition: 'absent',
    })
    await expect(joining).rejects.toBeInstanceOf(ConditionFailed)
    expect((await direct.get('a'))?.bytes.toString()).toBe('another')
    expect(await uploads({ client, bucket })).toEqual([])
  })

  it('are aborted by abandon() for one key, not for longer keys that begin with it', async () => {
    const scene = await behind()
    const { direct, client, bucket } = scene
    for (const key of ['log', 'log', 'log.txt', 'log/1']) {
      await client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: `${prefix}${key}` }))
    }
    await direct.abortUploads('log')
    expect(await uploads(scene)).toEqual([`${prefix}log.txt`, `${prefix}log/1`])
  })
})

describeS3('S3 remove()', () => {
  const together = ({ method }: { readonly method: string }): boolean => method === 'POST'

  it.each([
    { status: 400, code: 'InvalidRequest' },
    { status: 501, code: 'NotImplemented' },
  ])('removes objects one by one when the service returns $code for many', async (instead) => {
    const { space, direct } = await behind((one) => (together(one) ? instead : 'pass'))
    const keys = Array.from({ length: 20 }, (_, i) => `a/${i}`)
    for (const key of keys) await put(direct, key)
    await put(direct, 'b')
    await space.remove(keys)
    expect(await keysOf(direct)).toEqual(['b'])
  })

  it('names the object that was not removed', async () => {
    const body =
      '<DeleteResult><Error><Key>x/b</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>'
    const { space } = await behind((one) => (together(one) ? { status: 200, body } : 'pass'))
    await expect(space.remove(['a', 'b'])).rejects.toThrow('AccessDenied: x/b')
  })

  it('passes on other errors (AccessDenied), and so does removeIf()', async () => {
    const instead: Instead = { status: 403, code: 'AccessDenied' }
    let isRefused = false
    const { space } = await behind(() => (isRefused ? instead : 'pass'))
    await space.prepare()
    isRefused = true
    await expect(space.remove(['a', 'b'])).rejects.toMatchObject({ name: 'AccessDenied' })
    await expect(space.remove(['a'])).rejects.toMatchObject({ name: 'AccessDenied' })
    await expect(space.removeIfVersion('a', 'abc')).rejects.toMatchObject({ name: 'AccessDenied' })
  })
})

describeS3('S3 removeIf()', () => {
  const asks = ({ method, headers }: { method: string; headers: object }): boolean =>
    method === 'DELETE' && 'if-match' in headers

  it.each([
    { status: 412, code: 'PreconditionFailed' },
    { status: 409, code: 'ConditionalRequestConflict' },
  ])('keeps another version when the service returns $code', async (instead) => {
    const { space, direct } = await behind((one) => (asks(one) ? instead : 'pass'))
    const version = await put(space, 'a')
    await space.removeIfVersion('a', version)
    expect(await keysOf(direct)).toEqual(['a'])
  })

  it('removes without a condition when the service returns NotImplemented', async () => {
    const { space, direct } = await behind((one) =>
      asks(one) ? { status: 501, code: 'NotImplemented' } : 'pass',
    )
    await space.removeIfVersion('a', await put(space, 'a'))
    expect(await keysOf(direct)).toEqual([])
  })

  it('resolves when S3 returns NoSuchKey', async () => {
    const { space } = await behind((one) => (asks(one) ? { status: 404, code: 'NoSuchKey' } : 'pass'))
    await space.removeIfVersion('a', 'abc')
  })
})

describeS3('S3 metadata', () => {
  it('is rejected above 2048 bytes before any request that writes', async () => {
    const { space, direct, seen } = await behind()
    const long = { contentType: 'text/plain', metadata: { name: 'ö'.repeat(400) } }
    await expect(space.put('a', [], { description: long })).rejects.toThrow('2048')
    await put(direct, 'one')
    await expect(space.compose([{ key: 'one', size: 3 }], 'a', { description: long })).rejects.toThrow('2048')
    expect(seen.filter((one) => !looks(one))).toEqual([])
    const fits = { contentType: 'text/plain', metadata: { name: 'x'.repeat(2_000) } }
    await space.put('a', [], { description: fits, condition: 'absent' })
    expect((await space.head('a'))?.metadata).toEqual(fits.metadata)
  })

  it('of other applications is returned unchanged', async () => {
    const { space } = await behind((one) =>
      looks(one) ? { status: 200, headers: { 'x-amz-meta-rate': '100%', etag: '"x"' } } : 'pass',
    )
    expect((await space.head('a'))?.metadata).toEqual({ rate: '100%' })
  })
})

describeS3('S3 keys in a list', () => {
  it('are decoded only when the response has the encoding type url', () => {
    expect(decodeKey('a+b%2Bc%20d', 'url')).toBe('a b+c d')
    expect(decodeKey('a+b%2Bc%20d', undefined)).toBe('a+b%2Bc%20d')
  })
})
