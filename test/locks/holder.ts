/**
 * Holds a lock for ever: `holder.ts DIRECTORY NAME`; or, with `leave` behind that, only keeps it, for nobody: its clock
 * stands still. Says when it has it, when it is wanted, and when it dropped what it had left.
 */
import { processLocker } from '../../lib/locks/processes.ts'

const [directory = '', name = '', leaves] = process.argv.slice(2)
if (leaves) globalThis.setTimeout = (() => ({ unref: () => {} })) as unknown as typeof setTimeout
const lock = await processLocker(directory).acquire(name, { onWanted: () => process.send?.('wanted') })
if (leaves) lock.leave?.({ drop: () => process.send?.('dropped') })
process.send?.('held')
process.on('disconnect', () => process.exit())
