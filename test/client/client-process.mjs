/**
 * Uploads a file in a separate process, which a test can kill: `client-process.mjs PATH URL JOB`. It runs the built
 * package. At the end it sends its parent the session id, the number of fragments, and its peak memory in bytes.
 */
import { uploadFile } from 'express-bits-upload/client'

const [path = '', url = '', job = '', maxFragmentSize = '16kb'] = process.argv.slice(2)
const { sessionId, fragments } = await uploadFile(path, url, {
  ...(job && { job }),
  maxFragmentSize,
  noProgressTimeout: 0,
})
const memory = process.resourceUsage().maxRSS * 1024
process.send?.({ sessionId, fragments, memory }, () => process.disconnect())
