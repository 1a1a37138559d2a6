import { S3Client } from '@aws-sdk/client-s3'
import { ContainerClient } from '@azure/storage-blob'
import { describe, expect, it } from 'vitest'
import { type AzureStoreOptions, azureStore } from '../../../lib/stores/object/azure.ts'
import { type S3StoreOptions, s3Store } from '../../../lib/stores/object/s3.ts'

const container = new ContainerClient('http://127.0.0.1:1/account/container')
const azure = (options: object) => azureStore({ container, ...options } as AzureStoreOptions)
const client = new S3Client({ region: 'nowhere' })
const s3 = (options: object) => s3Store({ client, bucket: 'a-bucket', ...options } as S3StoreOptions)

describe.each([
  ['azureStore', azure],
  ['s3Store', s3],
])('%s options', (name, open) => {
  it.each<[string, object, RegExp]>([
    ['an unknown option', { partsize: 1 }, /did you mean 'partSize'/],
    ['a prefix with a leading slash', { prefix: '/in' }, /'prefix' takes .* not '\/in'/],
    ['a prefix that is too long', { prefix: 'ü'.repeat(257) }, /'prefix' takes/],
    [
      'a partSize below the minimum of an S3 part',
      { partSize: '4mb' },
      /'partSize' takes .* from 5242880 to 268435456, .* not '4mb'/,
    ],
    ['a partSize above its maximum', { partSize: '1gb' }, /'partSize' takes/],
    ['a memory of 0', { memory: 0 }, /'memory' takes/],
  ])('reject %s with a TypeError', (_, options, message) => {
    expect(() => open(options)).toThrow(TypeError)
    expect(() => open(options)).toThrow(message)
    expect(() => open(options)).toThrow(name)
  })
})

it('azureStore: throws when container is no ContainerClient', () => {
  for (const wrong of [undefined, 'incoming', {}]) {
    expect(() => azure({ container: wrong })).toThrow(/'container' takes a ContainerClient/)
  }
})

it('s3Store: throws for an invalid client, bucket or conditionalWrites', () => {
  expect(() => s3({ client: {} })).toThrow(/'client' takes an S3Client/)
  expect(() => s3({ bucket: '' })).toThrow(/'bucket' takes/)
  expect(() => s3({ conditionalWrites: 'no' })).toThrow(/'conditionalWrites' takes true or false, not 'no'/)
})
