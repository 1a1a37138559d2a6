import { S3Client } from '@aws-sdk/client-s3'
import { ContainerClient } from '@azure/storage-blob'
import { describe, expect, it } from 'vitest'
import { memoryLocker } from '../../../lib/locks/memory.ts'
import { type AzureStoreOptions, azureStore } from '../../../lib/stores/azure.ts'
import { type S3StoreOptions, s3Store } from '../../../lib/stores/s3.ts'

const container = new ContainerClient('http://127.0.0.1:1/account/container')
const azure = (options: object) => azureStore({ container, ...options } as AzureStoreOptions)
const client = new S3Client({ region: 'nowhere' })
const s3 = (options: object) => s3Store({ client, bucket: 'a-bucket', ...options } as S3StoreOptions)

describe.each([
  ['azureStore', azure],
  ['s3Store', s3],
])('the options of %s', (name, open) => {
  it.each<[string, object, RegExp]>([
    ['an unknown one', { partsize: 1 }, /did you mean 'partSize'/],
    ['a prefix with a slash in front', { prefix: '/in' }, /prefix is/],
    ['a prefix that leaves no room', { prefix: 'ü'.repeat(257) }, /prefix is/],
    ['a part below what S3 joins', { partSize: '4mb' }, /partSize is .* '8mb', not 4mb/],
    ['a part that memory has no room for', { partSize: '1gb' }, /partSize is/],
    ['no memory', { memory: 0 }, /memory is/],
    ['a locker that is none', { locker: {} }, /locker is/],
  ])('%s is refused', (_, options, message) => {
    expect(() => open(options)).toThrow(TypeError)
    expect(() => open(options)).toThrow(message)
    expect(() => open(options)).toThrow(name)
  })

  it('has locks that hold among all who share it, or those that it is given', () => {
    expect(open({}).locker).toBeDefined()
    const locker = memoryLocker()
    expect(open({ locker }).locker).toBe(locker)
  })
})

it('a container is required', () => {
  for (const wrong of [undefined, 'incoming', {}]) {
    expect(() => azure({ container: wrong })).toThrow(/container is a ContainerClient/)
  }
})

it('a client and a bucket are required', () => {
  expect(() => s3({ client: {} })).toThrow(/client is an S3Client/)
  expect(() => s3({ bucket: '' })).toThrow(/bucket is/)
  expect(() => s3({ conditionalWrites: 'no' })).toThrow(/conditionalWrites is true or false/)
  expect(() => s3({ conditionalWrites: false, locker: memoryLocker() })).toThrow(/a locker is of no use/)
})

it('without conditions there are no locks among processes', () => {
  expect(s3({ conditionalWrites: false }).locker).toBeUndefined()
})
