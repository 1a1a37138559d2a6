import { randomUUID } from 'node:crypto'
import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { InternalPrefix } from '../service.ts'
import { type ConditionFields, getObject } from './objects.ts'
import {
  type Bucket,
  bareEtag,
  type EtagForm,
  isS3PreconditionFailed,
  objectParams,
  quotedEtag,
  versionOf,
} from './requests.ts'

const ProbeAdvice =
  'Without conditional writes several processes cannot share a bucket. ' +
  'If only one process uses it, set conditionalWrites: false'

/**
 * Checks by an object of its own that a bucket supports what the store needs.
 * @param conditionalWrites whether the bucket must support conditional writes
 * @returns the form in which the service requires versions
 * @throws Error that names the bucket and what it lacks
 */
export async function probeConditionalWrites(bucket: Bucket, conditionalWrites: boolean): Promise<EtagForm> {
  const key = `${InternalPrefix}probe/${randomUUID()}`
  const write = async (text: string, fields: ConditionFields = {}) =>
    bucket.client.send(
      new PutObjectCommand({ ...objectParams(bucket, key), ...fields, Body: Buffer.from(text) }),
    )
  const remove = () => bucket.client.send(new DeleteObjectCommand(objectParams(bucket, key)))
  try {
    // The first request, because it finds a missing bucket, and credentials that cannot detect missing
    // objects.
    await getObject(bucket, key)
    const version = versionOf(await write('first'))
    const form = await (conditionalWrites ? probeEtagForm(write, version) : quotedEtag)
    await remove()
    return form
  } catch (error) {
    await remove().catch(() => {})
    const { name, message } = error as Error
    throw new Error(`The S3 bucket ${bucket.name} cannot be used: ${name}: ${message}`, { cause: error })
  }
}

type ProbeWrite = (text: string, fields: ConditionFields) => Promise<unknown>

async function probeEtagForm(write: ProbeWrite, version: string): Promise<EtagForm> {
  const isRefused = async (text: string, fields: ConditionFields): Promise<boolean> => {
    try {
      await write(text, fields)
      return false
    } catch (error) {
      if (isS3PreconditionFailed(error)) return true
      throw error
    }
  }
  if (!(await isRefused('absent', { IfNoneMatch: '*' }))) {
    throw new Error(`the service ignores the condition If-None-Match: * of a write. ${ProbeAdvice}`)
  }
  for (const form of [quotedEtag, bareEtag]) {
    const fields = { IfMatch: form(version) }
    if (await isRefused('second', fields)) continue
    if (await isRefused('third', fields)) return form
    throw new Error(`the service ignores the condition If-Match of a write. ${ProbeAdvice}`)
  }
  throw new Error(
    `the service refuses a write with If-Match and the ETag that it just returned. ${ProbeAdvice}`,
  )
}
