/**
 * Two workers on one port: `cluster-program.mjs DIRECTORY`. Sends the port and the pid of each worker that
 * listens. Replaces workers that are killed.
 */
import cluster from 'node:cluster'
import { createServer } from 'node:http'
import { bitsUpload } from 'express-bits-upload'

const [directory = ''] = process.argv.slice(2)

// Each worker accepts connections itself. Otherwise a connection that the primary process passes to a killed
// worker would never be answered.
cluster.schedulingPolicy = cluster.SCHED_NONE

if (cluster.isPrimary) {
  cluster.on('exit', () => cluster.fork())
  cluster.on('listening', (worker, { port }) => process.send?.({ port, pid: worker.process.pid }))
  process.on('disconnect', () => {
    cluster.removeAllListeners('exit')
    for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill('SIGKILL')
    process.exit()
  })
  cluster.fork()
  cluster.fork()
} else {
  const upload = bitsUpload({ store: directory })
  const server = createServer((request, response) =>
    upload(request, response, () => response.writeHead(404).end()),
  )
  server.listen(0, '127.0.0.1')
}
