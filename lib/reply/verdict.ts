import type { IncomingMessage } from 'node:http'
import { BitsError, HttpFacility } from '../protocol/errors.ts'
import { ErrorHeaders, field } from '../protocol/headers.ts'

export const isSuccess = ({ statusCode = 0 }: IncomingMessage): boolean =>
  statusCode >= 200 && statusCode < 300

/**
 * What an application's answer that is no success means to the client, by the table of "Handling server application errors"
 * (win32): its own status, and its own HRESULT if it names one.
 */
export function refusalOf({ statusCode = 0, headers }: IncomingMessage): BitsError {
  const text = `The application answered ${statusCode}`
  if (statusCode === 403) return new BitsError('application-refused', text)
  const named = ErrorHeaders.map((name) => readHresult(field(headers, name))).find(Boolean)
  return new BitsError('application-failed', text, {
    status: relayed(statusCode),
    hresult: named ?? HttpFacility + statusCode,
  })
}

/**
 * Statuses that are about the client's packets and not about its file: it would offer other credentials, or smaller
 * fragments, and take 416 with all bytes held for success.
 */
const meantForPackets = [401, 407, 413, 416]
/** To a client these end the job, as other redirections do not. */
const final = [300, 301, 302, 303, 304, 305, 307]

function relayed(status: number): number {
  if (meantForPackets.includes(status) || final.includes(status)) return 400
  return status >= 400 && status <= 599 ? status : 500
}

/** `0x80070005`; also with a bare `x`, as the specification prints it. */
function readHresult(text: string | undefined): number | undefined {
  const [, digits] = /^0?x([0-9a-f]{8})$/i.exec(text?.trim() ?? '') ?? []
  const hresult = Number.parseInt(digits ?? '', 16)
  return hresult >= 0x80000000 ? hresult : undefined
}
