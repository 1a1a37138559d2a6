import { describe, expect, it } from 'vitest'
import { ackFields } from '../../lib/protocol/ack.ts'
import { asBitsError, BitsError, isFault } from '../../lib/protocol/errors.ts'

describe('BitsError', () => {
  it('has the status, HRESULT and error context of its code', () => {
    expect(new BitsError('session-not-found')).toMatchObject({
      name: 'BitsError',
      status: 500,
      hresult: 0x8020001f,
      context: 5,
    })
    expect(new BitsError('application-refused', 'No').message).toBe('No')
    expect(new BitsError('application-refused').context).toBe(7)
  })

  it('throws a TypeError for an unknown code, and lists the known codes', () => {
    // @ts-expect-error a code that is not in the table
    expect(() => new BitsError('nonsense')).toThrow(/no code 'nonsense'.*session-not-found/)
    // @ts-expect-error a name that every object has
    expect(() => new BitsError('toString')).toThrow(TypeError)
  })

  it('throws a TypeError for a challenge that is not a valid header value', () => {
    for (const challenge of ['', 'Basic\r\nX: y', 'Basic realm="日本"']) {
      expect(() => new BitsError('unauthorized', undefined, { challenge })).toThrow(TypeError)
    }
  })

  it('accepts only error values for status and hresult, and derives hresult from status', () => {
    expect(new BitsError('application-failed', undefined, { status: 503 })).toMatchObject({
      status: 503,
      hresult: 0x801901f7,
    })
    expect(new BitsError('application-failed', undefined, { hresult: 0xa0000001 })).toMatchObject({
      status: 500,
      hresult: 0xa0000001,
    })
    for (const details of [
      ...[399, 600, 404.5].map((status) => ({ status })),
      ...[0x7fffffff, 0x100000000, 0x80000000 + 0.5].map((hresult) => ({ hresult })),
    ]) {
      expect(() => new BitsError('application-failed', undefined, details)).toThrow(TypeError)
    }
  })

  it('keeps its existing details when with() adds more', () => {
    const cause = new Error('EIO')
    const error = new BitsError('store-failed', 'It broke', { cause })
      .with({ received: 5 })
      .with({ context: 7 })
    expect(error).toMatchObject({ message: 'It broke', cause, received: 5, context: 7 })
    expect(
      new BitsError('unauthorized', undefined, { challenge: 'Basic' }).with({ received: 0 }),
    ).toMatchObject({
      challenge: 'Basic',
      received: 0,
    })
  })

  it('is created by asBitsError with the thrown error as cause, unless that is a BitsError', () => {
    const cause = new Error('EIO')
    expect(asBitsError(cause)).toMatchObject({ code: 'store-failed', cause })
    expect(asBitsError(cause, 'hook-failed').code).toBe('hook-failed')
    const error = new BitsError('too-large')
    expect(asBitsError(error)).toBe(error)
  })

  it('is a fault (isFault) for disk-full, but not for session-not-found', () => {
    expect(isFault(new BitsError('disk-full'))).toBe(true)
    expect(isFault(new BitsError('session-not-found'))).toBe(false)
  })
})

describe('ackFields', () => {
  it('omits the error headers for out-of-sync (416)', () => {
    const names = ackFields({ status: 416, received: 0, error: new BitsError('out-of-sync') }).map(
      ([name]) => name,
    )
    expect(names).toEqual(['Pragma', 'BITS-Packet-Type', 'Content-Length', 'BITS-Received-Content-Range'])
  })

  it('includes BITS-Error and BITS-Error-Code with eight digits for disk-full', () => {
    const fields = Object.fromEntries(ackFields({ status: 500, error: new BitsError('disk-full') }))
    expect(fields).toMatchObject({
      'BITS-Error': '0x80070070',
      'BITS-Error-Code': '0x80070070',
      'BITS-Error-Context': '0x5',
    })
  })

  it('includes WWW-Authenticate for a challenge', () => {
    const error = new BitsError('unauthorized', undefined, { challenge: 'Basic realm="x"' })
    expect(ackFields({ status: 401, error })).toContainEqual(['WWW-Authenticate', 'Basic realm="x"'])
  })
})
