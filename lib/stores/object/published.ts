import { BitsError } from '../../protocol/errors.ts'
import type { NewSession } from '../store.ts'
import type { StoreContext } from './context.ts'
import type { RecordChanges, SessionRecord } from './record.ts'
import { ConditionFailed } from './service/service.ts'

/** Attempts to record a publication while other nodes update the record. After the last one the client tries again. */
const MaxRecordAttempts = 20

/** Whether the file of this session is there. */
export const isOwnFile = async ({ service }: StoreContext, { id, name }: NewSession): Promise<boolean> =>
  (await service.head(name))?.metadata.session === id

/** How {@link recordPublication} changes a record. */
interface RecordedPublication {
  /** Id of the upload that was completed; undefined if the file was written by one PUT. */
  readonly completed: string | undefined
  readonly changes?: RecordChanges
}

/**
 * Writes that the file was published, also if another node has updated the record meanwhile. An upload that such a node has begun,
 * or that was not needed, is aborted by a sweep.
 */
export async function recordPublication(
  { service }: Pick<StoreContext, 'service'>,
  record: SessionRecord,
  { completed, changes }: RecordedPublication,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const { layout, starting, strays } = record.state
    const isOtherUpload = layout?.upload !== undefined && layout.upload !== completed
    const mayHaveStrays = service.keepsUploads && (starting || isOtherUpload)
    try {
      await record.update({
        ...changes,
        published: true,
        layout: undefined,
        lease: undefined,
        starting: undefined,
        strays: mayHaveStrays || strays,
      })
      return
    } catch (error) {
      if (!(error instanceof ConditionFailed) || attempt === MaxRecordAttempts) throw error
      try {
        await record.reload()
      } catch (cause) {
        // Another node has seen that the file is published, and its client has closed the session.
        if (cause instanceof BitsError && cause.code === 'session-not-found') return
        throw cause
      }
      if (record.state.published) return
    }
  }
}
