import { randomUUID } from 'node:crypto'
import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { InternalPrefix } from '../service.ts'
import { type ConditionFields, get } from './objects.ts'
import {
  type Bucket,
  bare,
  type EtagForm,
  isPreconditionFailed,
  objectParams,
  quoted,
  versionOf,
} from './requests.ts'

const probeAdvice =
  'Without them several processes cannot share a bucket. If only one will ever use it, say conditionalWrites: false'

/**
 * Tries what a space asks of a bucket on an object of its own.
 * @param conditional whether the service is to see to conditions
 * @returns how it wants versions written
 * @throws Error that names the bucket and what it lacks
 */
export async function probeConditionalWrites(bucket: Bucket, conditional: boolean): Promise<EtagForm> {
  const key = `${InternalPrefix}probe/${randomUUID()}`
  const write = async (text: string, fields: ConditionFields = {}) =>
    bucket.client.send(
      new PutObjectCommand({ ...objectParams(bucket, key), ...fields, Body: Buffer.from(text) }),
    )
  const clear = () => bucket.client.send(new DeleteObjectCommand(objectParams(bucket, key)))
  try {
    // Before all else, for it tells a bucket that is not there, and a key that may not be looked for.
    await get(bucket, key)
    const first = versionOf(await write('first'))
    const form = await (conditional ? formOf(write, first) : quoted)
    await clear()
    return form
  } catch (error) {
    await clear().catch(() => {})
    const { name, message } = error as Error
    throw new Error(`The S3 bucket ${bucket.name} cannot be used: ${name}: ${message}`, { cause: error })
  }
}

type ProbeWrite = (text: string, fields: ConditionFields) => Promise<unknown>

async function formOf(write: ProbeWrite, first: string): Promise<EtagForm> {
  const isRefused = async (text: string, fields: ConditionFields): Promise<boolean> => {
    try {
      await write(text, fields)
      return false
    } catch (error) {
      if (isPreconditionFailed(error)) return true
      throw error
    }
  }
  if (!(await isRefused('absent', { IfNoneMatch: '*' }))) {
    throw new Error(`the service ignores the condition of a write If-None-Match: *. ${probeAdvice}`)
  }
  for (const form of [quoted, bare]) {
    const fields = { IfMatch: form(first) }
    if (await isRefused('second', fields)) continue
    if (await isRefused('third', fields)) return form
    throw new Error(`the service ignores the condition of a write If-Match. ${probeAdvice}`)
  }
  throw new Error(`the service refuses a write If-Match the ETag that it has just told. ${probeAdvice}`)
}
