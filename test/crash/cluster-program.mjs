/**
 * One port, two workers: `cluster-program.mjs DIRECTORY`. Says its port, then, for each worker that listens, its pid. A
 * worker that was killed is replaced.
 */
import cluster from 'node:cluster'
import { createServer } from 'node:http'
import { bitsUpload } from 'express-bits-upload'

const [directory = ''] = process.argv.slice(2)

// Workers accept for themselves: a connection that the primary was handing to one that dies would hang for ever.
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
