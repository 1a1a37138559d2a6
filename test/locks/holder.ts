/** Holds a lock for ever: `holder.ts DIRECTORY NAME`. Says when it has it, and when it is wanted. */
import { processLocker } from '../../lib/locks/processes.ts'

const [directory = '', name = ''] = process.argv.slice(2)
await processLocker(directory).acquire(name, { onWanted: () => process.send?.('wanted') })
process.send?.('held')
process.on('disconnect', () => process.exit())
