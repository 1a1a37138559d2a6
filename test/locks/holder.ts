/**
 * Child process that holds a lock until it is killed or its parent exits: `holder.ts DIRECTORY [KEY]`. Without a KEY it
 * locks a new session. Messages to the parent: the lock key when the lock is acquired, `requested` when another request
 * waits.
 */
import { lockKey } from '../../lib/locks/locker.ts'
import { processLocker } from '../../lib/locks/process.ts'
import { newGuid } from '../../lib/protocol/packet.ts'

const [directory = '', givenKey] = process.argv.slice(2)
const locker = processLocker(directory)
const key = givenKey ?? lockKey({ id: newGuid(await locker.idPrefix?.()), path: '/a' })
const onReleaseRequested = () => process.send?.('requested')
await locker.acquire(key, { isNew: givenKey === undefined, onReleaseRequested })
process.send?.(key)
process.on('disconnect', () => process.exit())
