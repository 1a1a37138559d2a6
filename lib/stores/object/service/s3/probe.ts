import { randomUUID } from 'node:crypto'
import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { ConditionFailed, InternalPrefix } from '../service.ts'
import { type ConditionFields, getObject } from './objects.ts'
import {
  type Bucket,
  bareEtag,
  type EtagForm,
  isS3PreconditionFailed,
  isUnsupported,
  objectParams,
  quotedEtag,
  versionOf,
} from './requests.ts'
import { abortS3Upload, completeS3Upload, createS3Upload, putS3Part } from './uploads.ts'

const ProbeAdvice =
  'Without conditional writes several processes cannot share a bucket. ' +
  'If only one process uses it, set conditionalWrites: false'

/** How a service checks conditions. */
export interface ConditionSupport {
  /** The form in which the service requires versions. */
  readonly etagForm: EtagForm
  /** Whether the service checks the condition of the completion of an upload. */
  readonly checksCompletion: boolean
}

/**
 * Checks by an object of its own that a bucket supports what the store needs.
 * @param conditionalWrites whether the bucket must support conditional writes; if not, no condition is sent
 * @throws Error that names the bucket and what it lacks
 */
export async function probeConditionalWrites(
  bucket: Bucket,
  conditionalWrites: boolean,
): Promise<ConditionSupport> {
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
    const support = conditionalWrites
      ? {
          etagForm: await probeEtagForm(write, version),
          checksCompletion: await isCompletionChecked(bucket, key),
        }
      : { etagForm: quotedEtag, checksCompletion: false }
    await remove()
    return support
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

/**
 * Completes an upload on the condition that its object does not exist.
 * @param key of an existing object
 * @returns whether the service refuses that; some services (Ceph, at least up to release 16) ignore the condition
 */
async function isCompletionChecked(bucket: Bucket, key: string): Promise<boolean> {
  const { id } = await createS3Upload(bucket, key)
  try {
    const tag = await putS3Part(bucket, key, { upload: id, number: 1 }, [Buffer.from('part')])
    await completeS3Upload(bucket, key, id, [tag], {}, { IfNoneMatch: '*' })
    return false
  } catch (error) {
    await abortS3Upload(bucket, key, id)
    if (error instanceof ConditionFailed) return true
    if (isUnsupported(error)) return false
    throw error
  }
}
