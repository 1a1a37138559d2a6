import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { connectionError, TransportHistory } from '../../lib/client/connection-failure.ts'
import { causeText } from '../../lib/client/errors.ts'

// In a VM context, as in Jest, system errors have another class Error.
const ForeignError: ErrorConstructor = runInNewContext('Error')

describe('An error of another realm', () => {
  it('is named in the message of an UploadError', () => {
    const error = new ForeignError('ENOENT: no such file or directory')
    expect(error instanceof Error).toBe(false)
    expect(causeText(error)).toBe('ENOENT: no such file or directory.')
    for (const other of [undefined, null, 'text', { message: 1 }]) expect(causeText(other)).toBe(undefined)
  })

  it('is named in the message of a connection that failed', async () => {
    const failure = {
      url: new URL('http://127.0.0.1:1/'),
      cause: Object.assign(new ForeignError('connect ECONNREFUSED 127.0.0.1:1'), { code: 'ECONNREFUSED' }),
      socket: null,
      connected: false,
      reused: false,
      hasCertificate: false,
      certificateRequested: false,
    }
    expect(await connectionError(failure, new TransportHistory(), undefined)).toMatchObject({
      message: 'The connection failed: connect ECONNREFUSED 127.0.0.1:1',
    })
  })
})
