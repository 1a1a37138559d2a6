import { bits, override } from './bits.ts'
import { dav, form, get, post, put } from './http.ts'
import type { Protocol } from './protocol.ts'
import { tus } from './tus.ts'

/** All protocols, by the names that jobs use. */
export const protocols = { bits, override, tus, put, dav, form, get, post } satisfies Record<string, Protocol>
export type ProtocolName = keyof typeof protocols
