/**
 * The locker of a file store, for a test: `locker-program.mjs DIRECTORY`, as a child process, a worker of a cluster or a
 * worker thread. `remote-locker.ts` sends the requests. It runs the built package: the loader for TypeScript does not work in a
 * worker thread of Node 20.
 */
import { readdirSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import { fileStore } from 'express-bits-upload'

const [directory = ''] = process.argv.slice(2)
const { locker } = fileStore(directory)
/**
 * The locks that are held, by the id of the request.
 * @type {Map<number, { release(): Promise<void> }>}
 */
const locks = new Map()

/** @param {import('./remote-locker.ts').RemoteMessage} message */
const send = (message) => {
  if (parentPort) parentPort.postMessage(message)
  else process.send?.(message)
}

/**
 * @param {import('./remote-locker.ts').RemoteRequest} request
 * @returns {Promise<string | number | undefined>}
 */
async function answer({ id, method, key = '', isNew = false, lock = 0 }) {
  if (method === 'idPrefix') return locker?.idPrefix?.()
  if (method === 'descriptors') return readdirSync('/proc/self/fd').length
  if (method === 'release') {
    const startedAt = String(process.hrtime.bigint())
    await locks.get(lock)?.release()
    return startedAt
  }
  const onReleaseRequested = () => send({ id, event: 'requested' })
  const acquired =
    method === 'acquire'
      ? await locker?.acquire(key, { isNew, onReleaseRequested })
      : await locker?.tryAcquire(key)
  if (!acquired) return undefined
  locks.set(id, acquired)
  return String(process.hrtime.bigint())
}

/** @param {import('./remote-locker.ts').RemoteRequest} request */
async function onRequest(request) {
  const { id } = request
  try {
    send({ id, event: 'answered', value: await answer(request) })
  } catch (error) {
    const { message, code } = /** @type {NodeJS.ErrnoException} */ (error)
    send({ id, event: 'failed', message, code })
  }
}

if (parentPort) parentPort.on('message', onRequest)
else process.on('message', onRequest).on('disconnect', () => process.exit())
// A worker of a cluster loses messages that arrive before it listens for them.
send({ event: 'ready' })
