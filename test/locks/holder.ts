/**
 * Child process that holds a lock until it is killed or its parent exits: `holder.ts DIRECTORY NAME [MANNER]`. MANNER
 * `leave` passes a value to `leave()` instead; timers are disabled, so the value does not expire. MANNER `begin` or
 * `begin and leave` locks a new session. Messages to the parent: the lock name (`begin`) or `held` when the lock is
 * acquired, `wanted` when another request waits, `dropped` when the value is dropped.
 */
import { lockKey } from '../../lib/locks/locker.ts'
import { processLocker } from '../../lib/locks/processes.ts'
import { newGuid } from '../../lib/protocol/guid.ts'

const [directory = '', given = '', manner = ''] = process.argv.slice(2)
const leaves = manner.endsWith('leave')
if (leaves) globalThis.setTimeout = (() => ({ unref: () => {} })) as unknown as typeof setTimeout
const locker = processLocker(directory)
const begins = manner.startsWith('begin')
const name = begins ? lockKey({ id: newGuid(await locker.mark?.()), path: '/a' }) : given
const onReleaseRequested = () => process.send?.('wanted')
const lock = begins ? await locker.begin?.(name) : await locker.acquire(name, { onReleaseRequested })
if (leaves) lock?.leave?.({ drop: () => process.send?.('dropped') })
process.send?.(begins ? name : 'held')
process.on('disconnect', () => process.exit())
