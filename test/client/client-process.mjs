/**
 * An upload in a process of its own, to be killed: `client-process.mjs PATH URL JOB`. It runs the built package. Says
 * `ended` and its memory at the end, in bytes.
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
