/** Assertions that hold for every Ack, in one place: a test states only what is specific to its own Ack. */

import { expect } from 'vitest'
import type { Answer } from '../support/client.ts'

export const E_INVALIDARG = '0x80070057'
export const E_ACCESSDENIED = '0x80070005'
export const BG_E_SESSION_NOT_FOUND = '0x8020001F'
export const BG_E_TOO_LARGE = '0x80200020'
export const ERROR_DISK_FULL = '0x80070070'

export interface ExpectedAck {
  /** BITS-Session-Id; null: the field must be missing. Not checked by default. */
  readonly sessionId?: string | null
  /** BITS-Received-Content-Range; null: the field must be missing. Not checked by default. */
  readonly received?: number | null
  /** The value of both error headers. By default they, and the context, must be missing. */
  readonly error?: string
  /** BITS-Error-Context, if there is an error. */
  readonly context?: '0x5' | '0x7'
}

const orNone = (value: string | number | null): string | undefined =>
  value === null ? undefined : String(value)

/** Expects an Ack that meets the requirements of the protocol for every status. */
export function expectAck(answer: Answer, status: number, expected: ExpectedAck = {}): void {
  const { headers, body, rawHeaders } = answer
  const { sessionId, received, error, context = '0x5' } = expected
  expect({
    status: answer.status,
    type: headers['bits-packet-type'],
    length: headers['content-length'],
    coding: headers['transfer-encoding'],
    errorCode: headers['bits-error-code'],
    error: headers['bits-error'],
    context: headers['bits-error-context'],
  }).toEqual({
    status,
    type: 'Ack',
    length: '0',
    coding: undefined,
    errorCode: error,
    error,
    context: error === undefined ? undefined : context,
  })
  expect(body).toHaveLength(0)
  if (sessionId !== undefined) expect(headers['bits-session-id']).toBe(orNone(sessionId))
  if (received !== undefined) expect(headers['bits-received-content-range']).toBe(orNone(received))
  const names = rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase())
  expect(names, 'no field twice').toEqual([...new Set(names)])
}
