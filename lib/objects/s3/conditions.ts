import { type Condition, ConditionFailed } from '../space.ts'
import type { Bucket } from './bucket.ts'
import { type EtagForm, versionOf } from './etag.ts'
import { look } from './read.ts'

/** The fields of a request that have the service see to a condition. */
export interface ConditionFields {
  readonly IfNoneMatch?: '*'
  readonly IfMatch?: string
}

export const fieldsOf = (condition: Condition | undefined, form: EtagForm): ConditionFields => {
  if (!condition) return {}
  return condition === 'absent' ? { IfNoneMatch: '*' } : { IfMatch: form(condition.version) }
}

export const conditionFailed = (key: string, cause?: unknown): ConditionFailed =>
  new ConditionFailed(`The object ${key} is not as it has to be for this write`, { cause })

/**
 * Looks whether a condition is met, at this moment.
 * @throws {ConditionFailed}
 */
export async function check(
  bucket: Bucket,
  key: string,
  condition: Condition | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!condition) return
  const found = await look(bucket, key, signal)
  const isMet =
    condition === 'absent' ? !found : found !== undefined && versionOf(found) === condition.version
  if (!isMet) throw conditionFailed(key)
}
