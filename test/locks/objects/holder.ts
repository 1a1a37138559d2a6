/**
 * Holds a lock: `holder.ts PLACE TIMING NAME`. Says when it has it, and when it is wanted; does what it is told: `release`
 * the lock, or stop listening, which is to be its end.
 */
import { objectLocker } from '../../../lib/locks/objects.ts'
import { spaceAt } from './places.ts'

const [place = '', timing = '', name = ''] = process.argv.slice(2)
const locker = objectLocker(spaceAt(JSON.parse(place)), JSON.parse(timing))
const lock = await locker.acquire(name, { onWanted: () => process.send?.('wanted') })
process.on('message', async (message) => {
  if (message !== 'release') return process.disconnect()
  await lock.release()
  process.send?.('released')
})
process.send?.('held')
