/**
 * Sends a file and prints the progress. Ctrl+C pauses the upload, and the same command resumes it.
 *
 *     node upload.mjs backup.zip https://files.example/upload/backup.zip
 */
import { UploadError, uploadFile } from 'express-bits-upload/client'

const [file = '', url = ''] = process.argv.slice(2)
const pause = new AbortController()
process.once('SIGINT', () => pause.abort())
let percent = -1

try {
  const { size, reply } = await uploadFile(file, url, {
    job: `${file}.job`,
    signal: pause.signal,
    onProgress({ state, held, total, error, retryIn = 0 }) {
      if (state === 'waiting') console.log(`${error?.message}: retry in ${Math.ceil(retryIn / 1000)} s`)
      const current = Math.floor((held / total) * 100)
      if (state === 'fragment' && current > percent) {
        console.log(`${current} %`)
        percent = current
      }
    },
  })
  console.log(`${size} bytes sent`)
  if (reply?.data) console.log(`Reply: ${reply.data}`)
} catch (error) {
  if (pause.signal.aborted) console.log('Paused: the same command resumes the upload')
  else if (error instanceof UploadError) console.error(`${error.code}: ${error.message}`)
  else throw error
  process.exitCode = 1
}
