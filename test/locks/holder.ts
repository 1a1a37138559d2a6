/**
 * Holds a lock for ever: `holder.ts DIRECTORY NAME`; or, with `leave` behind that, only keeps it, for nobody: its clock
 * stands still. With `begin` or `begin and leave` a session begins, whose name it tells. Says when it has it, when it is
 * wanted, and when it dropped what it had left.
 */
import { lockName } from '../../lib/locks/name.ts'
import { processLocker } from '../../lib/locks/processes.ts'
import { newGuid } from '../../lib/protocol/guid.ts'

const [directory = '', given = '', manner = ''] = process.argv.slice(2)
const leaves = manner.endsWith('leave')
if (leaves) globalThis.setTimeout = (() => ({ unref: () => {} })) as unknown as typeof setTimeout
const locker = processLocker(directory)
const begins = manner.startsWith('begin')
const name = begins ? lockName({ id: newGuid(await locker.mark?.()), path: '/a' }) : given
const onWanted = () => process.send?.('wanted')
const lock = begins ? await locker.begin?.(name) : await locker.acquire(name, { onWanted })
if (leaves) lock?.leave?.({ drop: () => process.send?.('dropped') })
process.send?.(begins ? name : 'held')
process.on('disconnect', () => process.exit())
