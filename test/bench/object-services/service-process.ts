/**
 * Starts the object service that its argument names, and sends the access data to the parent process. The
 * service inherits the core of this process, and ends with it.
 */
import { startAzurite } from '../../services/azurite.ts'
import { startCeph } from '../../services/ceph.ts'

process.on('disconnect', () => process.exit())
const { access } = await (process.argv[2] === 'Ceph' ? startCeph : startAzurite)()
process.send?.(access)
