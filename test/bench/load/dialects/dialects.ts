import { get, post } from './app.ts'
import { bits, override } from './bits.ts'
import type { Dialect } from './dialect.ts'
import { form } from './form.ts'
import { dav, put } from './put.ts'
import { tus } from './tus.ts'

/** By the names that a job knows them under. */
export const dialects = { bits, override, tus, put, dav, form, get, post } satisfies Record<string, Dialect>
export type DialectName = keyof typeof dialects
